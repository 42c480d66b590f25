// The API as the pages use it: JSON both ways, the CSRF token on what changes something.
//
// Until the session's token is known there is one that has its form. Where the cache is away that is enough to
// log out; otherwise it is not the session's, which is then fetched.
let token = "0".repeat(64);

export const setToken = (t) => { token = t; };

export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

// call asks the API. Where the session has another token by now, it is fetched, and the request sent
// once more.
export async function call(method, path, body) {
  try {
    return await ask(method, path, body);
  } catch (err) {
    if (!(err instanceof Refused) || err.code !== "CSRF_TOKEN_INVALID") throw err;
    setToken((await ask("GET", "/api/v1/me")).csrfToken);
    return ask(method, path, body);
  }
}

async function ask(method, path, body) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRF-Token"] = token;
  const response = await fetch(path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.status === 204) return null;
  const answer = await response.json();
  if (!response.ok) throw new Refused(response.status, answer.error.code, answer.error.message);
  return answer;
}

// follow opens the WebSocket of a class session and opens it again when it ends.
export function follow(session, onMessage) {
  let socket, stopped = false, wait = 500;
  const open = () => {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/api/v1/live/${encodeURIComponent(session)}`);
    socket.onopen = () => { wait = 500; };
    socket.onmessage = (e) => onMessage(JSON.parse(e.data));
    socket.onclose = () => {
      if (stopped) return;
      setTimeout(open, wait);
      wait = Math.min(2 * wait, 10000);
    };
  };
  open();
  return {
    send: (message) => { if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message)); },
    stop: () => { stopped = true; socket.close(); },
  };
}

export const byId = (id) => document.getElementById(id);
