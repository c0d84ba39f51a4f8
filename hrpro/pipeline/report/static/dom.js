// Small helpers: make elements, write numbers, choose colours. All text goes in as text, never as
// markup: labels and file names come from anywhere.

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") {
      for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
    } else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function clock(seconds) {
  // 75.3 -> "1:15.3"; rounded first, so that 59.96 does not become "0:60.0".
  const tenths = Math.round(Math.max(0, seconds) * 10);
  const whole = Math.floor(tenths / 10);
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const start = hours ? `${hours}:${two(minutes)}` : `${minutes}`;
  return `${start}:${two(whole % 60)}.${tenths % 10}`;
}

function percent(share) {
  return (100 * share).toFixed(1);
}

function plural(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

function colourOf(index) {
  // The golden angle keeps neighbours apart however many classes there are.
  return `hsl(${Math.round((index * 137.508 + 205) % 360)} var(--saturation) var(--lightness))`;
}

function table(heads, rows, options = {}) {
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map((cells) => {
    const [first, ...rest] = cells;
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, first),
      ...rest.map((cell) => make("td", {}, cell)),
    );
  });
  return make(
    "div",
    { class: "scrolls" },
    make("table", { class: options.class ?? "numbers" }, make("thead", {}, head), make("tbody", {}, ...body)),
  );
}

function save(name, type, text) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
