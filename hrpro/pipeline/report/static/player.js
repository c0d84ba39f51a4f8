// The video itself: part of the page, linked, or missing.

import { el } from "./web/dom.js";

/** `{element, seek(seconds), play(seconds), toggle(), stop(), time}` */
export function makePlayer(video, moved) {
  if (!video.embedded && !video.link) {
    const note = el("p", { class: "quiet note" }, "The video is not where the results say; give its folder with --videos.");
    let at = 0;
    const seek = (seconds) => { at = seconds; moved(at); };
    return { element: note, seek, play: seek, toggle: () => {}, stop: () => {}, get time() { return at; } };
  }
  const note = el("p", { class: "quiet note", hidden: true },
    "This browser cannot play the video here (its format, or the file was moved). The timeline works all the same; hrpro render makes a copy that plays everywhere.");
  const player = el("video", { controls: true, playsinline: true, preload: "metadata", "aria-label": video.id });
  let address = null;
  if (video.embedded) {
    const bytes = Uint8Array.from(atob(document.getElementById(video.embedded.id).textContent), (letter) => letter.charCodeAt(0));
    address = URL.createObjectURL(new Blob([bytes], { type: video.embedded.type }));
  }
  player.src = address ?? video.link;
  player.addEventListener("error", () => { note.hidden = false; player.hidden = true; });
  let stopped = false;
  function follow() {
    if (stopped) return;
    moved(player.currentTime);
    if (!player.paused) requestAnimationFrame(follow);
  }
  for (const event of ["play", "seeked", "timeupdate"]) player.addEventListener(event, follow);
  return {
    element: el("div", { class: "player" }, player, note),
    seek(seconds) {
      player.currentTime = seconds;
      moved(seconds);
    },
    play(seconds) {
      player.currentTime = seconds;
      moved(seconds);
      player.play().catch(() => {}); // cannot be played: the note says so
    },
    toggle() {
      if (player.paused) player.play().catch(() => {});
      else player.pause();
    },
    get time() {
      return player.currentTime;
    },
    stop() {
      stopped = true;
      player.pause();
      player.removeAttribute("src");
      if (address) URL.revokeObjectURL(address);
    },
  };
}
