// Points, intervals and detections: which one an item is, and what it is called.

import { moment, percent, span } from "./web/format.js";

/** "point", "interval" or "detection". */
export function kindOf(item) {
  if (item.time_s !== undefined) return "point";
  return item.score === undefined ? "interval" : "detection";
}

/** The items of one kind in a video. */
export function ofKind(video, kind) {
  return { point: video.points, interval: video.intervals, detection: video.detections }[kind];
}

/** Where an item begins, in seconds. */
export const startOf = (item) => item.time_s ?? item.start_s;

/** Where it ends; where it begins, if it is a point. */
export const endOf = (item) => item.time_s ?? item.end_s;

/** The label of an item in a sentence. */
export const quoted = (item) => `“${item.label}”`;

/** An item in words: for screen readers, tips and the line of what is selected. */
export function describe(item, withLabel = true) {
  const label = withLabel ? `${item.label} ` : "";
  const how = [item.subject, ...(item.modifiers ?? [])].filter(Boolean).join(", ");
  const by = how && ` (${how})`;
  switch (kindOf(item)) {
    case "point":
      return `point ${label}at ${moment(item.time_s)}${by}`;
    case "interval":
      return `interval ${label}${span(item.start_s, item.end_s)}${by}`;
    default:
      return `${item.status} detection ${item.label}, ${percent(item.score)}, ${span(item.start_s, item.end_s)}${by}`;
  }
}
