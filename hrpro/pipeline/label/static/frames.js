// Frames as videos count them: at a constant rate, or each at its own time.

import { clamp } from "./web/format.js";

const SLACK = 1e-3; // share of a frame; times were rounded on their way
const SLACK_S = 2e-4;

export class Frames {
  /**
   * @param fps of a constant rate, or about
   * @param duration of the video in seconds
   * @param times when each frame is shown; null at a constant rate
   */
  constructor(fps, duration, times = null) {
    Object.assign(this, { fps, duration, times: times?.length ? times : null });
  }

  get last() {
    return this.times ? this.times.length - 1 : Math.max(0, Math.round(this.duration * this.fps) - 1);
  }

  /** Number of the frame on display at a time. */
  at(seconds) {
    const frame = this.times ? this.#search(seconds + SLACK_S) : Math.floor(seconds * this.fps + SLACK);
    return clamp(frame, 0, this.last);
  }

  /** Time in the middle of a frame: no rounding on the way can turn it into its neighbour. */
  middle(frame) {
    if (!this.times) return (frame + 0.5) / this.fps;
    const start = this.times[frame];
    return (start + this.#end(frame, start)) / 2;
  }

  /** Seconds that the frame at a time is shown. */
  length(seconds) {
    if (!this.times) return 1 / this.fps;
    const frame = this.at(seconds);
    return this.#end(frame, this.times[frame]) - this.times[frame];
  }

  /**
   * An action as a whole at another time: as long as it was, and no farther than the first and the
   * last frame. Where it reaches beyond those already, no farther than it does.
   */
  moved({ start_s, end_s }, wished) {
    const length = end_s - start_s;
    const first = Math.min(this.middle(0), start_s);
    const latest = Math.max(this.middle(this.last), end_s) - length;
    const start = clamp(wished, first, latest);
    return { start_s: start, end_s: start + length };
  }

  #end(frame, start) {
    const usual = start + 1 / this.fps;
    return this.times[frame + 1] ?? (this.duration > start ? Math.min(this.duration, usual) : usual);
  }

  /** The last frame that has begun. */
  #search(seconds) {
    let [low, high] = [0, this.times.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] <= seconds) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
