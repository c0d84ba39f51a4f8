// How often and for how long each action happens, with a small plot of when.

import { el, svg } from "./web/dom.js";
import { clock, percent, plural } from "./web/format.js";

const PLOT = { width: 160, height: 22 };
const HEADS = ["class", "events", "per hour", "total", "share", "mean", "median", "shortest", "longest", "when"];

export function budgetOf(budget, classes) {
  const rows = budget.rows.map((row) => {
    const { name, color } = classes[row.label];
    const lengths = [row.mean, row.median, row.min, row.max].map(seconds);
    const cells = [String(row.count), row.rate === null ? "–" : row.rate.toFixed(1), seconds(row.total), row.share === null ? "–" : percent(row.share, 1), ...lengths];
    return el("tr", {},
      el("th", { scope: "row" }, el("i", { class: "dot", style: { background: color } }), ` ${name}`),
      ...cells.map((cell) => el("td", {}, cell)),
      el("td", { class: "when" }, plotOf(row, name, color, budget.longest)),
    );
  });
  return el("section", { class: "budget", "aria-label": "Time budget" },
    el("h2", {}, "How often and how long"),
    el("div", { class: "scrolls" }, el("table", {},
      el("thead", {}, el("tr", {}, ...HEADS.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, ...rows),
    )),
    el("p", { class: "quiet" }, `${plural(budget.num_videos, "video")}; where events of a class overlap, the time counts once.`),
  );
}

function seconds(value) {
  return value === null ? "–" : `${value.toFixed(value < 100 ? 2 : 0)} s`;
}

/** Seconds of the class in each part of the time, all videos one over the other. */
function plotOf(row, name, color, longest) {
  const highest = Math.max(...row.over_time) || 1;
  const width = PLOT.width / row.over_time.length;
  const label = `${name} over time, 0:00 to ${clock(longest, 0)}`;
  return svg("svg", { width: PLOT.width, height: PLOT.height, viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "img", "aria-label": label },
    svg("line", { x1: 0, x2: PLOT.width, y1: PLOT.height - 0.5, y2: PLOT.height - 0.5, stroke: "currentColor", "stroke-opacity": 0.3 }),
    ...row.over_time.map((value, index) => {
      const height = value ? Math.max(2, (value / highest) * (PLOT.height - 2)) : 0;
      return svg("rect", { x: index * width, y: PLOT.height - height, width: width - 0.5, height, fill: color });
    }),
  );
}
