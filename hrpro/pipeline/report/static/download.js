// Files that the page makes itself.

import { filtered, foundIn } from "./found.js";

/** Offer what was found as CSV: video by video, in order of time, as the filters let it through. */
export function saveFound(name, videos, classes, filters) {
  const rows = videos.flatMap((video) =>
    filtered(foundIn(video, filters), filters).map(({ label, score, start, end }) =>
      [video.id, classes[label].name, start, end, score]),
  );
  save(name.replace(/[^\w.-]+/g, "_"), "text/csv", csv(["video", "label", "start", "end", "score"], rows));
}

function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A table as CSV. A text that spreadsheets would take for a formula gets an apostrophe. */
function csv(heads, rows) {
  const cell = (value) => {
    let text = String(value).replace(/[\r\n\0]/g, " ");
    if (typeof value === "string" && /^'*[=+\-@\t]/.test(text)) text = `'${text}`;
    return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [heads, ...rows].map((row) => row.map(cell).join(",") + "\n").join("");
}
