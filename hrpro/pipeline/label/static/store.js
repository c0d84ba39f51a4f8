// What the page knows: the dataset, the open video, the selection. The server has the truth;
// actions show at once and are confirmed, or taken back, by its answers.

import { applied, difference } from "./actions.js";
import { Unreachable, api } from "./api.js";
import { ofKind } from "./kinds.js";
import { Outbox } from "./outbox.js";

const POLL_MS = 1500;

export class Store {
  /** @param handlers `changed()`, `opened()`; `toast` for what the server says */
  constructor(handlers) {
    this.handlers = handlers;
    this.client = clientName();
    this.data = {
      dataset: "", classes: [], subjects: [], videos: [], reaction_s: 0, revision: 0, session: "",
      model: null, no_marks: null, class_keys: "",
    };
    this.confirmed = null; // the open video as the server last told it
    this.opening = null; // id of the video that was chosen and has not come yet
    this.answers = new Map(); // id -> the latest that the server has told of a video
    this.heard = null; // {session, revision} up to which the polls have told everything
    this.selection = null; // {kind: "point" | "interval" | "detection", id}
    this.lastClass = null; // label that was used last
    this.lost = false; // whether the last poll failed
    this.created = new Map(); // actions of this tab -> points and intervals that they have added
    this.outbox = new Outbox(
      ({ id, client, video, action }) => api.act(video, { id, client, action }),
      {
        saved: (entry, answer) => this.#saved(entry, answer),
        refused: (entry, error) => this.#refused(entry, error),
        changed: () => this.handlers.changed(),
      },
    );
  }

  async start() {
    this.data = await api.state();
    this.heard = this.data;
    this.outbox.open(`hrpro.outbox.${this.data.dataset_id}.`, this.client);
    this.outbox.pump();
    setInterval(() => this.#poll(), POLL_MS);
  }

  /** The open video with everything that is still on its way to the server. */
  get video() {
    if (!this.confirmed) return null;
    return this.outbox.pending(this.confirmed.id).reduce(applied, this.confirmed);
  }

  /** The open video's entry in the list. */
  get entry() {
    return this.data.videos.find((video) => video.id === this.confirmed?.id) ?? null;
  }

  /** Address of what the browser plays, or null as long as there is nothing. */
  mediaOf(id) {
    const playback = this.data.videos.find((video) => video.id === id)?.playback;
    return ["direct", "proxy"].includes(playback) ? api.media(id) : null;
  }

  /** When each frame of a video is shown; null at a constant rate, or if nobody knows. */
  async frameTimes(id) {
    try {
      return (await api.frames(id)).times;
    } catch {
      return null; // the rate will do
    }
  }

  get selected() {
    if (!this.selection || !this.confirmed) return null;
    const { kind, id } = this.selection;
    const item = ofKind(this.video, kind).find((each) => each.id === id);
    return item ? { kind, ...item } : null;
  }

  /** The class of an interval for which none is named: the one that was used last. */
  get currentClass() {
    const names = this.data.classes.map((each) => each.name);
    return names.includes(this.lastClass) ? this.lastClass : (names[0] ?? null);
  }

  colorOf(label) {
    return this.data.classes.find((each) => each.name === label)?.color ?? "#888888";
  }

  select(kind, id) {
    this.selection = kind ? { kind, id } : null;
    this.handlers.changed();
  }

  async open(id) {
    this.opening = id;
    const answer = await api.video(id, this.client).catch((error) => error);
    if (this.opening !== id) return; // another one was chosen meanwhile
    this.opening = null;
    if (answer instanceof Error) {
      this.handlers.toast.fail(`${id}: ${answer.message}`);
      return;
    }
    this.confirmed = this.#latest(answer);
    this.selection = null;
    this.handlers.opened();
  }

  /** Do something to the open video; returns the name of the action. */
  act(action) {
    const { client } = this;
    const id = crypto.randomUUID();
    const named = { ...action }; // what is dragged may have got its name meanwhile
    for (const kind of ["point", "interval"]) if (action[kind]) named[kind] = this.nameOf(action[kind]);
    this.outbox.push({ id, client, video: this.confirmed.id, action: named });
    return id;
  }

  /** The name of the point or interval that an action has added; that of the action until the server answers. */
  nameOf(action) {
    return this.created.get(action) ?? action;
  }

  async addClass(name) {
    return this.#setData(api.addClass(name));
  }

  /** Change the classes; returns why not, or an empty text. */
  async editClasses(edit) {
    try {
      this.#take(await api.editClasses(edit));
    } catch (error) {
      return error.message;
    }
    if (this.confirmed) await this.#refresh().catch(() => {}); // then the next poll tells
    this.handlers.changed();
    return "";
  }

  async setReaction(reaction_s) {
    return this.#setData(api.settings({ reaction_s }));
  }

  /** Take over the answer to a change of settings; false if it was refused. */
  async #setData(answer) {
    try {
      this.#take(await answer);
    } catch (error) {
      this.handlers.toast.fail(error.message);
      return false;
    }
    this.handlers.changed();
    return true;
  }

