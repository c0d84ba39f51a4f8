// What an action does to a video: shown at once, before the server confirms it.

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
  const { points, detections } = video;
  const withDetection = (values) => ({
    ...video,
    detections: change(detections, action.detection, values),
  });
  switch (action.type) {
    case "add":
      return {
        ...video,
        points: [...points, { id, label: action.label, time_s: action.time_s }],
      };
    case "move":
      return { ...video, points: change(points, action.point, { time_s: action.time_s }) };
    case "delete":
      return { ...video, points: points.filter((point) => point.id !== action.point) };
    case "relabel":
      if (action.detection) return withDetection({ label: action.label, status: "accepted" });
      return { ...video, points: change(points, action.point, { label: action.label }) };
    case "retime":
      return withDetection({ start_s: action.start_s, end_s: action.end_s, status: "accepted" });
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
  const name = (item) => `“${item.label}”`;
  const old = new Map([...before.points, ...before.detections].map((item) => [item.id, item]));
  const now = new Set(after.points.map((point) => point.id));
  const gone = before.points.find((point) => !now.has(point.id));
  for (const detection of after.detections) {
    const was = old.get(detection.id);
    if (!was) continue;
    if (was.status !== detection.status) return `detection ${name(detection)} is ${detection.status}`;
    if (was.label !== detection.label) return `detection is ${name(detection)}`;
    if (was.start_s !== detection.start_s || was.end_s !== detection.end_s)
      return `detection ${name(detection)} has its old times`;
  }
  for (const point of after.points) {
    const was = old.get(point.id);
    if (!was) return `point ${name(point)} at ${moment(point.time_s)} is back`;
    if (was.label !== point.label) return `point at ${moment(point.time_s)} is ${name(point)}`;
    if (was.time_s !== point.time_s) return `point ${name(point)} is at ${moment(point.time_s)}`;
  }
  if (gone) return `point ${name(gone)} at ${moment(gone.time_s)} is gone`;
  const words = tickDifference(before, after);
  if (words) return words;
  if (before.done !== after.done) return after.done ? "video is done" : "video is not done";
  return "nothing changed";
}
