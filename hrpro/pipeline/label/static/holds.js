// Class keys that are down: a tap is a point, a key that stays down while the video goes on is an
// action from its start to its end.

const HOLD_MS = 400; // slower than a tap

export class Holds {
  /**
   * @param now called for the time in the video that a key press means, in seconds
   * @param on `point(label, time)`, `interval(label, start, end)`
   */
  constructor(player, now, on) {
    Object.assign(this, { player, now, on, held: new Map() });
  }

  /** @param key which key it is, whatever it means by now */
  press(key, label) {
    const { playing } = this.player;
    this.held.set(key, { label, start: this.now(), since: performance.now(), playing });
  }

  release(key) {
    const hold = this.held.get(key);
    if (!hold) return;
    this.held.delete(key);
    if (this.#lasts(hold)) this.on.interval(hold.label, hold.start, this.now());
    else this.on.point(hold.label, hold.start);
  }

  /** The window has lost the keyboard: no key will come up again. */
  releaseAll() {
    for (const key of [...this.held.keys()]) this.release(key);
  }

  /** Forget the keys that are down; returns whether there were any. */
  cancel() {
    const any = this.held.size > 0;
    this.held.clear();
    return any;
  }

  /** What is being marked now, `{id, label, start_s, end_s}`. */
  get growing() {
    return [...this.held]
      .filter(([, hold]) => this.#lasts(hold))
      .map(([key, { label, start }]) => growing(`held ${key}`, label, start, this.now()));
  }

  #lasts({ start, since, playing }) {
    const { frames } = this.player;
    const moved = frames.at(start) !== frames.at(this.now());
    return moved && (!playing || performance.now() - since >= HOLD_MS);
  }
}

/** An interval that is not finished yet, as the timeline shows it. */
export function growing(id, label, start, end) {
  return { id, label, start_s: Math.min(start, end), end_s: Math.max(start, end), growing: true };
}
