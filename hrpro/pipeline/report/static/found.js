// What was found in a video, and which of it the filters let through.

/**
 * What was found in a video as objects `{label, score, start, end, opacity}`, in order of time: the
 * events, or all detections where the filters say so or nobody made events of them.
 */
export function foundIn(video, filters) {
  const rows = filters.all ? video.detections : video.events ?? video.detections;
  // Scores of different models differ in scale, so the opacity goes from the least to the highest.
  const scores = rows.map(([, score]) => score);
  const low = scores.reduce((least, score) => Math.min(least, score), Infinity);
  const high = scores.reduce((most, score) => Math.max(most, score), -Infinity);
  const opacity = (score) => (high > low ? 0.35 + (0.65 * (score - low)) / (high - low) : 1);
  return rows
    .map(([label, score, start, end]) => ({ label, score, start, end, opacity: opacity(score) }))
    .sort((a, b) => a.start - b.start || a.end - b.end);
}

/** Those that the slider and the chips let through. */
export function filtered(detections, filters) {
  return detections.filter(({ label, score }) => score >= filters.score && !filters.hidden.has(label));
}
