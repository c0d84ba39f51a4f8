// Several runs side by side, and what is known of a whole data set.

function mapHeads(evaluation) {
  return [...evaluation.tious.map(String), ...Object.keys(evaluation.averages).map((range) => `avg ${range}`)];
}

function mapCells(evaluation) {
  return [...evaluation.map, ...Object.values(evaluation.averages)].map(percent);
}

function indexOfRuns(runs) {
  const measured = runs.find((run) => run.evaluation)?.evaluation;
  const heads = ["run", "videos", "detections", ...(measured ? mapHeads(measured) : [])];
  const rows = runs.map((run) => {
    const link = make("a", { href: run.page }, run.name);
    const same = run.evaluation && mapHeads(run.evaluation).join() === (measured && mapHeads(measured).join());
    return [link, String(run.num_videos), String(run.num_detections), ...(same ? mapCells(run.evaluation) : [])];
  });
  const caption = measured ? "Mean average precision in percent, by the temporal IoU that counts as found." : "";
  return [make("h1", {}, "Runs"), caption && make("p", { class: "quiet" }, caption), table(heads, rows)].filter(Boolean);
}

function evaluationOf(evaluation) {
  const [range, average] = Object.entries(evaluation.averages).at(-1);
  return make(
    "section",
    { class: "evaluation", "aria-label": "Evaluation" },
    make("h2", {}, "How good the detections are"),
    make(
      "p",
      { class: "headline" },
      make("strong", {}, `${percent(average)} %`),
      ` mean average precision over temporal IoU ${range}, ${plural(evaluation.num_videos, "video")}`,
    ),
    ...evaluation.warnings.map((warning) => make("p", { class: "quiet" }, warning)),
    table(["tIoU", ...mapHeads(evaluation)], [["mAP", ...mapCells(evaluation)]]),
    make(
      "div",
      { class: "side-by-side" },
      make("div", {}, make("h3", {}, "By class"), classBars(evaluation)),
      make("div", {}, make("h3", {}, "Mistakes"), mistakeBars(evaluation.mistakes)),
    ),
  );
}

function bars(rows) {
  // rows: [label, share 0..1, text, colour]
  return make(
    "div",
    { class: "bars", role: "list" },
    ...rows.map(([label, share, text, colour]) =>
      make(
        "div",
        { role: "listitem", class: "bar" },
        make("span", { class: "bar-label", title: label }, label),
        make("span", { class: "bar-track" }, make("span", { class: "bar-fill", style: { width: `${100 * share}%`, background: colour } })),
        make("span", { class: "bar-value" }, text),
      ),
    ),
  );
}

function classBars(evaluation) {
  const rows = evaluation.classes.map(({ label, ap }, index) => {
    const mean = ap.reduce((sum, value) => sum + value, 0) / ap.length;
    return [label, mean, percent(mean), colourOf(index)];
  });
  rows.sort((a, b) => b[1] - a[1]);
  return make("div", {}, bars(rows), make("p", { class: "quiet" }, "Average precision, mean over all tIoU, in percent."));
}

const MISTAKE_COLOURS = {
  "true positive": "var(--good)",
  duplicate: "hsl(45 70% 50%)",
  "wrong label": "hsl(280 45% 60%)",
  localization: "hsl(205 60% 52%)",
  confusion: "hsl(325 50% 58%)",
  background: "hsl(0 0% 55%)",
};
const MISTAKE_MEANING = {
  "true positive": "found",
  duplicate: "found once more",
  "wrong label": "right place, wrong class",
  localization: "right class, wrong boundaries",
  confusion: "wrong class and boundaries",
  background: "nothing there",
};

function mistakeBars(mistakes) {
  const counts = Object.entries(mistakes.counts);
  const total = Math.max(1, counts.reduce((sum, [, count]) => sum + count, 0));
  const rows = counts.map(([kind, count]) => [
    MISTAKE_MEANING[kind] ?? kind,
    count / total,
    `${percent(count / total)} %`,
    MISTAKE_COLOURS[kind] ?? "var(--quiet)",
  ]);
  return make(
    "div",
    {},
    bars(rows),
    make("p", { class: "quiet" }, `The ${total} best-scored detections, at tIoU ${mistakes.tiou}.`),
  );
}

function videoList(videos, measured, open) {
  const order = videos.map((video, index) => ({ video, index }));
  const worth = ({ video }) => video.quality ?? 2;
  if (measured) order.sort((a, b) => worth(a) - worth(b));
  const rows = order.map(({ video, index }) =>
    make(
      "a",
      { class: "video-row", href: `#${index}`, "data-video": index, onclick: (event) => { event.preventDefault(); open(index); } },
      make("span", { class: "video-name", title: video.id }, video.id),
      make("span", { class: "video-value" }, video.quality === null ? clock(video.duration) : `${percent(video.quality)} %`),
      strip(video),
    ),
  );
  const title = measured ? "Videos, the worst first" : "Videos";
  return make("nav", { class: "videos", "aria-label": "Videos" }, make("h2", {}, title), make("div", { class: "video-rows" }, ...rows));
}

function strip(video) {
  // The ground truth (or, without, the best detections) of a video, a few pixels high.
  const spans = video.truth ?? video.detections.slice(0, 30).map(([label, , start, end]) => [label, start, end]);
  return make(
    "span",
    { class: "strip", "aria-hidden": "true" },
    ...spans.map(([label, start, end]) => make("span", { style: { ...place(video, start, end), background: colourOf(label) } })),
  );
}

function place(video, start, end) {
  const share = (seconds) => `${(100 * Math.min(1, Math.max(0, seconds / (video.duration || 1)))).toFixed(4)}%`;
  return { left: share(start), width: `calc(${share(end)} - ${share(start)})` };
}
