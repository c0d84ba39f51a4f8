// Ticking which actions a video shows, not when: a key per class, Enter for the next video.

import { classKey, keyCaps, keyName } from "./keys.js";
import { inkOn } from "./ink.js";
import { el, reconcile, setAttribute, setText } from "./web/dom.js";

const REMEMBERED = "hrpro.label.ticking";

/** The classes that are listed for a video; those of its points and intervals, where none is. */
function shownIn(video) {
  const { points, intervals = [] } = video;
  return video.shown ?? [...new Set([...points, ...intervals].map((each) => each.label))];
}

/** A video after a class was ticked, or its list was finished. */
export function ticked(video, action) {
  const shown = shownIn(video);
  if (action.type === "listed") return { ...video, shown, done: true };
  const others = shown.filter((label) => label !== action.label);
  return { ...video, shown: action.shown ? [...others, action.label] : others };
}

/** What differs between the lists of two versions of a video, in words; null if nothing does. */
export function tickDifference(before, after) {
  const [old, now] = [shownIn(before), shownIn(after)];
  const added = now.find((label) => !old.includes(label));
  const gone = old.find((label) => !now.includes(label));
  if (added) return `the video shows “${added}”`;
  if (gone) return `the video does not show “${gone}”`;
  return null;
}

export class TickPanel {
  /** @param on `say(text)`, `next()` opens the next video, `changed()` draws everything */
  constructor(root, button, store, on) {
    Object.assign(this, { root, button, store, on });
    this.list = root.querySelector("ul");
    root.querySelector("[data-part=finish]").addEventListener("click", () => this.finish());
    this.ticking = localStorage.getItem(REMEMBERED) !== null;
  }

  /** Begin to tick, or go back to points. */
  toggle() {
    this.ticking = !this.ticking;
    if (this.ticking) localStorage.setItem(REMEMBERED, "yes");
    else localStorage.removeItem(REMEMBERED);
    this.on.say(this.ticking
      ? "The keys of the classes say now what the video shows. Esc: set points again"
      : "The keys of the classes set points again.");
    this.on.changed();
  }

  update() {
    const { data, video } = this.store;
    setAttribute(this.button, "aria-pressed", String(this.ticking));
    this.root.hidden = !this.ticking || !video;
    if (this.root.hidden) return;
    const shown = shownIn(video);
    reconcile(this.list, data.classes, (each) => each.name, (each) => this.#create(each), (node, each) => {
      const box = node.firstElementChild;
      box.style.setProperty("--color", each.color);
      box.style.setProperty("--ink", inkOn(each.color));
      setAttribute(box, "aria-checked", String(shown.includes(each.name)));
      setText(box.querySelector("kbd"), each.key ? keyCaps(classKey(each.key)).join("+") : "");
    });
    setText(this.root.querySelector("[data-part=listed]"), listed(video, shown));
  }

  /** Take a key press; false if it is not for this. */
  press(event) {
    if (!this.ticking || !this.store.video) return false;
    const key = keyName(event);
    const found = this.store.data.classes.find((each) => each.key && classKey(each.key) === key);
    if (key === "Escape") this.toggle();
    else if (this.store.opening) return false; // neither for this video nor yet for the next
    else if (found) this.tick(found.name);
    else if (key === "Enter") this.finish();
    else return false;
    return true;
  }

  tick(label) {
    const shown = !shownIn(this.store.video).includes(label);
    this.store.act({ type: "tick", label, shown });
    this.on.say(`${shown ? "shows" : "does not show"} “${label}” (Z: undo)`);
  }

  /** That is all the video shows. */
  finish() {
    if (this.store.opening) return; // clicked twice
    const { video } = this.store;
    const shown = shownIn(video);
    this.store.act({ type: "listed" });
    this.on.say(`${video.id}: ${shown.length ? shown.join(", ") : "none of the actions"}`);
    this.on.next();
  }

  #create({ name }) {
    return el("li", {}, el(
      "button",
      { type: "button", role: "checkbox", class: "tick", onclick: () => this.tick(name) },
      el("kbd"),
      el("span", { class: "name" }, name),
    ));
  }
}

function listed(video, shown) {
  if (video.shown) return shown.length ? "" : "None of them, as it is listed.";
  return shown.length ? "As its points say; Enter lists it so." : "Not listed yet. Enter without a tick: none of them.";
}
