// The line under the player: what is selected and what can be done with it, for mouse and touch.

import { el, reconcile, setText } from "./web/dom.js";
import { kindOf } from "./kinds.js";
import { subjectKeys } from "./subjects.js";
import { moment, percent, plural, span } from "./web/format.js";

const BUTTONS = {
  point: [
    ["previousMark", "Back", "⇧Tab"], ["nextMark", "Next", "Tab"],
    ["nudgeBack", "Frame earlier", "["], ["nudgeOn", "Frame later", "]"], ["remove", "Delete", "Del"],
  ],
  interval: [
    ["remove", "Delete", "Del"], ["setStart", "Starts now", "I"], ["setEnd", "Ends now", "O"],
    ["nudgeBack", "Earlier", "["], ["nudgeOn", "Later", "]"], ["nextMark", "Next", "Tab"],
  ],
  open: [
    ["accept", "Accept", "↵"], ["reject", "Reject", "X"], ["setStart", "Starts now", "I"],
    ["setEnd", "Ends now", "O"], ["previousDetection", "Back", "P"], ["nextDetection", "Next", "N"],
  ],
  accepted: [["reject", "Reject", "X"], ["reopen", "Reopen", ""], ["nextDetection", "Next open", "N"]],
  rejected: [["accept", "Accept", "↵"], ["reopen", "Reopen", ""], ["nextDetection", "Next open", "N"]],
};

export class SelectionBar {
  /** @param run called with the name of a command */
  constructor(root, store, { question, relabel }, run) {
    Object.assign(this, { store, question, run });
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
    const asking = this.question.open;
    this.label.hidden = !selected || asking;
    this.root.classList.toggle("active", Boolean(selected));
    if (asking) {
      setText(this.text, "Who did it?");
      this.#show(this.#answers());
      return;
    }
    if (!selected) {
      setText(this.text, this.#hint(numOpen));
      this.#show([...this.#beginnings(), ...(numOpen ? [["nextDetection", "Review", "N"]] : [])]);
      return;
    }
    this.root.style.setProperty("--color", this.store.colorOf(selected.label));
    setText(this.text, [whatOf(selected), howOf(selected)].filter(Boolean).join(" · "));
    const names = this.store.data.classes.map((each) => each.name);
    const all = names.includes(selected.label) ? names : [...names, selected.label];
    reconcile(this.label, all, (name) => name, (name) => el("option", { value: name }, name), () => {});
    if (this.label.value !== selected.label) this.label.value = selected.label; // it may be open
    const who = this.store.data.subjects.length ? [["who", "Who?", "#"]] : [];
    const buttons = BUTTONS[selected.kind === "detection" ? selected.status : selected.kind];
    this.#show([...who, ...buttons]);
  }

  #hint(numOpen) {
    const { video } = this.store;
    if (!video) return "";
    if (numOpen) return `${plural(numOpen, "detection")} of the model to review.`;
    const { points, intervals } = video;
    if (!points.length && !intervals.length)
      return "No points yet: play with Space and press a class key when it happens.";
    const marked = intervals.length ? `, ${plural(intervals.length, "interval")}` : "";
    return `${plural(points.length, "point")}${marked}. Click one, or press Tab, to change it.`;
  }

  /** An action starts or ends now: for fingers, which hold no keys. */
  #beginnings() {
    const { video, data } = this.store;
    if (!video || data.no_marks || !data.classes.length) return [];
    return [["setStart", "Starts now", "I"], ["setEnd", "Ends now", "O"]];
  }

  #answers() {
    const answer = (subject) => () => {
      this.question.answer(subject);
      this.run("redraw");
    };
    const subjects = subjectKeys(this.store.data.subjects);
    return [
      ...subjects.map(({ name, key }) => ["subject", name, key?.toUpperCase() ?? "", answer(name)]),
      ["nobody", "nobody", "Esc", answer(null)],
    ];
  }

  /** @param buttons rows of a command, its text, its key, and what else a click does */
  #show(buttons) {
    reconcile(this.buttons, buttons, (button) => button.slice(0, 3).join(), ([name, text, key, action]) =>
      el(
        "button",
        { type: "button", class: `small ${name}`, onclick: action ?? (() => this.run(name)) },
        text,
        key ? el("kbd", { "aria-hidden": "true" }, key) : null,
      ), () => {});
  }
}

function whatOf(item) {
  const kind = kindOf(item);
  if (kind === "point") return `Point at ${moment(item.time_s)}`;
  if (kind === "interval") return `${span(item.start_s, item.end_s)} · ${(item.end_s - item.start_s).toFixed(2)} s`;
  const facts = [percent(item.score), span(item.start_s, item.end_s)];
  return (item.status === "open" ? facts : [item.status, ...facts]).join(" · ");
}

/** Who does it and how. */
function howOf({ subject, modifiers }) {
  return [subject, ...(modifiers ?? [])].filter(Boolean).join(", ");
}
