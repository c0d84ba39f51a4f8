// What an action does to a video: shown at once, before the server confirms it.

import { describe, kindOf, ofKind, quoted } from "./kinds.js";
import { tickDifference, ticked } from "./ticks.js";
import { moment } from "./web/format.js";

const change = (list, id, values) =>
  list.map((item) => (item.id === id ? { ...item, ...values } : item));

/**
 * The video after an action; until the server names a new point, it has the name of the action.
 * What follows from it elsewhere (the point of an accepted detection, undo and redo) is left to the
 * server's answer.
 */
export function applied(video, { id, action }) {
  const { points, intervals, detections } = video;
  const withDetection = (values) => ({
    ...video,
    detections: change(detections, action.detection, values),
  });
  /** The point, interval or detection of the action with other values. */
  const withItem = (values) => {
    if (action.detection) return withDetection({ ...values, status: "accepted" });
    if (action.interval) return { ...video, intervals: change(intervals, action.interval, values) };
    return { ...video, points: change(points, action.point, values) };
  };
  switch (action.type) {
    case "add":
      return {
        ...video,
        points: [...points, { id, label: action.label, time_s: action.time_s }],
      };
    case "mark": {
      const { label, start_s, end_s } = action;
      return { ...video, intervals: [...intervals, { id, label, start_s, end_s, point: null }] };
    }
    case "move":
      return withItem({ time_s: action.time_s });
    case "delete":
      return {
        ...video,
        points: points.filter((point) => point.id !== action.point),
        intervals: intervals.filter((interval) => interval.id !== action.interval),
      };
    case "relabel":
      return withItem({ label: action.label });
    case "who":
      return withItem({ subject: action.subject });
    case "retime":
      return withItem({ start_s: action.start_s, end_s: action.end_s });
    case "accept":
      return withDetection({ status: "accepted" });
    case "reject":
      return withDetection({ status: "rejected" });
    case "reopen":
      return withDetection({ status: "open" });
    case "done":
      return { ...video, done: action.done };
    case "tick":
    case "listed":
      return ticked(video, action);
    default:
      return video;
  }
}

/** What differs between two versions of a video, in words: for undo and redo. */
export function difference(before, after) {
  for (const kind of ["detection", "interval", "point"]) {
    const old = new Map(ofKind(before, kind).map((item) => [item.id, item]));
    const now = new Map(ofKind(after, kind).map((item) => [item.id, item]));
    for (const item of now.values()) {
      const was = old.get(item.id);
      const words = was ? changed(was, item) : `${named(item)} is back`;
      if (words) return words;
    }
    const gone = [...old.values()].find((item) => !now.has(item.id));
    if (gone) return `${named(gone)} is gone`;
  }
  const words = tickDifference(before, after);
  if (words) return words;
  if (before.done !== after.done) return after.done ? "video is done" : "video is not done";
  return "nothing changed";
}

const named = (item) => describe({ ...item, label: quoted(item) });

/** How an item differs from what it was; null if it does not. */
function changed(was, item) {
  const name = `${kindOf(item)} ${quoted(item)}`;
  if (was.status !== item.status) return `${name} is ${item.status}`;
  if (was.label !== item.label) return `${describe(item, false)} is ${quoted(item)}`;
  if (was.time_s !== item.time_s) return `point ${quoted(item)} is at ${moment(item.time_s)}`;
  if (was.start_s !== item.start_s || was.end_s !== item.end_s) return `${name} has its old times`;
  if (was.subject !== item.subject) return `${name} is by ${item.subject ?? "nobody"}`;
  return null;
}
