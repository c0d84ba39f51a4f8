// Several runs side by side, and what is known of a whole data set.

import { el } from "./web/dom.js";
import { percent, plural } from "./web/format.js";

/** A share as the literature writes average precision: "45.3". */
const hundredths = (share) => (100 * share).toFixed(1);

function mapHeads(evaluation) {
  return [...evaluation.tious.map(String), ...Object.keys(evaluation.averages).map((range) => `avg ${range}`)];
}

function mapCells(evaluation) {
  return [...evaluation.map, ...Object.values(evaluation.averages)].map(hundredths);
}

export function indexOfRuns(runs) {
  const measured = runs.find((run) => run.evaluation)?.evaluation;
  const heads = ["run", "videos", "detections", ...(measured ? mapHeads(measured) : [])];
  const rows = runs.map((run) => {
    const link = el("a", { href: run.page }, run.name);
    const same = run.evaluation && mapHeads(run.evaluation).join() === (measured && mapHeads(measured).join());
    return [link, String(run.num_videos), String(run.num_detections), ...(same ? mapCells(run.evaluation) : [])];
  });
  const caption = measured ? "Mean average precision in percent, by the temporal IoU that counts as found." : "";
  return [el("h1", {}, "Runs"), caption && el("p", { class: "quiet" }, caption), table(heads, rows)].filter(Boolean);
}

export function evaluationOf(evaluation, colors) {
  const [range, average] = Object.entries(evaluation.averages).at(-1);
  return el(
    "section",
    { class: "evaluation", "aria-label": "Evaluation" },
    el("h2", {}, "How much was found"),
    ...inWords(evaluation.words, colors),
    el("h3", {}, "For researchers"),
    el(
      "p",
      {},
      el("strong", {}, percent(average, 1)),
      ` mean average precision over temporal IoU ${range}, ${plural(evaluation.num_videos, "video")}`,
    ),
    ...evaluation.warnings.map((warning) => el("p", { class: "quiet" }, warning)),
    table(["tIoU", ...mapHeads(evaluation)], [["mAP", ...mapCells(evaluation)]]),
    el(
      "div",
      { class: "side-by-side" },
      el("div", {}, el("h3", {}, "Average precision by class"), classBars(evaluation, colors)),
      el("div", {}, el("h3", {}, "Mistakes"), mistakeBars(evaluation.mistakes)),
    ),
  );
}

/** What a person wants to know first: how many, how late, what to do next. */
function inWords(words, colors) {
  const heads = ["class", "actions", "found", "false alarms", "boundaries (median)"];
  const rows = words.classes.map(([label, ...rest]) => [
    el("span", {}, el("i", { class: "dot", style: { background: colors.get(label) ?? "var(--dim)" } }), label),
    ...rest.map(String),
  ]);
  const helps = words.advice.map((line) => el("li", {}, line));
  return [
    el("p", { class: "headline" }, el("strong", {}, words.headline), `, ${words.scores}.`),
    words.boundaries && el("p", {}, `What was found ${words.boundaries} (median).`),
    table(heads, rows),
    el("p", { class: "quiet" }, `Here ${words.rule}.`),
    helps.length && el("h3", {}, "What helps most"),
    helps.length && el("ul", {}, ...helps),
  ].filter(Boolean);
}

function table(heads, rows) {
  const head = el("tr", {}, ...heads.map((text) => el("th", { scope: "col" }, text)));
  const body = rows.map(([first, ...rest]) =>
    el("tr", {}, el("th", { scope: "row" }, first), ...rest.map((cell) => el("td", {}, cell))),
  );
  return el("div", { class: "scrolls" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)));
}

function bars(rows) {
  // rows: [label, share 0..1, text, color]
  return el(
    "div",
    { class: "bars", role: "list" },
    ...rows.map(([label, share, text, color]) =>
      el(
        "div",
        { role: "listitem", class: "bar" },
        el("span", { class: "bar-label", title: label }, label),
        el("span", { class: "bar-track" }, el("span", { class: "bar-fill", style: { width: `${100 * share}%`, background: color } })),
        el("span", { class: "bar-value" }, text),
      ),
    ),
  );
}

function classBars(evaluation, colors) {
  const rows = evaluation.classes.map(({ label, ap }) => {
    const mean = ap.reduce((sum, value) => sum + value, 0) / ap.length;
    return [label, mean, hundredths(mean), colors.get(label) ?? "var(--dim)"];
  });
  rows.sort((a, b) => b[1] - a[1]);
  return el("div", {}, bars(rows), el("p", { class: "quiet" }, "Average precision, mean over all tIoU, in percent."));
}

const MISTAKE_COLORS = {
  "true positive": "var(--good)",
  duplicate: "var(--duplicate)",
  "wrong label": "var(--wrong-label)",
  localization: "var(--localization)",
  confusion: "var(--confusion)",
  background: "var(--background)",
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
    percent(count / total, 1),
    MISTAKE_COLORS[kind] ?? "var(--dim)",
  ]);
  return el(
    "div",
    {},
    bars(rows),
    el("p", { class: "quiet" }, `All ${plural(total, "event")}, at tIoU ${mistakes.tiou}.`),
  );
}
