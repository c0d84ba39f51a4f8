// Actions on their way to the server: one after the other, kept until the server has them. Each
// has a name of its own, so that one whose answer was lost can be sent again.

import { Unreachable } from "./api.js";

const RETRY_MS = [500, 1000, 2000, 4000];
const FORBIDDEN = 403; // the server was started anew, with another token

export class Outbox {
  /**
   * @param send posts one entry `{id, client, video, action}` and returns the server's answer
   * @param handlers `saved(entry, answer)`, `refused(entry, error)`, `changed()`
   */
  constructor(send, handlers) {
    this.send = send;
    this.handlers = handlers;
    this.entries = [];
    this.problem = null; // why the first entry could not be sent
    this.failures = 0;
    this.busy = false;
    this.timer = null;
  }

  /**
   * Take up what this tab, and tabs that are closed, could not send. A tab that is open still sends
   * the same once more, which the server does not mind.
   * @param dataset begins the names under which actions for this dataset are kept
   * @param client ends the name of this tab's own
   */
  open(dataset, client) {
    this.name = dataset + client;
    const names = Object.keys(localStorage).filter((name) => name.startsWith(dataset));
    names.sort((a, b) => (b === this.name) - (a === this.name)); // the own ones first
    this.entries = names.flatMap((name) => JSON.parse(localStorage.getItem(name)));
    this.#store();
    for (const name of names) if (name !== this.name) localStorage.removeItem(name);
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
          this.#postpone(error);
          break;
        }
        refusal = error;
      }
      this.problem = null;
      this.failures = 0;
      this.entries.shift();
      if (answer?.created) this.#rename(entry.id, answer.created);
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

  /** Later actions on a point or an interval that only now got its name. */
  #rename(id, name) {
    for (const { action } of this.entries)
      for (const kind of ["point", "interval"]) if (action[kind] === id) action[kind] = name;
  }

  #store() {
    if (this.entries.length) localStorage.setItem(this.name, JSON.stringify(this.entries));
    else localStorage.removeItem(this.name);
  }
}
