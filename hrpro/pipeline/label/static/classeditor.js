// The dialog of the classes: names, order, keys, colours, descriptions; merge and delete.

import { el, reconcile, setAttribute, setText } from "./web/dom.js";
import { plural } from "./web/format.js";
import { classKey, keyCaps } from "./keys.js";

const LABELS = { color: "Colour", name: "Name", key: "Key", description: "Description", merge: "Merge" };

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
    reconcile(this.list, classes, (each) => each.name, () => this.#create(), (row, each) =>
      this.#fill(row, each, classes),
    );
  }

  /**
   * One edit after the other: a late answer must not wipe what was said of a later one.
   * @param make returns the edit for the name that the class of the row has by then, or null
   */
  #edit(row, make) {
    this.edited = this.edited.then(async () => {
      const edit = make(row.dataset.key);
      if (!edit) return this.update();
      setText(this.error, await this.store.editClasses(edit));
      this.#follow(row, edit);
      return this.update();
    });
  }

  /** The row of a class stays under its new name: the next thing may be being typed in it. */
  #follow(row, { type, name, to }) {
    const names = this.store.data.classes.map((each) => each.name);
    if (type === "rename" && names.includes(to) && !names.includes(name)) row.dataset.key = to;
  }

  #create() {
    const row = el("li");
    const control = (tag, part, attributes) => el(tag, {
      "data-part": part, ...attributes,
      onblur: () => this.edited.then(() => this.update()),
    });
    const set = (part) => ({
      onchange: (event) => {
        const { value } = event.target;
        this.#edit(row, (name) => ({ type: "set", name, [part]: value }));
      },
    });
    row.append(
      el("span", { class: "order" }, this.#mover(row, -1, "up"), this.#mover(row, 1, "down")),
      control("input", "color", { type: "color", ...set("color") }),
      control("input", "name", { maxlength: 100, spellcheck: "false", onchange: (event) => this.#rename(row, event.target.value.trim()) }),
      control("select", "key", set("key")),
      control("input", "description", { placeholder: "What counts as it?", ...set("description") }),
      control("select", "merge", { onchange: (event) => this.#merge(row, event.target) }),
      el("button", { type: "button", class: "small remove", onclick: () => this.#delete(row) }, "Delete"),
    );
    return row;
  }

  #mover(row, direction, where) {
    return el(
      "button",
      { type: "button", class: "quiet", "data-part": where, onclick: () => this.#move(row, direction) },
      direction < 0 ? "↑" : "↓",
    );
  }

  /** What has the focus is left alone: somebody types there, or has the menu open. */
  #fill(row, each, classes) {
    const { name } = each;
    const part = (of) => row.querySelector(`[data-part=${of}]`);
    for (const [of, label] of Object.entries(LABELS)) setAttribute(part(of), "aria-label", `${label} of ${name}`);
    for (const where of ["up", "down"]) setAttribute(part(where), "aria-label", `Move ${name} ${where}`);
    const keys = [...this.store.data.class_keys].map((key) => [key, keyCaps(classKey(key)).join("+")]);
    offer(part("key"), [["", "no key"], ...keys]);
    const others = classes.filter((other) => other !== each).map((other) => [other.name, `into ${other.name}`]);
    offer(part("merge"), [["", "merge…"], ...others]);
    const values = { color: each.color, name, key: each.key ?? "", description: each.description, merge: "" };
    for (const [of, value] of Object.entries(values))
      if (part(of) !== document.activeElement) part(of).value = value;
    part("up").disabled = each === classes[0];
    part("down").disabled = each === classes.at(-1);
    const remove = row.querySelector(".remove");
    setAttribute(remove, "aria-label", `Delete ${name}`);
    remove.title = plural(each.num_labels, "label");
  }

  #rename(row, to) {
    this.#edit(row, (name) => (to === name ? null : { type: "rename", name, to }));
  }

  #move(row, direction) {
    this.#edit(row, (name) => {
      const names = this.store.data.classes.map((each) => each.name);
      const at = names.indexOf(name);
      names.splice(at + direction, 0, ...names.splice(at, 1));
      return { type: "order", names };
    });
  }

  #merge(row, menu) {
    const into = menu.value;
    menu.value = "";
    if (!into) return;
    const { name, num_labels } = this.#of(row);
    if (confirm(`Make “${name}” (${plural(num_labels, "label")}) a part of “${into}”?`))
      this.#edit(row, (now) => ({ type: "merge", names: [now], into }));
  }

  #delete(row) {
    const { name, num_labels } = this.#of(row);
    const labels = num_labels ? ` and its ${plural(num_labels, "label")}, in all videos` : "";
    if (confirm(`Delete “${name}”${labels}?`))
      this.#edit(row, (now) => ({ type: "delete", name: now, with_labels: num_labels > 0 }));
  }

  #of(row) {
    const name = row.dataset.key;
    return this.store.data.classes.find((each) => each.name === name) ?? { name, num_labels: 0 };
  }
}

/** Fill a menu with `[value, text]`. */
function offer(menu, entries) {
  reconcile(menu, entries, ([value]) => value, ([value]) => el("option", { value }), (option, [, text]) =>
    setText(option, text));
}
