// Times and names as people read them, and frames as videos count them.

/** Seconds as a clock: 12.48 → "0:12.480", 3723.5 → "1:02:03.500". */
export function clock(seconds, decimals = 3) {
  const unit = 10 ** decimals;
  const total = Math.max(0, Math.round(seconds * unit));
  const whole = Math.floor(total / unit);
  const fraction = decimals ? `.${String(total % unit).padStart(decimals, "0")}` : "";
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const start = hours ? `${hours}:${two(minutes)}` : String(minutes);
  return `${start}:${two(whole % 60)}${fraction}`;
}

/** Seconds for a sentence: "12.48 s", and a clock from one minute on. */
export function moment(seconds) {
  return seconds < 60 ? `${seconds.toFixed(2)} s` : clock(seconds, 2);
}

export function span(start, end) {
  return end < 60 ? `${start.toFixed(2)}–${end.toFixed(2)} s` : `${clock(start, 2)}–${clock(end, 2)}`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

export function percent(share) {
  return `${Math.round(100 * share)} %`;
}

export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/** Number of the frame on display at a time; a hair of tolerance for rounded times. */
export function frameAt(seconds, fps) {
  return Math.max(0, Math.floor(seconds * fps + 1e-3));
}

/** Time in the middle of a frame: no rounding on the way can turn it into its neighbour. */
export function middleOf(frame, fps) {
  return (frame + 0.5) / fps;
}

/** Whether text on this colour should be "black" or "white". */
export function inkOn(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const value = parseInt(color.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "black" : "white";
}
