// The panel of classes: their keys, colours and counts, and the settings of labelling.

import { el, reconcile, setText } from "./web/dom.js";
import { inkOn } from "./ink.js";
import { classKey, keyCaps } from "./keys.js";

export class ClassPanel {
  /** @param on `choose(label)`, `add(name)`, `reaction(seconds)`, `limit(score)` */
  constructor(root, store, on) {
    Object.assign(this, { root, store, on });
    this.list = root.querySelector("ul");
    this.empty = root.querySelector(".empty-note");
    this.reaction = root.querySelector("[name=reaction]");
    this.limit = root.querySelector("[name=limit]");
    this.#listen();
  }

  update() {
    const { classes, reaction_s } = this.store.data;
    const { points = [], intervals = [] } = this.store.video ?? {};
    const counts = new Map();
    for (const { label } of actionsOf(points, intervals)) counts.set(label, (counts.get(label) ?? 0) + 1);
    reconcile(this.list, classes, (each) => each.name, (each) => this.#create(each), (node, each) => {
      const button = node.firstElementChild;
      button.style.setProperty("--color", each.color);
      button.style.setProperty("--ink", inkOn(each.color));
      button.title = each.description || `“${each.name}”: a point now, or what is selected`;
      button.classList.toggle("current", each.name === this.store.currentClass);
      setText(button.querySelector("kbd"), each.key ? keyCaps(classKey(each.key)).join("+") : "");
      setText(button.querySelector(".count"), String(counts.get(each.name) ?? 0));
    });
    this.empty.hidden = classes.length > 0;
    if (document.activeElement !== this.reaction) this.reaction.value = reaction_s;
    this.root.querySelector(".limit").hidden = !this.store.video?.detections.length;
  }

  /** Light up a class for a moment: the key press was heard. */
  flash(label) {
    const node = [...this.list.children].find((each) => each.dataset.key === label);
    const color = node && getComputedStyle(node.firstElementChild).getPropertyValue("--color");
    node?.firstElementChild.animate([{ backgroundColor: color }, {}], { duration: 450 });
  }

  #create({ name }) {
    return el("li", {}, el(
      "button",
      { type: "button", class: "class", onclick: () => this.on.choose(name) },
      el("kbd"),
      el("span", { class: "name" }, name),
      el("span", { class: "count", title: "Points and intervals in this video" }),
    ));
  }

  #listen() {
    const form = this.root.querySelector("form");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const input = form.elements.name;
      const name = input.value.trim();
      if (!name) return;
      input.value = "";
      const added = await this.on.add(name);
      if (input.value) return; // the next one is being typed
      if (added) input.blur(); // the next key is a class key again
      else input.value = name;
    });
    this.reaction.addEventListener("change", () => {
      const seconds = this.reaction.valueAsNumber;
      if (this.reaction.checkValidity() && Number.isFinite(seconds)) this.on.reaction(seconds);
      else this.reaction.reportValidity();
    });
    this.reaction.addEventListener("keydown", (event) => event.key === "Enter" && this.reaction.blur());
    this.limit.addEventListener("input", () => {
      setText(this.root.querySelector("output"), this.limit.valueAsNumber.toFixed(2));
      this.on.limit(this.limit.valueAsNumber);
    });
  }
}

/** What counts: the points, and the intervals that have none within. */
function actionsOf(points, intervals) {
  const pointed = ({ label, start_s, end_s }) =>
    points.some((point) => point.label === label && start_s <= point.time_s && point.time_s <= end_s);
  return [...points, ...intervals.filter((interval) => !pointed(interval))];
}
