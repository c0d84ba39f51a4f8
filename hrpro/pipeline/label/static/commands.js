// What every command does; keys, buttons and the mouse all end up here.

import { Holds, growing } from "./holds.js";
import { describe, endOf, kindOf, ofKind, startOf } from "./kinds.js";
import { SubjectQuestion } from "./subjects.js";
import { clamp, moment, plural, span } from "./web/format.js";

const AROUND_S = 1; // a detection is looped with this much before and after it
const NEAR_S = 0.5; // a selected point is let go when the playhead is farther away
const ZOOM = 1.5;
const UNDO = "(Z: undo)";
const CORRECTION_MS = 4000; // so long a class key is for the last point or interval
const WAIT = "Wait until the video can be played.";

export function makeCommands({
  store, player, timeline, videos, say, open, toggleHelp, toggleTicks, askTime, toButtons, flash,
}) {
  const exact = (seconds) =>
    Number(clamp(seconds, 0, player.frames.middle(player.frames.last)).toFixed(3));
  const quoted = (item) => `“${item.label}”`;
  /** Now, or a moment ago while playing: pressing a key takes its time. */
  const now = () =>
    exact(player.time - (player.playing ? store.data.reaction_s * player.speed : 0));
  const openDetections = () =>
    timeline.detections
      .filter((each) => each.status === "open")
      .sort((a, b) => a.start_s - b.start_s || a.end_s - b.end_s);

  let last = null; // {kind, id} of what was added last; id of the action until it has its own
  let correctingUntil = 0;
  let begun = null; // {video, time}: an action has started there, and not ended yet

  const holds = new Holds(player, now, { point: drop, interval: mark });
  const question = new SubjectQuestion(store, setSubject);

  function added(kind, label, action) {
    last = { kind, id: store.act(action) };
    store.lastClass = label;
    flash(label);
    ask(kind, last.id);
  }

  function ask(kind, id) {
    question.ask(kind, id);
    if (question.open) always.redraw();
  }

  function drop(label, time_s = now()) {
    if (!player.ready) return say(WAIT);
    added("point", label, { type: "add", label, time_s });
    return say(`point “${label}” at ${moment(time_s)} ${UNDO}`);
  }

  /** An interval; two times in any order. */
  function mark(label, one, other) {
    const [start_s, end_s] = [Math.min(one, other), Math.max(one, other)];
    if (store.data.no_marks) return say(`No start and end here: ${store.data.no_marks}.`);
    if (start_s === end_s) return say("An action must end after it starts.");
    added("interval", label, { type: "mark", label, start_s, end_s });
    return say(`“${label}” ${span(start_s, end_s)} ${UNDO}`);
  }

  /** Where an action has begun in this video by I; null if none has. */
  const begunAt = () => (begun && begun.video === store.confirmed?.id ? begun.time : null);

  function begin() {
    if (!player.ready) return say(WAIT);
    if (store.data.no_marks) return say(`No start and end here: ${store.data.no_marks}.`);
    begun = { video: store.confirmed.id, time: now() };
    store.select(null);
    const as = store.currentClass ? `O ends it as “${store.currentClass}”, ` : "";
    return say(`starts at ${moment(begun.time)}: ${as}a class key as that class, Esc drops it`);
  }

  function finish(label) {
    const [start, before] = [begunAt(), last];
    begun = null;
    mark(label, start, now());
    if (last !== before && !player.playing) store.select("interval", last.id);
  }

  function relabel(label, item = store.selected) {
    if (!item) return;
    if (item.label === label) return say(`It is “${label}” already.`);
    store.act({ type: "relabel", [item.kind]: item.id, label });
    store.lastClass = label;
    flash(label);
    say(`${quoted(item)} is now “${label}” ${UNDO}`);
  }

  /** The point or interval that was added last, while it is still there. */
  function lastAdded() {
    if (!last) return null;
    const id = store.nameOf(last.id);
    const item = ofKind(store.video, last.kind).find((each) => each.id === id);
    return item && { kind: last.kind, ...item };
  }

  function correctLast() {
    const item = lastAdded();
    if (!item) return say("There is no last point here. Choose one: Tab, or click it.");
    correctingUntil = performance.now() + CORRECTION_MS;
    return say(`${quoted(item)} at ${moment(startOf(item))} was …? Press its class key.`);
  }

  /**
   * A class key: relabels what is selected or being corrected, ends what I has begun, else sets a
   * point or, held, marks an interval.
   * @param key which key it is, if it is one; a click has none
   */
  function classKey(label, key = null) {
    const item = performance.now() < correctingUntil && lastAdded();
    correctingUntil = 0;
    if (item) return relabel(label, item);
    if (begunAt() !== null) return finish(label);
    const reviewing = store.selected?.kind === "detection";
    if (store.selected && (reviewing || !player.playing)) return relabel(label);
    if (key === null || !player.ready || store.data.no_marks) return drop(label);
    flash(label);
    return holds.press(key, label);
  }

  function askWho() {
    const { kind, id } = store.selected ?? lastAdded() ?? {};
    if (!id) return say("Choose a point or an interval first: Tab, or click one.");
    return ask(kind, id);
  }

  function setSubject({ kind, id }, subject) {
    const item = ofKind(store.video, kind).find((each) => each.id === store.nameOf(id));
    if (!item) return say("It is gone.");
    if ((item.subject ?? null) === subject) return say(`${quoted(item)}: ${subject ?? "nobody"}`);
    store.act({ type: "who", [kind]: item.id, ...(subject && { subject }) });
    return say(`${quoted(item)} at ${moment(startOf(item))}: ${subject ?? "nobody"} ${UNDO}`);
  }

  /** Select a point or an interval, and go there. */
  function selectMark(item) {
    player.pause();
    player.loop = null;
    player.seekFrame(player.frames.at(startOf(item))); // first: see keepSelection
    store.select(kindOf(item), item.id);
    timeline.reveal(startOf(item), endOf(item));
    say(describe({ ...item, label: quoted(item) }));
  }

  /** On to the next point or interval; the points that intervals have added are theirs. */
  function otherMark(direction) {
    const { points, intervals } = store.video;
    const owned = new Set(intervals.map((interval) => interval.point));
    const marks = [...points.filter((point) => !owned.has(point.id)), ...intervals];
    marks.sort((a, b) => direction * (startOf(a) - startOf(b)));
    const at = marks.findIndex((item) => item.id === store.selected?.id);
    const beyond = (item) => direction * (startOf(item) - player.time) > 0.5 * player.frames.length(player.time);
    const next = (at >= 0 ? marks[at + 1] : marks.find(beyond)) ?? marks[0];
    if (!next) return false; // nothing at all: the key is the browser's
    selectMark(next);
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

  /** Another start or end for an interval or a detection. */
  function retime(item, start_s, end_s) {
    if (start_s >= end_s) return say("An action must start before it ends.");
    const kind = kindOf(item);
    store.act({ type: "retime", [kind]: item.id, start_s: exact(start_s), end_s: exact(end_s) });
    const accepted = kind === "detection" ? ", accepted" : "";
    return say(`${quoted(item)} is now ${span(start_s, end_s)}${accepted} ${UNDO}`);
  }

  /** Move an edge of what is selected here; without, an action begins or ends here. */
  function setEdge(edge) {
    const { selected } = store;
    if (selected && selected.kind !== "point") {
      const times = { start_s: selected.start_s, end_s: selected.end_s, [edge]: player.time };
      return retime(selected, times.start_s, times.end_s);
    }
    if (edge === "start_s") return begin();
    if (begunAt() === null) return say("Press I where it starts, then O where it ends.");
    return store.currentClass ? finish(store.currentClass) : say("Add a class first.");
  }

  function nudge(direction) {
    const { selected } = store;
    if (!selected) return say("Choose a point, an interval or a detection first.");
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
    if (!selected) return say("Choose a point or an interval first: Tab, or click one.");
    store.act({ type: "delete", [selected.kind]: selected.id });
    store.select(null);
    return say(`${describe({ ...selected, label: quoted(selected) })} deleted ${UNDO}`);
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
    if (holds.cancel()) return say("never mind");
    if (begunAt() !== null) {
      begun = null;
      return say("never mind: it has not started");
    }
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
    const outside = player.time < startOf(selected) - room || player.time > endOf(selected) + room;
    if (outside || (selected.kind === "point" && player.playing)) store.select(null);
  }

  const always = {
    nextVideo: () => otherVideo(1),
    previousVideo: () => otherVideo(-1),
    help: toggleHelp,
    redraw: () => store.select(store.selection?.kind, store.selection?.id),
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
    nextMark: () => otherMark(1),
    previousMark: () => otherMark(-1),
    who: askWho,
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
    class: ({ label, key }) => classKey(label, key),
  };

  /** Run a command `{name, label?}`. Returns false where the key is better left to the browser. */
  function run(command) {
    if (always[command.name]) return always[command.name]();
    return store.video ? withVideo[command.name](command) : false;
  }

  /** Intervals that have begun and not ended, as the timeline shows them. */
  function unfinished() {
    const start = begunAt();
    const by_i = start === null ? [] : [growing("begun", store.currentClass ?? "", start, now())];
    return [...holds.growing, ...by_i];
  }

  return {
    run, classKey, relabel, selectMark, reviewDetection, movePoint, retime, keepSelection,
    unfinished, holds, question,
  };
}
