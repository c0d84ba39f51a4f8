// Build the page from its data.

import { budgetOf } from "./budget.js";
import { saveFound } from "./download.js";
import { foundIn } from "./found.js";
import { evaluationOf, indexOfRuns } from "./overview.js";
import { makePrintedVideo, makeVideoView } from "./video.js";
import { makeVideoList } from "./videos.js";
import { el } from "./web/dom.js";
import { plural } from "./web/format.js";

const data = JSON.parse(document.getElementById("data").textContent);
const page = document.getElementById("page");

const classes = (data.classes ?? []).map((name, index) => ({ name, color: data.colors[index] }));

if (data.runs) page.replaceChildren(...indexOfRuns(data.runs));
else showRun();

function showRun() {
  const filters = { all: !data.has_events, score: data.has_events ? -Infinity : data.threshold, hidden: new Set() };
  const holder = el("div", { class: "video-holder" });
  let view = null;
  let current = -1;

  function open(index) {
    if (index === current || !data.videos[index]) return;
    current = index;
    view?.stop();
    view = makeVideoView(data.videos[index], classes, filters);
    holder.replaceChildren(view.element);
    for (const row of document.querySelectorAll(".video-row")) {
      if (Number(row.dataset.video) === index) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    if (data.videos.length > 1) history.replaceState(null, "", `#${index}`);
  }

  const events = data.videos.reduce((sum, video) => sum + (video.events?.length ?? 0), 0);
  const total = data.videos.reduce((sum, video) => sum + video.detections.length + video.left_out, 0);
  const parts = [el("header", {},
    el("h1", {}, data.name),
    el("p", { class: "quiet" }, [plural(data.videos.length, "video"), data.has_events && plural(events, "event"), plural(total, "detection"), data.model && `model ${data.model}`].filter(Boolean).join(" · ")),
  )];
  if (data.evaluation) parts.push(evaluationOf(data.evaluation, new Map(classes.map(({ name, color }) => [name, color]))));
  if (data.budget) parts.push(budgetOf(data.budget, classes));
  const list = data.videos.length > 1 ? makeVideoList(data.videos, classes, filters, Boolean(data.evaluation), open) : null;
  const filter = controls(filters, () => {
    view?.apply();
    list?.apply();
  });
  const saveAll = el("button", { type: "button", class: "download", onclick: () => saveFound(`${data.name}.csv`, data.videos, classes, filters) }, "All videos as CSV");
  if (list) filter.append(saveAll);
  parts.push(el("div", { class: list ? "with-list" : "" }, list?.element, el("div", { class: "viewer" }, filter, holder, keyHelp())));
  const printed = el("div", { class: "printed" });
  page.replaceChildren(...parts, printed);
  if (!data.videos.length) holder.append(el("p", { class: "quiet" }, "There are no videos in these results."));
  const named = Number(location.hash.slice(1));
  open(location.hash.length > 1 && data.videos[named] ? named : list?.first ?? 0);

  window.addEventListener("beforeprint", () =>
    printed.replaceChildren(...data.videos.map((video) => makePrintedVideo(video, classes, filters))));
  window.addEventListener("afterprint", () => printed.replaceChildren());
  listenToKeys(() => view);
}

function keyHelp() {
  const keys = [["Space", "play, pause"], ["← →", "a second (Shift: ten)"], ["J K", "next, previous action"]];
  return el("p", { class: "keys quiet" }, ...keys.map(([key, does]) => el("span", { class: "keyed" }, el("kbd", {}, key), ` ${does}`)));
}

/** @param current returns the video on the screen */
function listenToKeys(current) {
  const commands = {
    " ": (view) => view.toggle(),
    ArrowLeft: (view, { shiftKey }) => view.jump(shiftKey ? -10 : -1),
    ArrowRight: (view, { shiftKey }) => view.jump(shiftKey ? 10 : 1),
    j: (view) => view.event(1),
    k: (view) => view.event(-1),
  };
  const isForPage = ({ target, key, ctrlKey, altKey, metaKey }) => {
    if (ctrlKey || altKey || metaKey || target.matches("input, select")) return false;
    return key !== " " || !target.matches("button:not(.detection), a"); // Space presses those
  };
  document.addEventListener("keydown", (event) => {
    const command = commands[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!command || !current() || !isForPage(event)) return;
    event.preventDefault();
    command(current(), event);
  });
  document.addEventListener("keyup", (event) => {
    // Buttons are pressed when the key comes up again; Space was for the player.
    if (event.key === " " && event.target.matches(".detection")) event.preventDefault();
  });
}

function controls(filters, changed) {
  const text = el("output", {});
  const slider = el("input", {
    type: "range", step: "any", "aria-label": "Lowest score shown",
    oninput: (event) => {
      filters.score = Number(event.target.value);
      text.textContent = filters.score.toFixed(2);
      changed();
    },
  });
  /** Begin with all events, or with about as many detections as there are actions. */
  function begin() {
    const scores = data.videos.flatMap((video) => foundIn(video, filters).map(({ score }) => score));
    const highest = scores.reduce((most, score) => Math.max(most, score), 0) || 1;
    slider.max = highest;
    slider.min = scores.reduce((least, score) => Math.min(least, score), filters.all ? 0 : highest);
    slider.value = filters.all ? data.threshold : slider.min;
    filters.score = filters.all ? data.threshold : -Infinity;
    slider.disabled = !scores.length;
    text.textContent = scores.length ? Number(slider.value).toFixed(2) : "";
  }
  const kinds = [["events", false], ["all detections", true]].map(([name, every]) =>
    el("button", {
      type: "button", class: "kind", "aria-pressed": String(filters.all === every),
      onclick: (event) => {
        filters.all = every;
        for (const kind of kinds) kind.setAttribute("aria-pressed", String(kind === event.currentTarget));
        begin();
        changed();
      },
    }, name));
  begin();
  const used = [...new Set(data.videos.flatMap((video) => [...(video.truth ?? []), ...video.detections, ...(video.events ?? [])].map(([label]) => label)))].sort((a, b) => a - b);
  const chips = used.map((label) =>
    el("button", {
      type: "button", class: "chip", "aria-pressed": "true",
      onclick: (event) => {
        const chip = event.currentTarget;
        const show = filters.hidden.delete(label);
        if (!show) filters.hidden.add(label);
        chip.setAttribute("aria-pressed", String(show));
        changed();
      },
    }, el("i", { class: "dot", style: { background: classes[label].color } }), classes[label].name),
  );
  function all(hide) {
    filters.hidden = new Set(hide ? used : []);
    for (const chip of chips) chip.setAttribute("aria-pressed", String(!hide));
    changed();
  }
  return el(
    "div",
    { class: "controls", role: "group", "aria-label": "Filters" },
    data.has_events && el("div", { class: "kinds", role: "group", "aria-label": "What is shown" }, ...kinds),
    el("label", { class: "slider" }, "score from ", slider, text),
    el("div", { class: "chips" },
      ...(used.length > 3 ? [
        el("button", { type: "button", class: "link", onclick: () => all(false) }, "all"),
        el("button", { type: "button", class: "link", onclick: () => all(true) }, "none"),
      ] : []),
      ...chips),
  );
}
