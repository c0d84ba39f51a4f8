// The line that says what has just happened. What an answer tells late does not wipe what was said
// since it was asked for.

import { setText } from "./web/dom.js";

export class Toast {
  constructor(root) {
    this.root = root;
    this.awaiting = false; // whether the line is about something that is still to be answered
  }

  say(text) {
    this.#show(text);
  }

  fail(text) {
    this.#show(text, { error: true });
  }

  /** Say what is asked of the server; `answered` follows, or `fail`. */
  asked(text) {
    this.#show(text, { awaiting: true });
  }

  answered(text) {
    if (this.awaiting) setText(this.root, text);
  }

  #show(text, { error = false, awaiting = false } = {}) {
    this.awaiting = awaiting;
    this.root.classList.toggle("error", error);
    setText(this.root, text);
  }
}
