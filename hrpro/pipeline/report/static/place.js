// Where times are on the width of a video.

/** Style properties that put an element from `start` to `end` seconds. */
export function place(video, start, end) {
  const share = (seconds) => `${(100 * Math.min(1, Math.max(0, seconds / (video.duration || 1)))).toFixed(4)}%`;
  return { left: share(start), width: `calc(${share(end)} - ${share(start)})` };
}
