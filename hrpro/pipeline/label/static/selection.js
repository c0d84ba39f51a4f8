// The line under the player: what is selected and what can be done with it, for mouse and touch.

import { el, reconcile, setText } from "./web/dom.js";
import { moment, percent, plural, span } from "./web/format.js";

const BUTTONS = {
  point: [
    ["previousPoint", "Back", "⇧Tab"], ["nextPoint", "Next", "Tab"],
    ["nudgeBack", "Frame earlier", "["], ["nudgeOn", "Frame later", "]"], ["remove", "Delete", "Del"],
  ],
  open: [
    ["accept", "Accept", "↵"], ["reject", "Reject", "X"], ["setStart", "Starts now", "I"],
    ["setEnd", "Ends now", "O"], ["previousDetection", "Back", "P"], ["nextDetection", "Next", "N"],
  ],
  accepted: [["reject", "Reject", "X"], ["reopen", "Reopen", ""], ["nextDetection", "Next open", "N"]],
  rejected: [["accept", "Accept", "↵"], ["reopen", "Reopen", ""], ["nextDetection", "Next open", "N"]],
};

export class SelectionBar {
  /** @param run called with the name of a command; @param relabel with a class */
  constructor(root, store, run, relabel) {
    Object.assign(this, { store, run });
    this.text = root.querySelector(".what");
    this.buttons = root.querySelector(".buttons");
    this.label = root.querySelector("select");
    this.root = root;
    this.label.addEventListener("change", () => {
      relabel(this.label.value);
      this.label.blur();
    });
  }

  update(numOpen) {
    const { selected } = this.store;
    const { points } = this.store.video ?? { points: [] };
    this.label.hidden = !selected;
    this.root.classList.toggle("active", Boolean(selected));
    if (!selected) {
      setText(this.text, this.#hint(points.length, numOpen));
      this.#show(numOpen ? [["nextDetection", "Review", "N"]] : []);
      return;
    }
    this.root.style.setProperty("--color", this.store.colorOf(selected.label));
    const isPoint = selected.kind === "point";
    setText(this.text, isPoint ? `Point at ${moment(selected.time_s)}` : describe(selected));
    const names = this.store.data.classes.map((each) => each.name);
    const all = names.includes(selected.label) ? names : [...names, selected.label];
    reconcile(this.label, all, (name) => name, (name) => el("option", { value: name }, name), () => {});
    this.label.value = selected.label;
    this.#show(BUTTONS[isPoint ? "point" : selected.status]);
  }

  #hint(numPoints, numOpen) {
    if (!this.store.video) return "";
    if (numOpen) return `${plural(numOpen, "detection")} of the model to review.`;
    if (!numPoints) return "No points yet: play with Space and press a class key when it happens.";
    return `${plural(numPoints, "point")}. Click one, or press Tab, to change it.`;
  }

  #show(buttons) {
    reconcile(this.buttons, buttons, (button) => button.join(), ([name, text, key]) =>
      el("button", { type: "button", class: `small ${name}`, onclick: () => this.run(name) }, text,
        key ? el("kbd", { "aria-hidden": "true" }, key) : null), () => {});
  }
}

function describe({ status, score, start_s, end_s }) {
  const facts = [percent(score), span(start_s, end_s)];
  return (status === "open" ? facts : [status, ...facts]).join(" · ");
}
