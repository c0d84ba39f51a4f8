// The video itself: part of the page, linked, or missing.

import { el } from "./web/dom.js";

export function makePlayer(video, moved) {
  if (!video.embedded && !video.link) {
    const note = el("p", { class: "quiet note" }, "The video is not where the results say; give its folder with --videos.");
    let at = 0;
    return { element: note, seek: (seconds) => { at = seconds; moved(at); }, stop: () => {} };
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
    stop() {
      stopped = true;
      player.pause();
      player.removeAttribute("src");
      if (address) URL.revokeObjectURL(address);
    },
  };
}
