// One video: player, timeline, and the table of what was found.

import { csv, save } from "./download.js";
import { makePlayer } from "./player.js";
import { makeTimeline } from "./timeline.js";
import { el } from "./web/dom.js";
import { clock, plural } from "./web/format.js";

export function makeVideoView(video, classes, filters) {
  const opacities = opacityByRank(video.detections);
  const detections = video.detections.map(([label, score, start, end], index) => ({ label, score, start, end, opacity: opacities[index] }));
  const player = makePlayer(video, (seconds) => timeline.move(seconds));
  const timeline = makeTimeline(video, classes, (seconds) => player.seek(seconds));
  const body = el("tbody");
  const count = el("p", { class: "quiet", role: "status" });
  let order = { key: "start", down: false };
  let shown = [];

  const heads = [["start", "start"], ["end", "end"], ["label", "action"], ["score", "score"]].map(([key, text]) =>
    el("th", { scope: "col" }, el("button", { type: "button", class: "sort", "data-key": key, onclick: () => {
      order = { key, down: order.key === key ? !order.down : key === "score" };
      fill();
    } }, text)),
  );

  function fill() {
    const value = (detection) => (order.key === "label" ? classes[detection.label].name : detection[order.key]);
    const rows = [...shown].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return (x < y ? -1 : x > y ? 1 : 0) * (order.down ? -1 : 1);
    });
    body.replaceChildren(...rows.map((detection) =>
      el("tr", { tabindex: "0", onclick: () => player.seek(detection.start), onkeydown: (event) => { if (event.key === "Enter") player.seek(detection.start); } },
        el("td", {}, clock(detection.start, 1)),
        el("td", {}, clock(detection.end, 1)),
        el("td", {}, el("i", { class: "dot", style: { background: classes[detection.label].color } }), classes[detection.label].name),
        el("td", {}, detection.score.toFixed(3)),
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
    const rows = shown.map((detection) => [video.id, classes[detection.label].name, detection.start, detection.end, detection.score]);
    save(`${video.id.replace(/[^\w.-]+/g, "_")}.csv`, "text/csv", csv(["video", "label", "start", "end", "score"], rows));
  }

  const zooms = [1, 2, 4, 8, 16].map((times) => el("option", { value: times }, `${times}x`));
  const zoom = el("select", { "aria-label": "Zoom of the timeline", onchange: (event) => timeline.zoom(Number(event.target.value)) }, ...zooms);
  const element = el(
    "section",
    { class: "video", "aria-label": video.id },
    el("h2", {}, video.id, el("span", { class: "quiet" }, ` ${clock(video.duration, 1)}`)),
    player.element,
    el("div", { class: "toolbar" }, legend(video), el("label", {}, "zoom ", zoom)),
    timeline.element,
    el("div", { class: "toolbar" }, count, el("button", { type: "button", class: "download", onclick: download }, "Download as CSV")),
    el("div", { class: "scrolls tall" }, el("table", { class: "found" }, el("thead", {}, el("tr", {}, ...heads)), body)),
  );
  apply();
  return { element, apply, stop: player.stop };
}

function legend(video) {
  return el(
    "p",
    { class: "legend quiet" },
    keyed("key-detection", "found (stronger = higher score)"),
    video.truth && keyed("key-truth", "marked by a person"),
    video.curves && keyed("key-curve", "class activation"),
  );
}

function keyed(kind, text) {
  return el("span", { class: "keyed" }, el("span", { class: `key ${kind}` }), text);
}

function opacityByRank(detections) {
  // Scores of different models differ in scale; ranks do not.
  const scores = detections.map(([, score]) => score);
  const low = scores.reduce((least, score) => Math.min(least, score), Infinity);
  const high = scores.reduce((most, score) => Math.max(most, score), -Infinity);
  return scores.map((score) => (high > low ? 0.35 + (0.65 * (score - low)) / (high - low) : 1));
}
