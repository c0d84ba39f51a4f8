// What every command does; keys, buttons and the mouse all end up here.

import { clamp, moment, plural, span } from "./web/format.js";

const AROUND_S = 1; // a detection is looped with this much before and after it
const NEAR_S = 0.5; // a selected point is let go when the playhead is farther away
const ZOOM = 1.5;
const UNDO = "(Z: undo)";
const CORRECTION_MS = 4000; // so long a class key is for the last point

export function makeCommands({
  store, player, timeline, videos, say, open, toggleHelp, toggleTicks, askTime, toButtons, flash,
}) {
  const exact = (seconds) =>
    Number(clamp(seconds, 0, player.frames.middle(player.frames.last)).toFixed(3));
  const quoted = (item) => `“${item.label}”`;
  const openDetections = () =>
    timeline.detections
      .filter((each) => each.status === "open")
      .sort((a, b) => a.start_s - b.start_s || a.end_s - b.end_s);

  let lastPoint = null; // id of the action that added it, or of the point once it has one
  let correctingUntil = 0;

  /** A point now, or a moment ago while playing: pressing a key takes its time. */
  function drop(label) {
    if (!player.ready) return say("Wait until the video can be played.");
    const late = player.playing ? store.data.reaction_s * player.speed : 0;
    const time_s = exact(player.time - late);
    lastPoint = store.act({ type: "add", label, time_s });
    flash(label);
    say(`point “${label}” at ${moment(time_s)} ${UNDO}`);
  }

  function relabel(label, item = store.selected) {
    if (!item) return;
    if (item.label === label) return say(`It is “${label}” already.`);
    store.act({ type: "relabel", [item.kind]: item.id, label });
    flash(label);
    say(`${quoted(item)} is now “${label}” ${UNDO}`);
  }

  /** The point that was set last, while it is still there. */
  function lastAdded() {
    const id = store.nameOf(lastPoint);
    const point = store.video.points.find((each) => each.id === id);
    return point && { kind: "point", ...point };
  }

  function correctLast() {
    const point = lastAdded();
    if (!point) return say("There is no last point here. Choose one: Tab, or click it.");
    correctingUntil = performance.now() + CORRECTION_MS;
    return say(`${quoted(point)} at ${moment(point.time_s)} was …? Press its class key.`);
  }

  /** A class key: relabels what is selected or being corrected, else sets a point. */
  function classKey(label) {
    const point = performance.now() < correctingUntil && lastAdded();
    correctingUntil = 0;
    if (point) return relabel(label, point);
    const reviewing = store.selected?.kind === "detection";
    return store.selected && (reviewing || !player.playing) ? relabel(label) : drop(label);
  }

  function selectPoint(point) {
    player.pause();
    player.loop = null;
    player.seekFrame(player.frames.at(point.time_s)); // first: see keepSelection
    store.select("point", point.id);
    timeline.reveal(point.time_s, point.time_s);
    say(`point ${quoted(point)} at ${moment(point.time_s)}`);
  }

  function otherPoint(direction) {
    const points = [...store.video.points].sort((a, b) => direction * (a.time_s - b.time_s));
    const at = points.findIndex((point) => point.id === store.selected?.id);
    const beyond = (point) => direction * (point.time_s - player.time) > 0.5 * player.frames.length(player.time);
    const next = (at >= 0 ? points[at + 1] : points.find(beyond)) ?? points[0];
    if (!next) return false; // no points at all: the key is the browser's
    selectPoint(next);
    return true;
  }

  function reviewDetection(detection) {
    const [start, end] = [detection.start_s - AROUND_S, detection.end_s + AROUND_S];
    player.playLoop(start, end);
    store.select("detection", detection.id);
    timeline.reveal(start, end);
  }

  function otherDetection(direction) {
    const found = openDetections();
    if (!found.length) return say("No open detection in this video. M marks it as done.");
    const from = store.selected?.kind === "detection" ? store.selected.start_s : player.time;
    const rest = found.filter((each) => each.id !== store.selection?.id);
    const beyond = (each) => direction * (each.start_s - from) >= 0;
    const next = (direction > 0 ? rest.find(beyond) ?? rest[0] : rest.findLast(beyond) ?? rest.at(-1)) ?? found[0];
    reviewDetection(next);
    return say(`${quoted(next)} ${span(next.start_s, next.end_s)}? Enter: yes, X: no, N: next`);
  }

  /** Accept or reject, and on to the next one. */
  function decide(type) {
    const { selected } = store;
    if (selected?.kind !== "detection") return say("Choose a detection first: N, or click one.");
    const status = `${type}ed`;
    if (selected.status !== status) store.act({ type, detection: selected.id });
    const left = openDetections();
    const what = `${status} ${quoted(selected)} at ${moment(selected.start_s)} ${UNDO}`;
    const next = left.find((each) => each.start_s >= selected.start_s) ?? left[0];
    if (next) {
      reviewDetection(next);
      return say(`${what}; ${plural(left.length, "detection")} left`);
    }
    player.pause();
    player.loop = null;
    store.select(null);
    return say(`${what}; that was the last one. M marks the video as done.`);
  }

  function reopen() {
    store.act({ type: "reopen", detection: store.selected.id });
    say(`${quoted(store.selected)} is open again ${UNDO}`);
  }

  function retime(detection, start_s, end_s) {
    if (start_s >= end_s) return say("A detection must start before it ends.");
    store.act({ type: "retime", detection: detection.id, start_s: exact(start_s), end_s: exact(end_s) });
    return say(`${quoted(detection)} is now ${span(start_s, end_s)}, accepted ${UNDO}`);
  }

  function setEdge(edge) {
    const { selected } = store;
    if (selected?.kind !== "detection") return say("Choose a detection first: N, or click one.");
    const times = { start_s: selected.start_s, end_s: selected.end_s, [edge]: player.time };
    return retime(selected, times.start_s, times.end_s);
  }

  function nudge(direction) {
    const { selected } = store;
    if (!selected) return say("Choose a point or a detection first.");
    const { frames } = player;
    const shifted = (seconds) =>
      exact(frames.middle(clamp(frames.at(seconds) + direction, 0, frames.last)));
    player.pause();
    if (selected.kind === "point") {
      movePoint(selected, shifted(selected.time_s));
      return player.seek(shifted(selected.time_s));
    }
    const { start_s, end_s } = selected;
    const nearStart = Math.abs(player.time - start_s) <= Math.abs(player.time - end_s);
    if (nearStart) retime(selected, shifted(start_s), end_s);
    else retime(selected, start_s, shifted(end_s));
    return player.seek(shifted(nearStart ? start_s : end_s));
  }

  function movePoint(point, seconds) {
    const time_s = exact(seconds);
    store.act({ type: "move", point: point.id, time_s });
    say(`point ${quoted(point)} moved to ${moment(time_s)} ${UNDO}`);
  }

  function remove() {
    const { selected } = store;
    if (selected?.kind === "detection") return say("X rejects a detection.");
    if (!selected) return say("Choose a point first: Tab, or click one.");
    store.act({ type: "delete", point: selected.id });
    store.select(null);
    return say(`point ${quoted(selected)} at ${moment(selected.time_s)} deleted ${UNDO}`);
  }

  function takeBack(type) {
    const waiting = store.outbox.pending(store.video.id).length > 0;
    if (!waiting && !store.video[`can_${type}`]) return say(`Nothing to ${type}.`);
    return store.act({ type });
  }

  function done() {
    const isDone = !store.video.done;
    store.act({ type: "done", done: isDone });
    say(isDone ? "video marked as done. PgDn: next video" : "video is to do again");
  }

  function otherVideo(direction) {
    const id = videos.neighbour(direction);
    if (id) open(id);
    else say(direction > 0 ? "This is the last video." : "This is the first video.");
  }

  /** Step by step: out of a field, then let go of what is selected, then on to the buttons. */
  function deselect() {
    const focused = document.activeElement;
    if (focused && focused !== document.body) return focused.blur();
    if (!store.selection && !player.loop) return toButtons();
    player.loop = null;
    return store.select(null);
  }

  /** Let go of what was selected once the playhead has left it, so that keys never change
   * something out of sight. */
  function keepSelection() {
    const { selected } = store;
    if (!selected || !player.ready || timeline.preview) return;
    const room = selected.kind === "point" ? NEAR_S : 1.5 * AROUND_S;
    const [start, end] = [selected.start_s ?? selected.time_s, selected.end_s ?? selected.time_s];
    const outside = player.time < start - room || player.time > end + room;
    if (outside || (selected.kind === "point" && player.playing)) store.select(null);
  }

  const always = {
    nextVideo: () => otherVideo(1),
    previousVideo: () => otherVideo(-1),
    help: toggleHelp,
    deselect,
  };
  const withVideo = {
    toggle: () => player.toggle(),
    stepBack: () => player.step(-1),
    stepOn: () => player.step(1),
    jumpBack: () => player.jump(-1),
    jumpOn: () => player.jump(1),
    leapBack: () => player.jump(-10),
    leapOn: () => player.jump(10),
    minuteBack: () => player.jump(-60),
    minuteOn: () => player.jump(60),
    toStart: () => player.seekFrame(0),
    toEnd: () => player.seekFrame(player.frames.last),
    goTo: () => askTime(),
    backwards: () => player.shuttleBack(),
    stop: () => player.pause(),
    forwards: () => player.shuttleOn(),
    slower: () => player.changeSpeed(-1),
    faster: () => player.changeSpeed(1),
    normalSpeed: () => player.setSpeed(1),
    nextPoint: () => otherPoint(1),
    previousPoint: () => otherPoint(-1),
    correctLast,
    remove,
    undo: () => takeBack("undo"),
    redo: () => takeBack("redo"),
    nextDetection: () => otherDetection(1),
    previousDetection: () => otherDetection(-1),
    accept: () => decide("accept"),
    reject: () => decide("reject"),
    reopen,
    setStart: () => setEdge("start_s"),
    setEnd: () => setEdge("end_s"),
    nudgeBack: () => nudge(-1),
    nudgeOn: () => nudge(1),
    done,
    ticks: toggleTicks,
    zoomIn: () => timeline.zoom(ZOOM),
    zoomOut: () => timeline.zoom(1 / ZOOM),
    zoomFit: () => timeline.fit(),
    class: ({ label }) => classKey(label),
  };

  /** Run a command `{name, label?}`. Returns false where the key is better left to the browser. */
  function run(command) {
    if (always[command.name]) return always[command.name]();
    return store.video ? withVideo[command.name](command) : false;
  }

  return { run, classKey, relabel, selectPoint, reviewDetection, movePoint, retime, keepSelection };
}
