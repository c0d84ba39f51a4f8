// From key presses to commands. Characters count, not places on the keyboard, so that the keys
// are where their letters are; scripts without Latin letters fall back to the places.

/** Every command with its keys, in the order of the help page. */
export const COMMANDS = [
  { group: "Play", name: "toggle", keys: [" "], help: "play, pause" },
  { group: "Play", name: "stepBack", keys: ["ArrowLeft"], repeats: true, help: "one frame back" },
  { group: "Play", name: "stepOn", keys: ["ArrowRight"], repeats: true, help: "one frame on" },
  { group: "Play", name: "jumpBack", keys: ["Shift+ArrowLeft"], repeats: true, help: "one second back" },
  { group: "Play", name: "jumpOn", keys: ["Shift+ArrowRight"], repeats: true, help: "one second on" },
  { group: "Play", name: "leapBack", keys: ["Ctrl+ArrowLeft"], repeats: true, help: "ten seconds back" },
  { group: "Play", name: "leapOn", keys: ["Ctrl+ArrowRight"], repeats: true, help: "ten seconds on" },
  { group: "Play", name: "minuteBack", keys: ["Ctrl+Shift+ArrowLeft"], repeats: true, help: "a minute back" },
  { group: "Play", name: "minuteOn", keys: ["Ctrl+Shift+ArrowRight"], repeats: true, help: "a minute on" },
  { group: "Play", name: "toStart", keys: ["Home"], help: "to the start" },
  { group: "Play", name: "toEnd", keys: ["End"], help: "to the end" },
  { group: "Play", name: "goTo", keys: ["Ctrl+g"], help: "go to a time" },
  { group: "Play", name: "backwards", keys: ["j"], help: "play backwards; again: faster" },
  { group: "Play", name: "stop", keys: ["k"], help: "stop" },
  { group: "Play", name: "forwards", keys: ["l"], help: "play; again: faster" },
  { group: "Play", name: "slower", keys: [","], help: "slower" },
  { group: "Play", name: "faster", keys: ["."], help: "faster" },
  { group: "Play", name: "normalSpeed", keys: ["/"], help: "normal speed" },
  { group: "Labels", name: "nextMark", keys: ["Tab"], repeats: true, help: "next point or interval, round and round" },
  { group: "Labels", name: "previousMark", keys: ["Shift+Tab"], repeats: true, help: "previous one" },
  { group: "Labels", name: "setStart", keys: ["i"], help: "an action (or the selected one) starts now" },
  { group: "Labels", name: "setEnd", keys: ["o"], help: "it ends now" },
  { group: "Labels", name: "nudgeBack", keys: ["["], repeats: true, help: "nearer edge (or point) a frame back" },
  { group: "Labels", name: "nudgeOn", keys: ["]"], repeats: true, help: "nearer edge (or point) a frame on" },
  { group: "Labels", name: "shiftBack", keys: ["{"], repeats: true, help: "the whole interval a frame back" },
  { group: "Labels", name: "shiftOn", keys: ["}"], repeats: true, help: "the whole interval a frame on" },
  { group: "Labels", name: "correctLast", keys: [";"], help: "then a class key: the last one was that" },
  { group: "Labels", name: "who", keys: ["#"], needs: "subjects", help: "then a key: who did it" },
  { group: "Labels", name: "remove", keys: ["Delete", "Backspace"], help: "delete what is selected" },
  { group: "Labels", name: "undo", keys: ["z", "Ctrl+z"], repeats: true, help: "undo" },
  { group: "Labels", name: "redo", keys: ["Shift+z", "Ctrl+y", "Ctrl+Shift+z"], repeats: true, help: "redo" },
  { group: "Detections", name: "nextDetection", keys: ["n"], help: "next open detection, in a loop" },
  { group: "Detections", name: "previousDetection", keys: ["p"], help: "previous open detection" },
  { group: "Detections", name: "accept", keys: ["Enter"], help: "accept: makes it a point" },
  { group: "Detections", name: "reject", keys: ["x"], help: "reject" },
  { group: "Videos", name: "nextVideo", keys: ["PageDown"], help: "next video" },
  { group: "Videos", name: "previousVideo", keys: ["PageUp"], help: "previous video" },
  { group: "Videos", name: "done", keys: ["m"], help: "mark as done, or not" },
  { group: "Videos", name: "ticks", keys: ["Shift+Enter"], help: "tick which actions it shows, or stop that" },
  { group: "Look", name: "zoomIn", keys: ["+", "="], repeats: true, help: "zoom the timeline in" },
  { group: "Look", name: "zoomOut", keys: ["-"], repeats: true, help: "zoom the timeline out" },
  { group: "Look", name: "zoomFit", keys: ["0"], help: "whole video" },
  { group: "Look", name: "deselect", keys: ["Escape"], help: "deselect; again: to the buttons" },
  { group: "Look", name: "help", keys: ["?"], help: "this page" },
];

