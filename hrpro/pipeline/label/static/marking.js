// Setting points and intervals: class keys, held or not, I and O; whose they are.

import { Holds, growing } from "./holds.js";
import { ofKind, quoted, startOf } from "./kinds.js";
import { SubjectQuestion } from "./subjects.js";
import { UNDO } from "./words.js";
import { moment, span } from "./web/format.js";

const CORRECTION_MS = 4000; // so long a class key is for the last point or interval
const WAIT = "Wait until the video can be played.";

/**
 * @param now called for the time in the video that a key press means
 * @param redraw called when the question of who did it is open or answered
 */
export function makeMarking({ store, player, now, say, flash, redraw }) {
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
    if (question.open) redraw();
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

  /** O: the action that I has begun ends now. */
  function end() {
    if (begunAt() === null) return say("Press I where it starts, then O where it ends.");
    return store.currentClass ? finish(store.currentClass) : say("Add a class first.");
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

  /** Forget keys that are down and what has begun; returns whether there was any. */
  function cancel() {
    const any = holds.cancel() || begunAt() !== null;
    begun = null;
    return any;
  }

  /** Intervals that have begun and not ended, as the timeline shows them. */
  function unfinished() {
    const start = begunAt();
    const by_i = start === null ? [] : [growing("begun", store.currentClass ?? "", start, now())];
    return [...holds.growing, ...by_i];
  }

  return { classKey, relabel, begin, end, cancel, correctLast, askWho, unfinished, holds, question };
}
