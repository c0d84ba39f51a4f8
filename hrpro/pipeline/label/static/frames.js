// Frames as videos count them.

/** Number of the frame on display at a time; a hair of tolerance for rounded times. */
export function frameAt(seconds, fps) {
  return Math.max(0, Math.floor(seconds * fps + 1e-3));
}

/** Time in the middle of a frame: no rounding on the way can turn it into its neighbour. */
export function middleOf(frame, fps) {
  return (frame + 0.5) / fps;
}
