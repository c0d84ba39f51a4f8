// The verified events of all videos as a file.

import { api } from "./api.js";
import { el } from "./web/dom.js";

/** Let the buttons of an element download the events. */
export function offerDownloads(root, toast) {
  for (const button of root.querySelectorAll("[data-download]"))
    button.addEventListener("click", async () => {
      toast.asked("gathering the events …");
      try {
        toast.answered(`saved ${await save(button.dataset.download)}`);
      } catch (error) {
        toast.fail(error.message);
      }
    });
}

/** Hand a file over to the browser; returns its name. */
async function save(suffix) {
  const response = await api.events(suffix);
  const header = response.headers.get("Content-Disposition");
  const name = decodeURIComponent(header.split("filename*=UTF-8''").at(-1));
  const address = URL.createObjectURL(await response.blob());
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  return name;
}
