// The buttons and readings under the picture, and the notice in its place while there is none.

import { setText } from "./web/dom.js";
import { clock, percent } from "./web/format.js";

export class PlayerBar {
  /** @param reload called when the person wants the video tried again */
  constructor(root, store, player, reload) {
    Object.assign(this, { root, store, player });
    const find = (name) => root.querySelector(`[data-part=${name}]`);
    this.parts = Object.fromEntries(
      ["notice", "notice-text", "retry", "bar-preparing", "time", "frame", "speed", "play", "mute", "loop"].map(
        (name) => [name, find(name)],
      ),
    );
    this.parts.retry.addEventListener("click", reload);
    this.parts.mute.addEventListener("click", () => (player.video.muted = !player.video.muted));
  }

  update() {
    const { player, parts } = this;
    setText(parts.time, `${clock(player.time)} / ${clock(player.duration)}`);
    setText(parts.frame, `frame ${player.frame}`);
    setText(parts.speed, `${player.speed < 0 ? "−" : ""}${Math.abs(player.speed)}×`);
    const action = player.playing ? "pause" : "play";
    setIcon(parts.play, action);
    parts.play.setAttribute("aria-label", action === "play" ? "Play" : "Pause");
    setIcon(parts.mute, player.video.muted ? "muted" : "sound");
    parts.mute.setAttribute("aria-pressed", String(player.video.muted));
    parts.loop.hidden = !player.loop;
  }

  /** Say why there is no picture; nothing where there is one. */
  notice() {
    const { entry } = this.store;
    const { parts } = this;
    const text = this.#reason(entry);
    parts.notice.hidden = !text;
    setText(parts["notice-text"], text ?? "");
    const preparing = entry?.playback === "pending";
    parts["bar-preparing"].hidden = !preparing;
    parts["bar-preparing"].value = entry?.progress ?? 0;
    parts.retry.hidden = !this.player.video.error || preparing;
  }

  #reason(entry) {
    if (!entry) return this.store.data.videos.length ? "Choose a video." : "No videos yet.";
    if (entry.playback === "pending")
      return (
        `Preparing a playable copy… ${percent(entry.progress ?? 0)}. Browsers cannot play this ` +
        "file itself; go on with another video (PgDn) meanwhile."
      );
    if (entry.playback === "failed") return `This video cannot be played: ${entry.error ?? "it is damaged"}`;
    if (this.player.video.error) return "The browser could not play this video.";
    return null;
  }
}

/** Choose one of the symbols at the top of index.html. */
function setIcon(button, name) {
  button.querySelector("use").setAttribute("href", `#i-${name}`);
}
