// The dialog of the classes: names, order, keys, colours, descriptions; merge and delete.

import { el, reconcile, setText } from "./web/dom.js";
import { plural } from "./web/format.js";
import { classKey, keyCaps } from "./keys.js";

export class ClassEditor {
  constructor(dialog, store) {
    Object.assign(this, { dialog, store });
    this.list = dialog.querySelector("ul");
    this.error = dialog.querySelector("[role=alert]");
    this.edited = Promise.resolve(); // when the last edit was answered
    dialog.querySelector("[data-part=close]").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  open() {
    setText(this.error, "");
    this.update();
    this.dialog.showModal();
  }

  update() {
    const { classes } = this.store.data;
    reconcile(this.list, classes, (each) => each.name, (each) => this.#create(each), (row, each) =>
      this.#fill(row, each, classes),
    );
  }

  /** One edit after the other: a late answer must not wipe what was said of a later one. */
  #edit(edit) {
    this.edited = this.edited.then(async () => {
      setText(this.error, await this.store.editClasses(edit));
      this.update();
    });
    return this.edited;
  }

  #create({ name }) {
    const set = (values) => this.#edit({ type: "set", name, ...values });
    const control = (tag, part, label, attributes) =>
      el(tag, { "data-part": part, "aria-label": `${label} of ${name}`, ...attributes });
    const changed = (listener) => ({ onchange: (event) => listener(event.target.value) });
    const typed = (listener) => ({ ...changed(listener), onblur: () => this.edited.then(() => this.update()) });
    return el(
      "li",
      {},
      el(
        "span",
        { class: "order" },
        this.#mover(name, -1, "up"),
        this.#mover(name, 1, "down"),
      ),
      control("input", "color", "Colour", { type: "color", ...changed((color) => set({ color })) }),
      control("input", "name", "Name", { maxlength: 100, spellcheck: "false", ...typed((to) => this.#rename(name, to)) }),
      control("select", "key", "Key", changed((key) => set({ key }))),
      control("input", "description", "Description", {
        placeholder: "What counts as it?", ...typed((description) => set({ description })),
      }),
      control("select", "merge", "Merge", changed((into) => into && this.#merge(name, into))),
      el("button", { type: "button", class: "small remove", "aria-label": `Delete ${name}`, onclick: () => this.#delete(name) }, "Delete"),
    );
  }

  #mover(name, direction, where) {
    return el(
      "button",
      { type: "button", class: "quiet", "data-part": where, "aria-label": `Move ${name} ${where}`, onclick: () => this.#move(name, direction) },
      direction < 0 ? "↑" : "↓",
    );
  }

  #fill(row, each, classes) {
    const part = (name) => row.querySelector(`[data-part=${name}]`);
    const put = (name, value) => (part(name).value = value);
    const putUnlessTyping = (name, value) => document.activeElement !== part(name) && put(name, value);
    put("color", each.color);
    putUnlessTyping("name", each.name);
    putUnlessTyping("description", each.description);
    const keys = [...this.store.data.class_keys];
    const option = ([value, text]) => el("option", { value }, text);
    const shown = keys.map((key) => [key, keyCaps(classKey(key)).join("+")]);
    part("key").replaceChildren(...[["", "no key"], ...shown].map(option));
    put("key", each.key ?? "");
    const others = classes.filter((other) => other !== each).map(({ name }) => [name, `into ${name}`]);
    part("merge").replaceChildren(...[["", "merge…"], ...others].map(option));
    part("up").disabled = each === classes[0];
    part("down").disabled = each === classes.at(-1);
    row.querySelector(".remove").title = plural(each.num_labels, "label");
  }

  #rename(name, to) {
    if (to.trim() === name) return this.update();
    return this.#edit({ type: "rename", name, to });
  }

  #move(name, direction) {
    const names = this.store.data.classes.map((each) => each.name);
    const at = names.indexOf(name);
    names.splice(at + direction, 0, ...names.splice(at, 1));
    return this.#edit({ type: "order", names });
  }

  #merge(name, into) {
    const { num_labels } = this.#of(name);
    const sure = confirm(`Make “${name}” (${plural(num_labels, "label")}) a part of “${into}”?`);
    return sure ? this.#edit({ type: "merge", names: [name], into }) : this.update();
  }

  #delete(name) {
    const { num_labels } = this.#of(name);
    const labels = num_labels ? ` and its ${plural(num_labels, "label")}, in all videos` : "";
    if (!confirm(`Delete “${name}”${labels}?`)) return null;
    return this.#edit({ type: "delete", name, with_labels: num_labels > 0 });
  }

  #of(name) {
    return this.store.data.classes.find((each) => each.name === name);
  }
}
