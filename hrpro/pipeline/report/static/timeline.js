// The timeline of one video: a row per class with its class activation curve, the ground truth
// and the detections. A click anywhere seeks there.

import { place } from "./place.js";
import { el, svg } from "./web/dom.js";
import { clock } from "./web/format.js";

const emptyWords = (video) => (video.events?.length === 0 && video.detections.length
  ? "No events; “all detections” shows what scores lower."
  : "Nothing to show with these filters.");

/** @param on `seek(seconds)` and `play(seconds)`; without them it is a picture */
export function makeTimeline(video, classes, on) {
  const inner = el("div", { class: "timeline-inner" });
  const scroller = el("div", { class: "timeline", tabindex: "0", role: "group", "aria-label": "Timeline" }, inner);
  const playheads = [];
  let playing = 0;

  function draw(shown) {
    playheads.length = 0;
    const labels = rowsOf(video, shown);
    inner.replaceChildren(axis(video), ...labels.map((label) => row(label, shown)));
    if (!labels.length) inner.append(el("p", { class: "quiet" }, emptyWords(video)));
    move(playing);
  }

  function row(label, shown) {
    const track = el("div", { class: "track" });
    track.addEventListener("click", (event) => {
      if (event.target.closest("button")) return;
      const box = track.getBoundingClientRect();
      on.seek?.(((event.clientX - box.left) / box.width) * video.duration);
    });
    const curve = video.curves?.classes[label];
    if (curve) track.append(curveOf(video, curve, classes[label].color));
    for (const [, start, end] of (video.truth ?? []).filter(([each]) => each === label)) {
      track.append(el("span", {
        class: "truth", title: `marked: ${classes[label].name} ${clock(start, 1)} - ${clock(end, 1)}`,
        style: { ...place(video, start, end), "--color": classes[label].color },
      }));
    }
    const found = shown.filter((detection) => detection.label === label);
    const lanes = lanesOf(found);
    for (const detection of found) {
      const text = `${classes[label].name} ${clock(detection.start, 1)} - ${clock(detection.end, 1)}, score ${detection.score.toFixed(2)}`;
      const bar = el("button", {
        class: "detection", type: "button", title: text, "aria-label": text,
        style: { ...place(video, detection.start, detection.end), background: classes[label].color, opacity: detection.opacity, "--lane": lanes.get(detection) },
        onclick: () => on.play?.(detection.start),
      });
      track.append(bar);
    }
    const playhead = el("span", { class: "playhead" });
    playheads.push(playhead);
    track.append(playhead);
    track.style.setProperty("--lanes", [...lanes.values()].reduce((most, lane) => Math.max(most, lane + 1), 1));
    track.classList.toggle("with-truth", Boolean(video.truth));
    const name = el("span", { class: "row-label", title: classes[label].name }, el("i", { style: { background: classes[label].color } }), classes[label].name);
    return el("div", { class: "timeline-row" }, name, track);
  }

  function move(seconds) {
    playing = seconds;
    const left = place(video, seconds, seconds).left;
    for (const playhead of playheads) playhead.style.left = left;
  }

  function zoom(times) {
    inner.style.setProperty("--zoom", times);
    const share = playing / (video.duration || 1);
    scroller.scrollLeft = share * inner.scrollWidth - scroller.clientWidth / 2;
  }

  return { element: scroller, draw, move, zoom };
}

function rowsOf(video, shown) {
  // Classes with something to see; the ones that were marked first, then by their best score.
  const marked = [...new Set((video.truth ?? []).map(([label]) => label))];
  const found = [...new Set(byScore(shown).map((detection) => detection.label))];
  return [...marked, ...found.filter((label) => !marked.includes(label))];
}

function byScore(detections) {
  return [...detections].sort((a, b) => b.score - a.score);
}

function lanesOf(detections) {
  // Detections of one class that overlap go below each other, the best ones on top.
  const ends = [];
  const lanes = new Map();
  for (const detection of byScore(detections)) {
    let lane = ends.findIndex((taken) => taken.every(([start, end]) => detection.end <= start || detection.start >= end));
    if (lane < 0) lane = Math.min(ends.length, 3);
    (ends[lane] ??= []).push([detection.start, detection.end]);
    lanes.set(detection, lane);
  }
  return lanes;
}

function curveOf(video, values, color) {
  const { start, step } = video.curves;
  const top = values.reduce((most, value) => Math.max(most, value), 1); // too many for arguments
  const points = values.map((value, index) => `${(start + index * step).toFixed(2)},${(100 - (100 * Math.max(0, value)) / top).toFixed(1)}`);
  const end = start + (values.length - 1) * step;
  return svg(
    "svg",
    { class: "curve", viewBox: `0 0 ${video.duration || 1} 100`, preserveAspectRatio: "none", "aria-hidden": "true", style: { color } },
    svg("polygon", { points: `${start},100 ${points.join(" ")} ${end},100` }),
    svg("polyline", { points: points.join(" ") }),
  );
}

function axis(video) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600];
  const step = steps.find((each) => video.duration / each <= 8) ?? 7200;
  const ticks = [];
  for (let seconds = 0; seconds <= video.duration; seconds += step) {
    ticks.push(el("span", { style: { left: place(video, seconds, seconds).left } }, clock(seconds, 0)));
  }
  return el("div", { class: "timeline-row axis", "aria-hidden": "true" }, el("span", { class: "row-label" }), el("div", { class: "track" }, ...ticks));
}
