// Puts the page together: state, player, panels, keys.

import { ClassEditor } from "./classeditor.js";
import { ClassPanel } from "./classes.js";
import { makeCommands } from "./commands.js";
import { offerDownloads } from "./download.js";
import { setText } from "./web/dom.js";
import { percent, plural } from "./web/format.js";
import { GotoTime } from "./goto.js";
import { Help } from "./help.js";
import { ofKind } from "./kinds.js";
import { belongsTo, commandOf, keyName } from "./keys.js";
import { Player } from "./player.js";
import { PlayerBar } from "./playerbar.js";
import { SelectionBar } from "./selection.js";
import { Store } from "./store.js";
import { TickPanel } from "./ticks.js";
import { Timeline } from "./timeline.js";
import { Toast } from "./toast.js";
import { VideoList } from "./videos.js";

const byId = (id) => document.getElementById(id);

const toast = new Toast(byId("toast"));
const say = (text) => toast.say(text);
const store = new Store({ changed: drawAll, opened: showVideo, toast });
const player = new Player(byId("video"), drawTime);
const videos = new VideoList(byId("videos"), store, open);
const help = new Help(byId("help"), store);
const timeline = new Timeline(byId("timeline"), store, player, {
  seek: (time) => player.seek(time),
  select: (kind, id) => {
    const item = ofKind(store.video, kind).find((each) => each.id === id);
    if (kind === "detection") commands.review.show(item);
    else commands.selectMark(item);
  },
  movePoint: (point, time) => commands.movePoint(point, time),
  retime: (item, start, end) => commands.retime(item, start, end),
  unfinished: () => commands.marking.unfinished(),
});
const panel = new ClassPanel(byId("classes"), store, {
  choose: (label) =>
    store.video && (ticks.ticking ? ticks.tick(label) : commands.run({ name: "class", label })),
  add: async (name) => {
    toast.asked(`adding class “${name}” …`);
    const added = await store.addClass(name);
    if (added) toast.answered(`class “${name}” added`);
    return added;
  },
  reaction: async (seconds) => {
    toast.asked("saving the reaction time …");
    const saved = await store.setReaction(seconds);
    if (saved) toast.answered(`points are set ${seconds} s before the key press`);
  },
  limit: (score) => {
    timeline.minScore = score;
    drawAll();
  },
});
const ticks = new TickPanel(byId("ticks"), byId("ticking"), store, {
  say,
  next: () => run("nextVideo"),
  changed: () => drawAll(),
});
const playerBar = new PlayerBar(byId("stage"), store, player, () => loadMedia());
const commands = makeCommands({
  store, player, timeline, videos, toast, open,
  toggleHelp: () => help.toggle(),
  toggleTicks: () => ticks.toggle(),
  askTime: () => gotoTime.ask(),
  toButtons: () => byId("stage").querySelector("[data-part=play]").focus(),
  flash: (label) => panel.flash(label),
});
offerDownloads(byId("classes"), toast);
const classEditor = new ClassEditor(byId("class-editor"), store);
byId("edit-classes").addEventListener("click", () => classEditor.open());
const gotoTime = new GotoTime(byId("goto"), player);
const run = (name) => commands.run({ name });
const selectionBar = new SelectionBar(byId("selection"), store, commands.marking, run);
let loaded = null; // address of the media in the player

function open(id) {
  showList(false);
  commands.marking.cancel(); // what has begun belongs to the other video
  return store.open(id);
}

/** A video was opened, or became playable. */
function showVideo() {
  const { id } = store.confirmed;
  history.replaceState(null, "", `#${encodeURIComponent(id)}`);
  document.title = `${id} – hrpro label`;
  const source = store.mediaOf(id);
  if (loaded !== `${id} ${source}`) {
    loaded = `${id} ${source}`;
    loadMedia();
  }
  drawAll();
}

async function loadMedia() {
  const { confirmed } = store;
  const source = store.mediaOf(confirmed.id);
  player.load(source, confirmed);
  timeline.open(confirmed.duration_s);
  const times = source && (await store.frameTimes(confirmed.id));
  if (times && player.source === source) player.setFrameTimes(times);
}

function drawAll() {
  drawHeader();
  videos.update();
  panel.update();
  ticks.update();
  timeline.update();
  drawTime();
  playerBar.notice();
  selectionBar.update(timeline.detections.filter((each) => each.status === "open").length);
}

function drawTime() {
  commands.keepSelection();
  playerBar.update();
  timeline.moveTo(player.time);
  timeline.drawUnfinished();
}

