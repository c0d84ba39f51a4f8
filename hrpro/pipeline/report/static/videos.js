// The list of the videos, and in each row what is in it.

import { filtered, foundIn } from "./found.js";
import { place } from "./place.js";
import { el } from "./web/dom.js";
import { clock, percent } from "./web/format.js";

/**
 * The list, and `apply()`, which brings it in line with the filters.
 * @param open called with the index of the video that was chosen
 */
export function makeVideoList(videos, classes, filters, measured, open) {
  const order = videos.map((video, index) => ({ video, index }));
  const worth = ({ video }) => video.quality ?? 2;
  if (measured) order.sort((a, b) => worth(a) - worth(b));
  const rows = order.map(({ video, index }) =>
    el(
      "a",
      { class: "video-row", href: `#${index}`, "data-video": index, onclick: (event) => { event.preventDefault(); open(index); } },
      el("span", { class: "video-name", title: video.id }, video.id),
      el("span", { class: "video-value" }, video.quality === null ? clock(video.duration, 1) : percent(video.quality, 1)),
      el("span", { class: "strip", "aria-hidden": "true" }),
    ),
  );
  function apply() {
    for (const [at, row] of rows.entries())
      row.querySelector(".strip").replaceChildren(...strip(order[at].video, classes, filters));
  }
  apply();
  const title = measured ? "Videos, the worst first" : "Videos";
  const element = el("nav", { class: "videos", "aria-label": "Videos" }, el("h2", {}, title), el("div", { class: "video-rows" }, ...rows));
  return { element, apply, first: order[0].index };
}

/** What is in a video, a few pixels high: what people marked above what was found. */
function strip(video, classes, filters) {
  const mark = (kind, label, start, end) =>
    el("span", { class: kind, style: { ...place(video, start, end), background: classes[label].color } });
  const truth = (video.truth ?? []).filter(([label]) => !filters.hidden.has(label));
  return [
    ...truth.map(([label, start, end]) => mark("true", label, start, end)),
    ...filtered(foundIn(video, filters), filters).map(({ label, start, end }) => mark("found-here", label, start, end)),
  ];
}
