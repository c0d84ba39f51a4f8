// "Go to a time": a small dialog that takes 90, 1:30 or 1:02:03.5.

import { clock } from "./web/format.js";

export class GotoTime {
  constructor(dialog, player) {
    Object.assign(this, { dialog, player, input: dialog.querySelector("input") });
    dialog.querySelector("form").addEventListener("submit", () => {
      this.input.blur(); // the next key is not for it, though it may be pressed before it is gone
      const seconds = parseTime(this.input.value);
      if (seconds !== null) player.seek(player.frames.middle(player.frames.at(seconds)));
    });
    this.input.addEventListener("input", () => this.#check());
  }

  ask() {
    this.input.value = clock(this.player.time, 0);
    this.#check();
    this.dialog.showModal();
    this.input.select();
  }

  #check() {
    const wrong = parseTime(this.input.value) === null;
    this.input.setCustomValidity(wrong ? "Write a time such as 90, 1:30 or 1:02:03.5" : "");
  }
}

/** Seconds of a time as people write it; null if it is none. */
function parseTime(text) {
  const parts = text.trim().replace(",", ".").split(":");
  const fits = parts.length <= 3 && parts.every((part) => /^\d+(\.\d*)?$/.test(part));
  return fits ? parts.reduce((seconds, part) => 60 * seconds + Number(part), 0) : null;
}
