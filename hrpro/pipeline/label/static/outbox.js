// Actions on their way to the server: one after the other, kept until the server has them.

import { Unreachable } from "./api.js";

const RETRY_MS = [500, 1000, 2000, 4000];
const FORBIDDEN = 403; // the server was started anew, with another token

export class Outbox {
  /**
   * @param send posts one entry `{video, action, temporary}` and returns the server's answer
   * @param handlers `saved(entry, answer)`, `refused(entry, error)`, `changed()`
   * @param name of the stored copy, which outlives a reload of the page
   */
  constructor(send, handlers, name) {
    this.send = send;
    this.handlers = handlers;
    this.name = name;
    this.entries = JSON.parse(localStorage.getItem(name) ?? "[]");
    this.problem = null; // why the first entry could not be sent
    this.failures = 0;
    this.busy = false;
    this.timer = null;
  }

  push(entry) {
    this.entries.push(entry);
    this.#store();
    this.handlers.changed();
    if (!this.problem) this.pump();
  }

  /** The actions of a video that the server does not have yet. */
  pending(video) {
    return this.entries.filter((entry) => entry.video === video);
  }

  /** Send what there is, now. */
  async pump() {
    if (this.busy) return;
    this.busy = true;
    clearTimeout(this.timer);
    while (this.entries.length) {
      const entry = this.entries[0];
      let answer = null;
      let refusal = null;
      try {
        answer = await this.send(entry);
      } catch (error) {
        if (error instanceof Unreachable || error.status === FORBIDDEN) {
          entry.retried = true;
          this.#postpone(error);
          break;
        }
        refusal = error;
      }
      this.problem = null;
      this.failures = 0;
      this.entries.shift();
      if (answer?.created) this.#rename(entry.temporary, answer.created);
      this.#store();
      if (refusal) this.handlers.refused(entry, refusal);
      else this.handlers.saved(entry, answer);
    }
    this.busy = false;
    this.handlers.changed();
  }

  #postpone(error) {
    this.problem = error;
    const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    this.timer = setTimeout(() => this.pump(), wait);
  }

  /** Later actions on a point that only now got its name. */
  #rename(temporary, name) {
    for (const { action } of this.entries) if (action.point === temporary) action.point = name;
  }

  #store() {
    if (this.entries.length) localStorage.setItem(this.name, JSON.stringify(this.entries));
    else localStorage.removeItem(this.name);
  }
}
