// The server's HTTP interface. Knows addresses and errors, nothing about the page.

const TOKEN = new URLSearchParams(location.search).get("token") ?? "";
const TIMEOUT_MS = 15000;

/** The server was reached and said no. */
class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The server was not reached, or failed on its side: worth trying again. */
export class Unreachable extends Error {}

const path = (id) => id.split("/").map(encodeURIComponent).join("/");

/** A file as a blob. */
async function download(address) {
  let response;
  try {
    response = await fetch(address, { headers: { "X-Hrpro-Token": TOKEN }, cache: "no-store" });
  } catch (error) {
    throw new Unreachable(error.message);
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => null);
  throw new Refused(answer?.error ?? response.statusText, response.status);
}

async function request(address, body) {
  let response;
  try {
    response = await fetch(address, {
      method: body === undefined ? "GET" : "POST",
      headers: { "X-Hrpro-Token": TOKEN, ...(body && { "Content-Type": "application/json" }) },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
      cache: "no-store",
    });
  } catch (error) {
    throw new Unreachable(error.message);
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  const reason = answer?.error ?? `${response.status} ${response.statusText}`.trim();
  if (response.status >= 500 || response.ok) throw new Unreachable(reason);
  throw new Refused(reason, response.status);
}

export const api = {
  state: () => request("/api/state"),
  video: (id, client) => request(`/api/videos/${path(id)}?client=${encodeURIComponent(client)}`),
  frames: (id) => request(`/api/frames/${path(id)}`),
  act: (id, body) => request(`/api/videos/${path(id)}/actions`, body),
  addClass: (name) => request("/api/classes", { name }),
  editClasses: (edit) => request("/api/classes/edits", { edit }),
  settings: (values) => request("/api/settings", values),
  events: (suffix) => download(`/api/events.${suffix}`),
  changes: (since) => request(`/api/changes?since=${since}`),
  media: (id) => `/media/${path(id)}?token=${encodeURIComponent(TOKEN)}`,
};