function drawHeader() {
  const { data, entry, outbox, video } = store;
  const done = data.videos.filter((each) => each.done).length;
  const total = (key) => data.videos.reduce((sum, each) => sum + each[key], 0);
  const [points, intervals] = [total("num_points"), total("num_intervals")];
  setText(byId("dataset"), data.dataset);
  byId("progress").value = data.videos.length ? done / data.videos.length : 0;
  const marked = intervals ? ` · ${plural(intervals, "interval")}` : "";
  const work = `${done} of ${data.videos.length} videos done · ${plural(points, "point")}${marked}`;
  setText(byId("progress-text"), work);
  setText(byId("model"), data.model ? `suggestions by ${data.model}` : "");
  setText(byId("title"), video?.id ?? "");
  setText(byId("facts"), entry ? factsOf(entry) : "");
  byId("done").setAttribute("aria-pressed", String(Boolean(video?.done)));
  setText(byId("done-text"), video?.done ? "Done" : "Mark as done");
  for (const button of document.querySelectorAll("#stage button[data-run]")) button.disabled = !video;
  const saved = outbox.problem || store.lost ? "" : "all saved";
  const waiting = outbox.problem ? "not saved" : "saving…";
  setText(byId("saved"), outbox.entries.length ? waiting : saved);
  byId("saved").classList.toggle("not", Boolean(outbox.problem));
  const warning = trouble(outbox.problem, outbox.entries.length);
  byId("banner").hidden = !warning;
  setText(byId("banner"), warning);
}

function factsOf({ width, height, fps, subset, uncertainty }) {
  const facts = [
    width && `${width}×${height}`,
    fps && `${Number(fps.toFixed(3))} fps`,
    subset === "test" && "test video",
    uncertainty !== null && `model ${percent(uncertainty)} unsure`,
  ];
  return facts.filter(Boolean).join(" · ");
}

/** What stands between the page and the server, in words. */
function trouble(problem, waiting) {
  const unsaved = `${plural(waiting, "action")} not saved yet`;
  const kept = waiting ? ` ${unsaved}: kept in this tab and sent as soon as possible.` : "";
  if (problem?.status === 403 || store.lost === "refused")
    return `hrpro label was started anew. Open the address it printed in this tab.${kept}`;
  const again = "If it was stopped, start it again: this page goes on by itself.";
  if (problem || store.lost) return `hrpro label does not answer. ${again}${kept}`;
  return "";
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing) return;
  const key = keyName(event);
  if (key === null || belongsTo(event.target, key)) return;
  const tabbing = key.endsWith("Tab");
  if (tabbing && event.target !== document.body) return; // somebody walks through the page
  if (!event.repeat && commands.marking.question.press(key)) {
    event.preventDefault();
    drawAll();
    return;
  }
  if (!event.repeat && ticks.press(event)) {
    event.preventDefault();
    return;
  }
  const command = commandOf(event, store.data.classes);
  const pressed = command?.name === "class" ? { ...command, key: event.code || event.key } : command;
  if (pressed && commands.run(pressed) !== false) event.preventDefault();
});

window.addEventListener("blur", () => commands.marking.holds.releaseAll());

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.run) commands.run({ name: button.dataset.run });
  if (event.detail > 0) button.blur(); // so that Space and Enter keep their meaning after a click
});

/** Show or hide the list where it is a drawer. */
function showList(shown) {
  document.body.classList.toggle("show-videos", shown);
  byId("videos-toggle").setAttribute("aria-expanded", String(shown));
}

byId("videos-toggle").addEventListener("click", () =>
  showList(!document.body.classList.contains("show-videos")),
);
document.addEventListener("pointerdown", (event) => {
  if (!event.target.closest("#videos, #videos-toggle")) showList(false);
});

document.addEventListener("keyup", (event) => {
  commands.marking.holds.release(event.code || event.key);
  // Buttons are pressed when the key comes up again; Space was for the player.
  if (event.key === " " && event.target.matches(".video")) event.preventDefault();
});

byId("video").addEventListener("click", () => commands.run({ name: "toggle" }));
byId("video").addEventListener("error", drawAll);
byId("video").addEventListener("loadeddata", drawAll);

window.addEventListener("hashchange", () => open(decodeURIComponent(location.hash.slice(1))));
window.addEventListener("beforeunload", (event) => {
  if (store.outbox.entries.length) event.preventDefault();
});

try {
  await store.start();
  const wished = decodeURIComponent(location.hash.slice(1));
  const known = store.data.videos.map((video) => video.id);
  const next = store.data.videos.find((video) => !video.done)?.id ?? known[0];
  const first = known.includes(wished) ? wished : next;
  drawAll();
  if (first !== undefined) await open(first);
  help.welcome();
} catch (error) {
  byId("banner").hidden = false;
  setText(byId("banner"), error.status === 403
    ? "This address is not the one that hrpro label printed: open that one."
    : `hrpro label does not answer: ${error.message}`);
}
