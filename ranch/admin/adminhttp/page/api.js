// Requests to the server, with the token of the login.

const storageKey = "goranch-login"; // of this tab only

let token = sessionStorage.getItem(storageKey) || "";

export function hasToken() { return token !== ""; }

export function setToken(value) {
  token = value;
  if (value) sessionStorage.setItem(storageKey, value);
  else sessionStorage.removeItem(storageKey);
}

// RequestError is an answer with an error, which has the status of the answer and a message.
export class RequestError extends Error {
  constructor(status, body) {
    super(body?.error?.message || "status " + status);
    this.status = status;
    if (body?.error?.suggestion) this.message += "; did you mean " + body.error.suggestion + "?";
  }
}

function headers(more) {
  return token ? { ...more, Authorization: "Bearer " + token } : { ...more };
}

async function request(path, options) {
  const r = await fetch(path, { cache: "no-store", ...options });
  const body = r.status === 204 ? {} : await r.json().catch(() => null);
  if (!r.ok) throw new RequestError(r.status, body);
  return body;
}

// get returns the JSON of a path; parameters that are empty are not sent.
export function get(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== "" && value != null) query.set(name, value);
  return request(path + (query.size ? "?" + query : ""), { headers: headers() });
}

// run runs a command and returns its result.
export function run(command, args, flags = {}) {
  return request("/commands/" + encodeURIComponent(command), {
    method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify({ args: args.map(String), flags }),
  });
}

// logIn exchanges the ticket of a link for a login.
export async function logIn(ticket) {
  const login = await request("/session", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ ticket }),
  });
  setToken(login.token);
}

export async function logOut() {
  try {
    await request("/session", { method: "DELETE", headers: headers() });
  } finally {
    setToken("");
  }
}

// events calls onEvent with each event of a stream until it ends. An EventSource could not send the
// token.
export async function events(kinds, onOpen, onEvent) {
  const r = await fetch("/events?kinds=" + kinds, { headers: headers(), cache: "no-store" });
  if (!r.ok) throw new RequestError(r.status, await r.json().catch(() => null));
  onOpen();
  const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      let name = "", data = "";
      for (const line of part.split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        if (line.startsWith("data: ")) data += line.slice(6);
      }
      if (name) onEvent(name, JSON.parse(data));
    }
  }
}
