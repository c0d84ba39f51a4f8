// One video: player, timeline, and the table of what was found.

function makeVideoView(video, classes, filters) {
  const opacities = opacityByRank(video.detections);
  const detections = video.detections.map(([label, score, start, end], index) => ({ label, score, start, end, opacity: opacities[index] }));
  const player = makePlayer(video, (seconds) => timeline.move(seconds));
  const timeline = makeTimeline(video, classes, (seconds) => player.seek(seconds));
  const body = make("tbody");
  const count = make("p", { class: "quiet", role: "status" });
  let order = { key: "start", down: false };
  let shown = [];

  const heads = [["start", "start"], ["end", "end"], ["label", "action"], ["score", "score"]].map(([key, text]) =>
    make("th", { scope: "col" }, make("button", { type: "button", class: "sort", "data-key": key, onclick: () => {
      order = { key, down: order.key === key ? !order.down : key === "score" };
      fill();
    } }, text)),
  );

  function fill() {
    const value = (detection) => (order.key === "label" ? classes[detection.label] : detection[order.key]);
    const rows = [...shown].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return (x < y ? -1 : x > y ? 1 : 0) * (order.down ? -1 : 1);
    });
    body.replaceChildren(...rows.map((detection) =>
      make("tr", { tabindex: "0", onclick: () => player.seek(detection.start), onkeydown: (event) => { if (event.key === "Enter") player.seek(detection.start); } },
        make("td", {}, clock(detection.start)),
        make("td", {}, clock(detection.end)),
        make("td", {}, make("i", { class: "dot", style: { background: colourOf(detection.label) } }), classes[detection.label]),
        make("td", {}, detection.score.toFixed(3)),
      ),
    ));
  }

  function apply() {
    shown = detections.filter((detection) => detection.score >= filters.score && !filters.hidden.has(detection.label));
    timeline.draw(shown);
    fill();
    const left = video.left_out ? `; the report leaves out ${video.left_out} of the lowest scores` : "";
    count.textContent = `${shown.length} of ${plural(detections.length, "detection")}${left}`;
  }

  function download() {
    const rows = shown.map((detection) => [video.id, classes[detection.label], detection.start, detection.end, detection.score]);
    save(`${video.id.replace(/[^\w.-]+/g, "_")}.csv`, "text/csv", csv(["video", "label", "start", "end", "score"], rows));
  }

  const zooms = [1, 2, 4, 8, 16].map((times) => make("option", { value: times }, `${times}x`));
  const zoom = make("select", { "aria-label": "Zoom of the timeline", onchange: (event) => timeline.zoom(Number(event.target.value)) }, ...zooms);
  const element = make(
    "section",
    { class: "video", "aria-label": video.id },
    make("h2", {}, video.id, make("span", { class: "quiet" }, ` ${clock(video.duration)}`)),
    player.element,
    make("div", { class: "toolbar" }, legend(video), make("label", {}, "zoom ", zoom)),
    timeline.element,
    make("div", { class: "toolbar" }, count, make("button", { type: "button", class: "download", onclick: download }, "Download as CSV")),
    make("div", { class: "scrolls tall" }, make("table", { class: "found" }, make("thead", {}, make("tr", {}, ...heads)), body)),
  );
  apply();
  return { element, apply, stop: player.stop };
}

function legend(video) {
  return make(
    "p",
    { class: "legend quiet" },
    keyed("key-detection", "found (stronger = higher score)"),
    video.truth && keyed("key-truth", "marked by a person"),
    video.curves && keyed("key-curve", "class activation"),
  );
}

function keyed(kind, text) {
  return make("span", { class: "keyed" }, make("span", { class: `key ${kind}` }), text);
}

function opacityByRank(detections) {
  // Scores of different models differ in scale; ranks do not.
  const scores = detections.map(([, score]) => score);
  const low = scores.reduce((least, score) => Math.min(least, score), Infinity);
  const high = scores.reduce((most, score) => Math.max(most, score), -Infinity);
  return scores.map((score) => (high > low ? 0.35 + (0.65 * (score - low)) / (high - low) : 1));
}

function csv(heads, rows) {
  const cell = (value) => {
    let text = String(value).replace(/[\r\n\0]/g, " ");
    if (typeof value === "string" && /^'*[=+\-@\t]/.test(text)) text = `'${text}`; // no formulas
    return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [heads, ...rows].map((row) => row.map(cell).join(",") + "\n").join("");
}
