// Files that the page makes itself.

/** Offer a text as a file. */
export function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A table as CSV. A text that spreadsheets would take for a formula gets an apostrophe. */
export function csv(heads, rows) {
  const cell = (value) => {
    let text = String(value).replace(/[\r\n\0]/g, " ");
    if (typeof value === "string" && /^'*[=+\-@\t]/.test(text)) text = `'${text}`;
    return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [heads, ...rows].map((row) => row.map(cell).join(",") + "\n").join("");
}
