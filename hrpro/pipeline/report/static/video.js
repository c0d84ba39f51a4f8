// One video: player, timeline, and the table of what was found.

import { saveFound } from "./download.js";
import { filtered, foundIn } from "./found.js";
import { makePlayer } from "./player.js";
import { makeTimeline } from "./timeline.js";
import { el } from "./web/dom.js";
import { clock, plural } from "./web/format.js";

const COLUMNS = [["start", "start"], ["end", "end"], ["label", "action"], ["score", "score"]];

/** A video on the screen: `{element, apply(), stop(), toggle(), jump(seconds), event(direction)}`. */
export function makeVideoView(video, classes, filters) {
  const player = makePlayer(video, (seconds) => timeline.move(seconds));
  const timeline = makeTimeline(video, classes, { seek: player.seek, play: player.play });
  const body = el("tbody");
  const count = el("p", { class: "quiet", role: "status" });
  let order = { key: "start", down: false };
  let shown = [];

  const heads = COLUMNS.map(([key, text]) =>
    el("button", { type: "button", class: "sort", "data-key": key, onclick: () => {
      order = { key, down: order.key === key ? !order.down : key === "score" };
      fill();
    } }, text),
  );

  function fill() {
    const value = (detection) => (order.key === "label" ? classes[detection.label].name : detection[order.key]);
    const rows = [...shown].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return (x < y ? -1 : x > y ? 1 : 0) * (order.down ? -1 : 1);
    });
    body.replaceChildren(...rows.map((detection) => rowOf(detection, classes, player.play)));
  }

  function apply() {
    const found = foundIn(video, filters);
    shown = filtered(found, filters);
    timeline.draw(shown);
    fill();
    const left = filters.all && video.left_out ? `; the report leaves out ${video.left_out} of the lowest scores` : "";
    count.textContent = `${shown.length} of ${plural(found.length, filters.all ? "detection" : "event")}${left}`;
  }

  /** Play the next thing that was found, or the one before. */
  function event(direction) {
    const now = player.time;
    const slack = 0.05; // players stop a little beside where they are sent
    const next = direction > 0
      ? shown.find(({ start }) => start > now + slack)
      : shown.findLast(({ start }) => start < now - 1); // within a second, the one before is meant
    if (next) player.play(next.start);
  }

  const zooms = [1, 2, 4, 8, 16].map((times) => el("option", { value: times }, `${times}x`));
  const zoom = el("select", { "aria-label": "Zoom of the timeline", onchange: (change) => timeline.zoom(Number(change.target.value)) }, ...zooms);
  const download = () => saveFound(`${video.id}.csv`, [video], classes, filters);
  const element = el(
    "section",
    { class: "video", "aria-label": video.id },
    heading(video),
    player.element,
    el("div", { class: "toolbar" }, legend(video), el("label", {}, "zoom ", zoom)),
    timeline.element,
    el("div", { class: "toolbar" }, count, el("button", { type: "button", class: "download", onclick: download }, "Download as CSV")),
    el("div", { class: "scrolls tall" }, tableOf(heads, body)),
  );
  apply();
  const jump = (seconds) => player.seek(Math.max(0, player.time + seconds));
  return { element, apply, stop: player.stop, toggle: player.toggle, jump, event };
}

/** A video on paper: a picture, the timeline and the table. */
export function makePrintedVideo(video, classes, filters) {
  const shown = filtered(foundIn(video, filters), filters);
  const timeline = makeTimeline(video, classes, {});
  timeline.draw(shown);
  return el(
    "section",
    { class: "video", "aria-label": video.id },
    heading(video),
    video.picture && el("img", { src: video.picture, alt: "" }),
    legend(video),
    timeline.element,
    tableOf(COLUMNS.map(([, text]) => text), el("tbody", {}, ...shown.map((detection) => rowOf(detection, classes)))),
  );
}

function heading(video) {
  return el("h2", {}, video.id, el("span", { class: "quiet" }, ` ${clock(video.duration, 1)}`));
}

function tableOf(heads, body) {
  const cells = heads.map((head) => el("th", { scope: "col" }, head));
  return el("table", { class: "found" }, el("thead", {}, el("tr", {}, ...cells)), body);
}

function rowOf({ label, score, start, end }, classes, play = () => {}) {
  const onkeydown = (event) => event.key === "Enter" && play(start);
  return el("tr", { tabindex: "0", onclick: () => play(start), onkeydown },
    el("td", {}, clock(start, 1)),
    el("td", {}, clock(end, 1)),
    el("td", {}, el("i", { class: "dot", style: { background: classes[label].color } }), classes[label].name),
    el("td", {}, score.toFixed(3)),
  );
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
