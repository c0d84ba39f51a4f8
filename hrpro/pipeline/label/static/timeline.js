// The timeline: one lane per class with its points and detections, below the whole video in small.

import { drag } from "./drag.js";
import { el, reconcile, setAttribute, setText } from "./web/dom.js";
import { clamp, clock } from "./web/format.js";
import { inkOn } from "./ink.js";
import { keySign } from "./keys.js";
import { describe, endOf, kindOf, startOf } from "./kinds.js";
import { TimeScale } from "./timescale.js";

const MANY_CLASSES = 8;
const SCORE_WIDTH_PX = 34; // a band this wide has room for its score
const STATUS_WIDTH_PX = 14; // and this much more for a mark before it
const MARK_WIDTH_PX = 17; // points nearer to each other than this are drawn as lines
const WHEEL_ZOOM = 1.0015;
const STATUS_MARK = { open: "", accepted: "✓ ", rejected: "✕ " };

export class Timeline {
  /**
   * @param on `seek(s)`, `select(kind, id)`, `movePoint(point, s)`, `retime(item, start_s, end_s)`:
   *   what the mouse or a finger asks for; `unfinished()`: intervals that have not ended yet
   */
  constructor(root, store, player, on) {
    Object.assign(this, { root, store, player, on, scale: new TimeScale(), minScore: 0 });
    this.preview = null; // {id, time_s} or {id, start_s, end_s} while something is dragged
    this.find = (name) => root.querySelector(`[data-part=${name}]`);
    this.parts = Object.fromEntries(
      ["overview", "window", "marks", "ticks", "lanes", "tip", "heads"].map((name) => [name, this.find(name)]),
    );
    this.playheads = root.querySelectorAll(".playhead");
    this.#listen();
    new ResizeObserver(() => this.update()).observe(root);
  }

  open(duration) {
    this.scale.reset(duration);
    this.preview = null;
    this.update();
  }

  zoom(factor) {
    this.scale.zoom(factor, this.player.time);
    this.update();
  }

  fit() {
    this.scale.fit();
    this.update();
  }

  reveal(start, end) {
    this.scale.reveal(start, end);
    this.update();
  }

  /** Detections that are not hidden by the score limit. */
  get detections() {
    return (this.store.video?.detections ?? []).filter(
      (each) => each.score >= this.minScore || each.status === "accepted",
    );
  }

  /** Draw everything anew. */
  update() {
    const video = this.store.video;
    this.root.classList.toggle("empty", !video);
    if (!video) return;
    const dragged = this.store.nameOf(this.preview?.id); // which may have got its name meanwhile
    const shown = (item) => (item.id === dragged ? { ...item, ...this.preview, id: dragged } : item);
    this.points = video.points.map(shown);
    this.unfinished = this.on.unfinished();
    this.intervals = [...video.intervals.map(shown), ...this.unfinished];
    this.bands = this.detections.map(shown);
    this.#drawOverview();
    this.#drawTicks();
    this.#drawLanes();
    this.moveTo(this.player.time);
  }

  /** Let what has not ended yet grow with the time. */
  drawUnfinished() {
    if (this.unfinished?.length || this.on.unfinished().length) this.update();
  }

  /** Move the playhead only. */
  moveTo(time) {
    if (this.player.playing && !this.preview) {
      const before = this.scale.start;
      this.scale.follow(time);
      if (before !== this.scale.start) this.update();
    }
    const { duration } = this.scale;
    const [whole, view] = this.playheads;
    whole.style.left = `${(100 * time) / (duration || 1)}%`;
    view.style.left = `${100 * this.scale.share(time)}%`;
    view.hidden = time < this.scale.start - 1e-3 || time > this.scale.end + 1e-3;
  }

