// The part of the video that the timeline shows: its limits, zoom and tick marks.

import { clamp } from "./web/format.js";

const TICKS = [0.04, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
const SHORTEST_S = 0.4;
const FIRST_VIEW_S = 60;

export class TimeScale {
  constructor() {
    this.reset(0);
  }

  /** Start on a video: all of it, or its first minute. */
  reset(duration) {
    this.duration = duration;
    this.start = 0;
    this.end = Math.min(duration, FIRST_VIEW_S) || 1;
  }

  get length() {
    return this.end - this.start;
  }

  get whole() {
    return this.length >= this.duration - 1e-6;
  }

  /** Share of the width, 0 to 1 inside the view. */
  share(seconds) {
    return (seconds - this.start) / this.length;
  }

  fit() {
    [this.start, this.end] = [0, this.duration || 1];
  }

  /** Zoom so that `anchor` (seconds) stays where it is. */
  zoom(factor, anchor) {
    const length = clamp(this.length / factor, Math.min(SHORTEST_S, this.duration), this.duration || 1);
    const share = clamp(this.share(anchor), 0, 1);
    this.#place(anchor - share * length, length);
  }

  pan(seconds) {
    this.#place(this.start + seconds, this.length);
  }

  center(seconds) {
    this.#place(seconds - this.length / 2, this.length);
  }

  /** Keep a moving playhead in view: turn the page when it leaves. */
  follow(seconds) {
    if (seconds > this.end || seconds < this.start)
      this.#place(seconds - (seconds > this.end ? 0.1 : 0.9) * this.length, this.length);
  }

  /** Show a range with room around it, without zooming where it fits already. */
  reveal(start, end) {
    if (start >= this.start && end <= this.end) return;
    if (end - start > 0.8 * this.length) this.#place(start - (end - start) / 2, 2 * (end - start));
    else this.center((start + end) / 2);
  }

  #place(start, length) {
    const fitting = Math.min(length, this.duration || 1);
    this.start = clamp(start, 0, Math.max(0, this.duration - fitting));
    this.end = this.start + fitting;
  }

  /** Times of the tick marks, about `spacing` pixels apart on `width` pixels. */
  ticks(width, spacing = 80) {
    const wanted = (this.length * spacing) / Math.max(width, 1);
    const step = TICKS.find((tick) => tick >= wanted) ?? TICKS.at(-1);
    const first = Math.ceil(this.start / step - 1e-6);
    const count = Math.floor(this.end / step + 1e-6) - first + 1;
    const times = Array.from({ length: Math.max(0, count) }, (_, index) => (first + index) * step);
    return { times, decimals: step < 0.1 ? 2 : step < 1 ? 1 : 0 };
  }
}
