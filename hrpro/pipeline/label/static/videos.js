// The list of videos: search, filters, and how far the work is.

import { el, reconcile, setAttribute, setText } from "./web/dom.js";
import { clock, percent, plural } from "./web/format.js";

const FILTERS = {
  all: () => true,
  todo: (video) => !video.done,
  done: (video) => video.done,
  unsure: (video) => video.uncertainty !== null && !video.done,
};
const EMPTY = {
  all: "No video has this in its name.",
  todo: "Nothing left to do: every video is done.",
  done: "No video is done yet. Press M when you have found everything in one.",
  unsure: "No suggestions yet. Train a model on your points, and the videos it is unsure about come first.",
};

export class VideoList {
  /** @param open called with the id of the video that was chosen */
  constructor(root, store, open) {
    Object.assign(this, { root, store, open, filter: "all" });
    this.search = root.querySelector("input[type=search]");
    this.list = root.querySelector("ul");
    this.empty = root.querySelector(".empty-note");
    this.search.addEventListener("input", () => this.update());
    for (const button of root.querySelectorAll("[data-filter]"))
      button.addEventListener("click", () => {
        this.filter = button.dataset.filter;
        this.update();
      });
  }

  /** The videos on show, in their order. */
  get shown() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    return this.store.data.videos
      .filter(FILTERS[this.filter])
      .filter(({ id }) => words.every((word) => id.toLowerCase().includes(word)));
  }

  /** The id of the video before or after the open one, or undefined. */
  neighbour(direction) {
    const from = this.store.opening ?? this.store.confirmed?.id;
    const shown = new Set(this.shown);
    const videos = this.store.data.videos.filter((video) => shown.has(video) || video.id === from);
    const ids = videos.map((video) => video.id);
    const here = ids.indexOf(from);
    return here < 0 ? ids[0] : ids[here + direction];
  }

  update() {
    const { videos } = this.store.data;
    for (const button of this.root.querySelectorAll("[data-filter]")) {
      const { filter } = button.dataset;
      setAttribute(button, "aria-pressed", String(filter === this.filter));
      setText(button.querySelector(".count"), String(videos.filter(FILTERS[filter]).length));
    }
    const { shown } = this;
    const current = this.store.confirmed?.id;
    reconcile(this.list, shown, (video) => video.id, (video) => this.#create(video), (node, video) =>
      this.#update(node, video, video.id === current),
    );
    this.empty.hidden = shown.length > 0;
    setText(this.empty, videos.length ? EMPTY[this.search.value ? "all" : this.filter]
      : "No videos yet. Put them into the videos folder of the dataset and start hrpro label again.");
    if (current !== this.revealed) {
      this.revealed = current;
      this.list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
    }
  }

  #create({ id }) {
    const cut = id.lastIndexOf("/") + 1;
    return el("li", {}, el(
      "button",
      { type: "button", class: "video", title: id, onclick: () => this.open(id) },
      el("span", { class: "state", "aria-hidden": "true" }),
      el("span", { class: "name" }, el("span", { class: "folder" }, id.slice(0, cut)), id.slice(cut)),
      el("span", { class: "badge test", title: "Kept for testing, not for training" }, "test"),
      el("span", { class: "facts" }),
      el("span", { class: "unsure", title: "How unsure the model is" }, el("i")),
    ));
  }

  #update(node, video, isCurrent) {
    const button = node.firstElementChild;
    setAttribute(button, "aria-current", isCurrent && "true");
    button.classList.toggle("done", video.done);
    button.querySelector(".test").hidden = video.subset !== "test";
    setText(button.querySelector(".facts"), facts(video));
    const unsure = button.querySelector(".unsure");
    unsure.hidden = video.uncertainty === null || video.done;
    unsure.firstElementChild.style.width = percent(video.uncertainty ?? 0).replace(" ", "");
    unsure.title = `The model is ${percent(video.uncertainty ?? 0)} unsure`;
  }
}

function facts(video) {
  const length = video.duration_s ? clock(video.duration_s, 0) : "";
  const parts = [video.done ? "done" : "", length, plural(video.num_points, "point")];
  if (video.num_intervals) parts.push(plural(video.num_intervals, "interval"));
  if (video.num_open) parts.push(`${video.num_open} to review`);
  if (video.playback === "pending") parts.push(`preparing ${percent(video.progress ?? 0)}`);
  if (video.playback === "failed") parts.push("cannot be played");
  return parts.filter(Boolean).join(" · ");
}
