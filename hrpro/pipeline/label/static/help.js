// The help page: three steps and every key.

import { el } from "./web/dom.js";
import { COMMANDS, classKey, keyCaps } from "./keys.js";

const SEEN = "hrpro.label.help-seen";

export class Help {
  constructor(dialog, store) {
    this.dialog = dialog;
    this.store = store;
    this.tables = dialog.querySelector(".key-tables");
    dialog.querySelector("button").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.open || document.activeElement?.blur());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  /** Show it by itself to somebody who is here for the first time. */
  welcome() {
    if (localStorage.getItem(SEEN)) return;
    localStorage.setItem(SEEN, "yes");
    this.toggle();
  }

  toggle() {
    if (this.dialog.open) return this.dialog.close();
    this.#fill();
    return this.dialog.showModal();
  }

  #fill() {
    const rows = (commands) => commands.map(({ keys, help }) => row(keys, help));
    const withModel = this.store.data.model !== null;
    const commands = COMMANDS.filter(
      ({ group, needs }) =>
        (withModel || group !== "Detections") && (!needs || this.store.data[needs].length),
    );
    const groups = Object.entries(groupBy(commands));
    this.dialog.querySelector("[data-part=with-model]").hidden = !withModel;
    const classes = this.store.data.classes.filter((each) => each.key);
    this.tables.replaceChildren(
      section("Classes", classes.map((each) => row([classKey(each.key)], each.name))),
      ...groups.map(([name, commands]) => section(name, rows(commands))),
    );
  }
}

function groupBy(commands) {
  const groups = {};
  for (const command of commands) (groups[command.group] ??= []).push(command);
  return groups;
}

function section(title, rows) {
  const note = rows.length ? null : el("p", {}, "No classes yet.");
  return el("section", {}, el("h3", {}, title), note, el("dl", {}, ...rows));
}

function row(keys, help) {
  const caps = keys.flatMap((key, index) => [
    index ? " or " : "",
    ...keyCaps(key).map((cap) => el("kbd", {}, cap)),
  ]);
  return el("div", {}, el("dt", {}, ...caps), el("dd", {}, help));
}
