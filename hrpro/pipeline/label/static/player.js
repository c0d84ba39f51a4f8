// The video: exact frames, speeds, playing backwards and loops on top of a <video> element.

import { Frames } from "./frames.js";
import { clamp } from "./web/format.js";

const SPEEDS = [0.1, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4];
const FASTEST_SHUTTLE = 4;
const USUAL_FPS = 25;
const NEAR_S = 0.3; // browsers stop telling which frame they show when nobody can see it

export class Player {
  /** @param changed called whenever time, speed or play state may have changed */
  constructor(video, changed) {
    this.video = video;
    this.changed = changed;
    this.frames = new Frames(USUAL_FPS, 0);
    this.target = null; // where a seek under way, or the one after it, leads
    this.shown = null; // start of the frame on display, as far as the browser tells it
    this.reverse = 0; // speed of playing backwards
    this.loop = null; // [start, end] in seconds
    for (const name of ["play", "pause", "ratechange", "loadedmetadata", "ended", "volumechange"])
      video.addEventListener(name, changed);
    video.addEventListener("seeking", () => this.#forgetFrame(video.paused));
    video.addEventListener("play", () => this.#forgetFrame(false));
    video.addEventListener("seeked", () => this.#seeked());
    video.addEventListener("timeupdate", () => this.#keepInLoop());
    this.#watchFrames();
  }

  load(source, { fps, duration_s }) {
    this.frames = new Frames(fps || USUAL_FPS, duration_s || 0);
    this.loop = null;
    this.reverse = 0;
    this.target = null;
    this.#forgetFrame(false);
    this.source = source;
    if (source) this.video.src = source;
    else this.video.removeAttribute("src");
    this.video.load();
    this.changed();
  }

  get duration() {
    return this.frames.duration;
  }

  /** Take over when each frame is shown, which becomes known a little later. */
  setFrameTimes(times) {
    this.frames = new Frames(this.frames.fps, this.duration, times);
    this.changed();
  }

  get ready() {
    return Boolean(this.source) && this.video.readyState >= HTMLMediaElement.HAVE_METADATA;
  }

  get playing() {
    return !this.video.paused || this.reverse > 0;
  }

  /** Speed with its direction: negative while playing backwards. */
  get speed() {
    return this.reverse ? -this.reverse : this.video.playbackRate;
  }

  /** Seconds; when paused, the middle of the frame on display. */
  get time() {
    if (this.target !== null) return this.target;
    if (this.playing) return this.video.currentTime;
    const clock = this.video.currentTime;
    const near = this.shown !== null && Math.abs(this.shown - clock) < NEAR_S;
    return this.frames.middle(this.frames.at(near ? this.shown : clock));
  }

  get frame() {
    return this.frames.at(this.time);
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    this.reverse = 0;
    if (this.video.ended || this.frame === this.frames.last) this.seek(0);
    // A refusal (no source yet, a new one coming) shows in the play state; nothing else to do.
    this.video.play().catch(() => {});
    this.changed();
    this.#tick();
  }

  pause() {
    this.reverse = 0;
    this.video.pause();
    this.changed();
  }

  /** Go to a time; during a seek only the last wish counts. */
  seek(seconds) {
    if (!this.ready) return;
    const time = clamp(seconds, 0, this.duration);
    if (this.loop && (time < this.loop[0] - 0.5 || time > this.loop[1] + 0.5)) this.loop = null;
    const busy = this.target !== null;
    this.target = time;
    if (!busy) this.video.currentTime = time;
    this.changed();
  }

  seekFrame(frame) {
    this.seek(this.frames.middle(clamp(frame, 0, this.frames.last)));
  }

  step(frames) {
    if (this.playing) this.pause();
    this.seekFrame(this.frame + frames);
  }

  jump(seconds) {
    const wish = this.time + seconds;
    this.seek(this.playing ? wish : this.frames.middle(this.frames.at(wish)));
  }

  setSpeed(speed) {
    this.video.playbackRate = speed;
    this.changed();
  }

  changeSpeed(direction) {
    const now = this.video.playbackRate;
    const faster = SPEEDS.find((speed) => speed > now + 1e-6);
    const slower = SPEEDS.findLast((speed) => speed < now - 1e-6);
    this.setSpeed((direction > 0 ? faster : slower) ?? now);
  }

  /** The L key: play, and faster each time. */
  shuttleOn() {
    const playing = !this.video.paused;
    const now = this.video.playbackRate;
    this.setSpeed(playing ? Math.min(Math.max(1, 2 * now), FASTEST_SHUTTLE) : 1);
    if (!playing) this.play();
  }

  /** The J key: play backwards, and faster each time. Browsers cannot, so it seeks. */
  shuttleBack() {
    const speed = this.reverse ? Math.min(2 * this.reverse, FASTEST_SHUTTLE) : 1;
    const starting = !this.reverse;
    this.video.pause();
    this.setSpeed(1);
    this.reverse = speed;
    this.loop = null;
    if (starting) this.#playBackwards();
    this.changed();
  }

  /** Play a part over and over, until it is left. */
  playLoop(start, end) {
    this.loop = [clamp(start, 0, this.duration), clamp(end, 0, this.duration)];
    this.seek(this.loop[0]);
    this.play();
  }

  #playBackwards() {
    let last = performance.now();
    let position = this.time;
    const tick = (now) => {
      if (!this.reverse || !this.ready) return;
      position -= (this.reverse * (now - last)) / 1000;
      last = now;
      if (position <= 0) {
        this.seekFrame(0);
        this.pause();
        return;
      }
      if (this.target === null) this.seek(position);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  #seeked() {
    const wish = this.target;
    this.target = null;
    if (wish !== null && Math.abs(wish - this.video.currentTime) > 0.1 * this.frames.length(wish)) this.seek(wish);
    this.changed();
  }

  #keepInLoop() {
    if (this.loop && !this.video.paused && this.video.currentTime >= this.loop[1])
      this.seek(this.loop[0]);
  }

  /** Follow the time while playing: timeupdate alone comes four times a second. */
  #tick() {
    if (this.ticking) return;
    this.ticking = true;
    const tick = () => {
      this.#keepInLoop();
      this.changed();
      this.ticking = !this.video.paused;
      if (this.ticking) requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  #forgetFrame(sought) {
    this.shown = null;
    this.sought = sought; // where a paused video was sent to is known better than what it shows
  }

  /** Note the frames that are shown: at a pause the clock may be ahead of them. */
  #watchFrames() {
    if (!this.video.requestVideoFrameCallback) return;
    const shown = (now, { mediaTime }) => {
      if (!this.sought) this.shown = mediaTime;
      this.video.requestVideoFrameCallback(shown);
    };
    this.video.requestVideoFrameCallback(shown);
  }
}
