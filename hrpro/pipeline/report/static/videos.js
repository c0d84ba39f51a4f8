// The list of the videos, and in each row what is in it.

import { place } from "./place.js";
import { el } from "./web/dom.js";
import { clock, percent } from "./web/format.js";

/** @param open called with the index of the video that was chosen */
export function videoList(videos, classes, measured, open) {
  const order = videos.map((video, index) => ({ video, index }));
  const worth = ({ video }) => video.quality ?? 2;
  if (measured) order.sort((a, b) => worth(a) - worth(b));
  const rows = order.map(({ video, index }) =>
    el(
      "a",
      { class: "video-row", href: `#${index}`, "data-video": index, onclick: (event) => { event.preventDefault(); open(index); } },
      el("span", { class: "video-name", title: video.id }, video.id),
      el("span", { class: "video-value" }, video.quality === null ? clock(video.duration, 1) : percent(video.quality, 1)),
      strip(video, classes),
    ),
  );
  const title = measured ? "Videos, the worst first" : "Videos";
  return el("nav", { class: "videos", "aria-label": "Videos" }, el("h2", {}, title), el("div", { class: "video-rows" }, ...rows));
}

/** The ground truth (or, without, the best detections) of a video, a few pixels high. */
function strip(video, classes) {
  const spans = video.truth ?? video.detections.slice(0, 30).map(([label, , start, end]) => [label, start, end]);
  return el(
    "span",
    { class: "strip", "aria-hidden": "true" },
    ...spans.map(([label, start, end]) => el("span", { style: { ...place(video, start, end), background: classes[label].color } })),
  );
}