  #saved(entry, answer) {
    if (answer.created) this.created.set(entry.id, answer.created);
    if (this.selection?.id === entry.id && answer.created)
      this.selection.id = answer.created;
    const isOpen = entry.video === this.confirmed?.id;
    if (isOpen && ["undo", "redo"].includes(entry.action.type))
      this.handlers.toast.answered(`${entry.action.type}: ${difference(this.confirmed, answer)}`);
    const latest = this.#latest(answer);
    if (isOpen) this.confirmed = latest;
    this.handlers.changed();
  }

  #refused(entry, error) {
    this.handlers.toast.fail(`not saved: ${error.message}`);
    if (entry.video !== this.confirmed?.id) return;
    this.#refresh().then(() => this.handlers.changed(), () => {}); // else the next poll tells
  }

  /** Take over an answer about everything, but for what the server has told since. */
  #take(state) {
    if (isOlder(state, this.data)) return;
    this.data = state;
    for (const video of this.answers.values()) if (isOlder(state, video)) this.#count(video);
  }

  /** Note an answer about a video; returns it, or a later one that has overtaken it. */
  #latest(video) {
    const known = this.answers.get(video.id);
    if (known && isOlder(video, known)) return known;
    this.answers.set(video.id, video);
    this.#count(video);
    return video;
  }

  /** Bring the list's numbers in line with a video. */
  #count(video) {
    const numOpen = video.detections.filter((each) => each.status === "open").length;
    this.data.videos = this.data.videos.map((entry) =>
      entry.id === video.id
        ? {
            ...entry,
            num_points: video.points.length,
            num_intervals: video.intervals.length,
            num_open: numOpen,
            done: video.done,
          }
        : entry,
    );
  }

  /**
   * Ask for the open video anew. Returns false where answers to what this tab does to it are still
   * to come: they tell more, and what they have told already would show twice.
   */
  async #refresh() {
    const { id } = this.confirmed;
    const video = await api.video(id, this.client);
    if (this.outbox.pending(id).length) return false;
    const latest = this.#latest(video);
    if (id === this.confirmed.id) this.confirmed = latest; // else another one was opened meanwhile
    return true;
  }

  async #poll() {
    if (this.polling || document.hidden) return;
    this.polling = true;
    try {
      await this.#catchUp();
    } catch (error) {
      this.lost = error instanceof Unreachable ? "unreachable" : "refused";
      this.handlers.changed();
    } finally {
      this.polling = false;
    }
  }

  /** Take over what other tabs did, and how far the copies of videos are. */
  async #catchUp() {
    const before = this.entry?.playback;
    const { session, revision, videos, playback } = await api.changes(this.heard.revision);
    const restarted = session !== this.heard.session; // its revisions count from 0 again
    const changed = restarted || revision !== this.heard.revision;
    if (changed) this.#take(await api.state());
    else this.data.videos = this.data.videos.map((video) => ({ ...video, ...playback[video.id] }));
    const { confirmed } = this;
    const behind =
      confirmed && (restarted || (videos.includes(confirmed.id) && confirmed.revision < revision));
    // Not what came after: what has changed between the answers is told by the next poll.
    if (!behind || (await this.#refresh())) this.heard = { session, revision };
    const recovered = this.lost;
    this.lost = false;
    if (recovered) this.outbox.pump();
    if (this.entry && this.entry.playback !== before) this.handlers.opened();
    else if (changed || recovered || Object.keys(playback).length) this.handlers.changed();
  }
}

/** Whether an answer tells of an earlier time than another; a new server counts anew. */
const isOlder = (answer, known) =>
  answer.session === known.session && answer.revision < known.revision;

/** This tab's name towards the server: undo takes back the tab's own actions. */
function clientName() {
  const name = sessionStorage.getItem("hrpro.client") ?? crypto.randomUUID();
  sessionStorage.setItem("hrpro.client", name);
  return name;
}
