// What every command does; keys, buttons and the mouse all end up here.

import { describe, endOf, kindOf, quoted, startOf } from "./kinds.js";
import { makeMarking } from "./marking.js";
import { AROUND_S, makeReview } from "./review.js";
import { UNDO } from "./words.js";
import { clamp, moment, span } from "./web/format.js";

const NEAR_S = 0.5; // a selected point is let go when the playhead is farther away
const ZOOM = 1.5;

export function makeCommands({
  store, player, timeline, videos, toast, open, toggleHelp, toggleTicks, askTime, toButtons, flash,
}) {
  const say = (text) => toast.say(text);
  const exact = (seconds) =>
    Number(clamp(seconds, 0, player.frames.middle(player.frames.last)).toFixed(3));
  /** Now, or a moment ago while playing: pressing a key takes its time. */
  const now = () =>
    exact(player.time - (player.playing ? store.data.reaction_s * player.speed : 0));
  const redraw = () => store.select(store.selection?.kind, store.selection?.id);
  const marking = makeMarking({ store, player, now, say, flash, redraw });
  const review = makeReview({ store, player, timeline, say });

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
    return edge === "start_s" ? marking.begin() : marking.end();
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
    const nearStart = isNearStart(selected);
    if (nearStart) retime(selected, shifted(start_s), end_s);
    else retime(selected, start_s, shifted(end_s));
    return player.seek(shifted(nearStart ? start_s : end_s));
  }

  /** Move a whole interval or detection by a frame; the picture stays with the nearer edge. */
  function shift(direction) {
    const { selected } = store;
    if (!selected || selected.kind === "point") return say("Choose an interval or a detection first.");
    const { frames } = player;
    const wished = frames.middle(clamp(frames.at(selected.start_s) + direction, 0, frames.last));
    const { start_s, end_s } = frames.moved(selected, wished);
    player.pause();
    if (direction * (start_s - selected.start_s) <= 0) return say("It cannot be moved any farther.");
    const edge = isNearStart(selected) ? start_s : end_s;
    retime(selected, start_s, end_s);
    return player.seek(edge);
  }

  const isNearStart = ({ start_s, end_s }) =>
    Math.abs(player.time - start_s) <= Math.abs(player.time - end_s);

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
    toast.asked(`${type} …`);
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
    if (marking.cancel()) return say("never mind");
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
    redraw,
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
    who: () => marking.askWho(),
    correctLast: () => marking.correctLast(),
    remove,
    undo: () => takeBack("undo"),
    redo: () => takeBack("redo"),
    nextDetection: () => review.go(1),
    previousDetection: () => review.go(-1),
    accept: () => review.decide("accept"),
    reject: () => review.decide("reject"),
    reopen: () => review.reopen(),
    setStart: () => setEdge("start_s"),
    setEnd: () => setEdge("end_s"),
    nudgeBack: () => nudge(-1),
    nudgeOn: () => nudge(1),
    shiftBack: () => shift(-1),
    shiftOn: () => shift(1),
    done,
    ticks: toggleTicks,
    zoomIn: () => timeline.zoom(ZOOM),
    zoomOut: () => timeline.zoom(1 / ZOOM),
    zoomFit: () => timeline.fit(),
    class: ({ label, key }) => marking.classKey(label, key),
  };

  /** Run a command `{name, label?}`. Returns false where the key is better left to the browser. */
  function run(command) {
    if (always[command.name]) return always[command.name]();
    // What is pressed now is not for the video that is still on the screen.
    if (store.opening) return say(`“${store.opening}” is being opened: press that again.`);
    return store.video ? withVideo[command.name](command) : false;
  }

  return { run, selectMark, movePoint, retime, keepSelection, marking, review };
}