  #drawOverview() {
    const { start, length, duration } = this.scale;
    const share = (seconds) => `${(100 * seconds) / (duration || 1)}%`;
    this.parts.window.style.left = share(start);
    this.parts.window.style.width = share(length);
    this.parts.window.hidden = this.scale.whole;
    const bands = this.bands.filter((band) => band.status !== "rejected");
    const marks = [...bands, ...this.intervals, ...this.points];
    reconcile(this.parts.marks, marks, (mark) => mark.id, () => el("i"), (node, mark) => {
      const isPoint = kindOf(mark) === "point";
      node.className = isPoint ? "mark-point" : `mark-band ${kindOf(mark)}`;
      node.style.left = share(startOf(mark));
      node.style.width = isPoint ? "" : share(mark.end_s - mark.start_s);
      node.style.setProperty("--color", this.store.colorOf(mark.label));
    });
  }

  #drawTicks() {
    const { times, decimals } = this.scale.ticks(this.parts.ticks.clientWidth);
    reconcile(this.parts.ticks, times, (time) => time.toFixed(3), () => el("span"), (node, time) => {
      setText(node, clock(time, decimals));
      node.style.left = `${100 * this.scale.share(time)}%`;
    });
  }

  /** All classes where there are few; of many those that this video has. */
  #lanes() {
    const { classes } = this.store.data;
    const used = new Set(this.#items.map((item) => item.label));
    const known = new Set(classes.map((each) => each.name));
    const strangers = [...used].filter((label) => !known.has(label)).sort();
    const lanes = classes.length <= MANY_CLASSES ? classes : classes.filter((each) => used.has(each.name));
    return [...lanes, ...strangers.map((name) => ({ name, color: this.store.colorOf(name) }))];
  }

  get #items() {
    return [...this.bands, ...this.intervals, ...this.points];
  }

  #drawLanes() {
    const lanes = this.#lanes();
    const byName = (lane) => lane.name;
    reconcile(this.parts.heads, lanes, byName, () => el("div", { class: "lane-head" }), (node, lane) => {
      setText(node, lane.name);
      node.title = lane.name;
      node.style.setProperty("--color", lane.color);
    });
    const rows = [...lanes];
    this.width = this.parts.lanes.clientWidth; // once: reading it between changes is slow
    reconcile(this.parts.lanes, rows, byName, () => el("div", { class: "lane" }), (node, lane) => {
      node.style.setProperty("--color", lane.color);
      node.style.setProperty("--ink", inkOn(lane.color));
      const inLane = (item) => item.label === lane.name && this.#inView(item);
      const items = this.#items.filter(inLane);
      const times = items.filter((item) => kindOf(item) === "point").map(startOf).sort((a, b) => a - b);
      reconcile(node, items, (item) => item.id, newItem, (child, item) =>
        this.#drawItem(child, item, lane, times));
    });
    this.root.classList.toggle("no-lanes", !lanes.length);
  }

  #inView(item) {
    const { start, end, length } = this.scale;
    const margin = 0.02 * length; // a marker is wider than its moment
    return endOf(item) > start - margin && startOf(item) < end + margin;
  }

  /** @param times of the points in the same lane, in order */
  #drawItem(node, item, lane, times) {
    const selected = this.store.selection?.id === item.id;
    const kind = kindOf(item);
    const looks = {
      point: () => `point${this.#isCrowded(item, times) ? " crowded" : ""}`,
      interval: () => `interval${item.growing ? " growing" : ""}`,
      detection: () => `band ${item.status}${this.#isMarked(item) ? " marked" : ""}`,
    };
    node.className = `item ${looks[kind]()}${selected ? " selected" : ""}`;
    setAttribute(node, "aria-pressed", String(selected));
    setAttribute(node, "aria-label", describe(item));
    const [from, to] = [this.scale.share(startOf(item)), this.scale.share(endOf(item))];
    node.style.left = `${100 * from}%`;
    if (kind === "point") {
      setText(node.firstElementChild, keySign(lane.key));
      return;
    }
    node.style.width = `${100 * (to - from)}%`;
    if (kind === "interval") return;
    node.style.setProperty("--strength", 0.25 + 0.6 * clamp(item.score, 0, 1));
    const mark = times.find((time) => time >= item.start_s && time <= item.end_s);
    const free = this.#pixels((mark ?? item.end_s) - item.start_s) - (mark === undefined ? 0 : MARK_WIDTH_PX / 2);
    const score = free > SCORE_WIDTH_PX ? item.score.toFixed(2) : "";
    const status = free > SCORE_WIDTH_PX + STATUS_WIDTH_PX ? STATUS_MARK[item.status] : "";
    setText(node.firstElementChild, status + score);
  }

  /** Whether an interval of its class lies over a detection. */
  #isMarked({ label, start_s, end_s }) {
    return this.intervals.some(
      (each) => each.label === label && each.start_s < end_s && each.end_s > start_s,
    );
  }

  #pixels(seconds) {
    return (seconds / this.scale.length) * this.width;
  }

  /** Whether a neighbour in the lane is so near that their marks would cover each other. */
  #isCrowded({ time_s }, times) {
    const at = times.indexOf(time_s);
    const gaps = [time_s - times[at - 1], times[at + 1] - time_s]; // NaN where there is none
    return gaps.some((gap) => this.#pixels(gap) < MARK_WIDTH_PX);
  }

  #listen() {
    const { lanes, overview, ticks, tip } = this.parts;
    drag(lanes, (event) => this.#grab(event));
    drag(ticks, () => this.#scrub(ticks));
    drag(overview, () => ({
      move: (moved) => {
        const time = this.#timeOn(overview, moved, 0, this.scale.duration);
        this.scale.center(time);
        this.on.seek(time);
        this.update();
      },
      start: true,
    }));
    lanes.addEventListener("click", (event) => {
      if (event.detail === 0) this.#press(event.target.closest(".item")); // a screen reader's click
    });
    this.root.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    for (const part of [lanes, ticks, overview]) {
      part.addEventListener("pointermove", (event) => this.#hover(part, event));
      part.addEventListener("pointerleave", () => (tip.hidden = true));
    }
  }

  #timeOn(part, event, start = this.scale.start, end = this.scale.end) {
    const box = part.getBoundingClientRect();
    return clamp(start + ((event.clientX - box.left) / box.width) * (end - start), 0, this.scale.duration);
  }

  /** Pressing on a lane: a point, an edge or an interval is dragged, anything else is a seek. */
  #grab(event) {
    const item = this.#press(event.target.closest(".item"));
    if (!item) return this.#scrub(this.parts.lanes);
    if (kindOf(item) === "point") return this.#dragging(item, event, (time) => ({ time_s: time }));
    const { frames } = this.player;
    const edge = event.target.dataset.edge;
    if (!edge && kindOf(item) === "interval")
      return this.#dragging(item, event, (time) => frames.moved(item, time));
    if (!edge) return this.#scrubOnMove();
    const limits = {
      start_s: (time) => Math.min(time, item.end_s - frames.length(item.end_s)),
      end_s: (time) => Math.max(time, item.start_s + frames.length(item.start_s)),
    };
    return this.#dragging(item, event, (time) => ({ [edge]: limits[edge](time) }));
  }

  /** Select the point, interval or detection of an element and return it. */
  #press(node) {
    const item = node && this.#itemOf(node);
    if (!item || item.growing) return null;
    this.on.select(kindOf(item), item.id);
    return item;
  }

  #itemOf(node) {
    return this.#items.find((each) => each.id === node.dataset.key);
  }

  #scrub(part) {
    return { start: true, move: (event) => this.on.seek(this.#timeOn(part, event)) };
  }

  #scrubOnMove() {
    return { move: (event) => this.on.seek(this.#timeOn(this.parts.lanes, event)) };
  }

  #dragging(item, first, changed) {
    const { frames } = this.player;
    const old = item[first.target.dataset.edge] ?? startOf(item);
    const offset = old - this.#timeOn(this.parts.lanes, first);
    return {
      move: (event) => {
        const wished = clamp(this.#timeOn(this.parts.lanes, event) + offset, 0, this.scale.duration);
        const time = frames.middle(frames.at(wished));
        this.preview = { id: item.id, ...changed(time) };
        this.on.seek(startOf(this.preview) ?? this.preview.end_s);
        this.update();
      },
      end: () => {
        const { preview } = this;
        this.preview = null;
        if (!preview) return;
        if (preview.time_s !== undefined) this.on.movePoint(item, preview.time_s);
        else this.on.retime(item, preview.start_s ?? item.start_s, preview.end_s ?? item.end_s);
      },
      cancel: () => {
        this.preview = null;
        this.update();
      },
    };
  }

  #wheel(event) {
    const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    const scrolls = this.parts.lanes.parentElement;
    if (!sideways && !event.ctrlKey && scrolls.scrollHeight > scrolls.clientHeight + 1) return;
    event.preventDefault();
    const delta = event.deltaX || event.deltaY;
    if (sideways) this.scale.pan((delta / this.parts.lanes.clientWidth) * this.scale.length);
    else this.scale.zoom(WHEEL_ZOOM ** -event.deltaY, this.#timeOn(this.parts.lanes, event));
    this.update();
  }

  #hover(part, event) {
    const { tip, overview } = this.parts;
    if (event.pointerType === "touch" && !this.preview) return;
    const limits = part === overview ? [0, this.scale.duration] : [];
    const time = this.#timeOn(part, event, ...limits);
    const node = event.target.closest(".item");
    const item = node && this.#itemOf(node);
    const at = item?.time_s ?? time;
    setText(tip, `${clock(at)}${item ? ` · ${describe(item)}` : ""}`);
    const box = this.root.getBoundingClientRect();
    tip.hidden = false;
    const half = tip.offsetWidth / 2;
    tip.style.left = `${clamp(event.clientX - box.left, half, Math.max(half, box.width - half))}px`;
    tip.style.top = `${part.getBoundingClientRect().top - box.top}px`;
  }
}

function newItem(item) {
  const isPoint = kindOf(item) === "point";
  const edge = (name) => el("i", { class: `edge ${name}`, "data-edge": name });
  return el(
    "button",
    { type: "button", tabindex: -1 },
    el("span"),
    ...(isPoint ? [] : [edge("start_s"), edge("end_s")]),
  );
}