const BY_KEY = new Map(COMMANDS.flatMap((command) => command.keys.map((key) => [key, command])));

/** The name of a key press: "a", "Shift+a", "Ctrl+z", "Shift+ArrowLeft", "?". */
export function keyName(event) {
  let key = event.key;
  if (key.length === 1 && key > "~") key = latin(event.code) ?? key;
  else if (/^Digit\d$/.test(event.code) && !event.shiftKey && !/^\d$/.test(key) && !altGraph(event))
    key = BY_KEY.has(key) ? key : event.code.slice(5); // a French row of digits, unshifted
  const letter = /^[a-z]$/i.test(key);
  if (letter) key = key.toLowerCase();
  const shift = event.shiftKey && (letter || key.length > 1);
  const control = (event.ctrlKey || event.metaKey) && !altGraph(event);
  if (event.altKey && !altGraph(event)) return null;
  return `${control ? "Ctrl+" : ""}${shift ? "Shift+" : ""}${key}`;
}

const altGraph = (event) => event.getModifierState("AltGraph");

const latin = (code) => /^Key([A-Z])$/.exec(code)?.[1].toLowerCase();

/** A class key as the server writes it, in the form of `keyName`: "A" is Shift+a. */
export function classKey(key) {
  return /^[A-Z]$/.test(key ?? "") ? `Shift+${key.toLowerCase()}` : key;
}

/** The command `{name}` or `{name: "class", label}` of a key press; null where it has none. */
export function commandOf(event, classes) {
  const key = keyName(event);
  const command = BY_KEY.get(key);
  if (command) return event.repeat && !command.repeats ? null : { name: command.name };
  const found = classes.find((each) => each.key && classKey(each.key) === key);
  return found && !event.repeat ? { name: "class", label: found.name } : null;
}

/** A class key in one or two characters: "1", "A", "⇧A"; a dot for a class without one. */
export function keySign(key) {
  if (!key) return "•";
  return key === classKey(key) ? key.toUpperCase() : `⇧${key}`;
}

const NAMES = {
  " ": "Space", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc", Delete: "Del", Enter: "Enter",
  Backspace: "Backspace", PageDown: "PgDn", PageUp: "PgUp", "-": "−",
};

/** A key as it is printed on keyboards: ["Shift", "←"]. */
export function keyCaps(key) {
  const parts = key.length > 1 ? key.split("+").filter(Boolean) : [key];
  return parts.map((part) => NAMES[part] ?? (part.length === 1 ? part.toUpperCase() : part));
}

/** Whether the focused element, or an open dialog, wants this key for itself. */
export function belongsTo(target, key) {
  if (document.querySelector("dialog[open]")) return true;
  if (target.matches("input, select, textarea")) return key !== "Escape";
  if (key === " " && target.matches(".video")) return false; // it plays; Enter opens
  const pressable = target.matches("button, a, summary") && !target.closest("[data-stage-keys]");
  return pressable && ["Tab", "Shift+Tab", " ", "Enter"].includes(key);
}
