// Times, counts and shares as people read them.

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

export function percent(share, decimals = 0) {
  return `${(100 * share).toFixed(decimals)} %`;
}

export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
