// Going through what a model found: accept, reject, and on to the next one.

import { quoted } from "./kinds.js";
import { UNDO } from "./words.js";
import { moment, plural, span } from "./web/format.js";

export const AROUND_S = 1; // a detection is looped with this much before and after it

export function makeReview({ store, player, timeline, say }) {
  const openDetections = () =>
    timeline.detections
      .filter((each) => each.status === "open")
      .sort((a, b) => a.start_s - b.start_s || a.end_s - b.end_s);

  function show(detection) {
    const [start, end] = [detection.start_s - AROUND_S, detection.end_s + AROUND_S];
    player.playLoop(start, end);
    store.select("detection", detection.id);
    timeline.reveal(start, end);
  }

  function go(direction) {
    const found = openDetections();
    if (!found.length) return say("No open detection in this video. M marks it as done.");
    const from = store.selected?.kind === "detection" ? store.selected.start_s : player.time;
    const rest = found.filter((each) => each.id !== store.selection?.id);
    const beyond = (each) => direction * (each.start_s - from) >= 0;
    const next = (direction > 0 ? rest.find(beyond) ?? rest[0] : rest.findLast(beyond) ?? rest.at(-1)) ?? found[0];
    show(next);
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
      show(next);
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

  return { show, go, decide, reopen };
}
