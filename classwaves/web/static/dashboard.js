import { Refused, byId, call, follow, setToken } from "/static/api.js";

let current = null, live = null;

// attempt runs what may fail, and shows why it did. Whoever is not logged in goes to the login.
async function attempt(what) {
  byId("error").textContent = "";
  try {
    await what();
  } catch (err) {
    if (err instanceof Refused && err.status === 401) {
      location.assign("/login");
      return;
    }
    byId("error").textContent = err.message;
  }
}

async function list() {
  const { sessions } = await call("GET", "/api/v1/sessions");
  byId("sessions").replaceChildren(...sessions.map((s) => {
    const row = document.createElement("tr");
    for (const text of [s.title, s.state]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(cell);
    }
    const cell = document.createElement("td"), button = document.createElement("button");
    button.textContent = "Open";
    button.className = "quiet";
    button.addEventListener("click", () => attempt(() => open(s.id)));
    cell.append(button);
    row.append(cell);
    return row;
  }));
}

const shares = new Set(["averageEngagement", "averageParticipation"]);

let shown = { session: null, version: 0 };

// show draws the figures, unless newer ones of the same class session are there already.
function show(metrics) {
  const { id } = current, version = metrics.version ?? 0;
  if (shown.session === id && version < shown.version) return;
  shown = { session: id, version };
  for (const name of ["participants", "activeGroups", "readyGroups", "averageEngagement", "averageParticipation", "activeAlerts"]) {
    if (metrics[name] === undefined) continue;
    byId(name).textContent = shares.has(name) ? `${Math.round(metrics[name])} %` : metrics[name];
  }
}

async function open(id) {
  current = await call("GET", `/api/v1/sessions/${encodeURIComponent(id)}`);
  byId("live").hidden = false;
  byId("live-title").textContent = current.title;
  byId("live-code").textContent = current.accessCode ?? "none any more";
  byId("live-state").textContent = current.state;
  if (live) live.stop();
  const figures = async () => {
    try {
      show(await call("GET", `/api/v1/sessions/${encodeURIComponent(id)}/analytics`));
    } catch (err) {
      if (!(err instanceof Refused && err.status === 404)) throw err;
      show({ participants: 0, activeGroups: 0, readyGroups: 0, averageEngagement: 0, averageParticipation: 0, activeAlerts: 0 });
    }
  };
  live = follow(id, (message) => {
    if (message.kind === "metrics") show(message.payload);
    if (message.kind === "resync") attempt(figures); // something may have been missed
    if (message.kind === "state") {
      byId("live-state").textContent = message.payload.state;
      attempt(list);
    }
  });
  await figures();
}

byId("create").addEventListener("submit", (e) => {
  e.preventDefault();
  attempt(async () => {
    const groups = byId("new-groups").value.split(",").map((g) => g.trim()).filter(Boolean);
    const made = await call("POST", "/api/v1/sessions", { title: byId("new-title").value, groups });
    byId("new-title").value = "";
    await list();
    await open(made.id);
  });
});

for (const action of ["start", "pause", "end"]) {
  byId(action).addEventListener("click", () => attempt(async () => {
    const changed = await call("POST", `/api/v1/sessions/${encodeURIComponent(current.id)}/${action}`);
    byId("live-state").textContent = changed.state;
    await list();
  }));
}

for (const path of ["logout", "logout-everywhere"]) {
  byId(path).addEventListener("click", () => attempt(async () => {
    await call("POST", `/api/v1/${path}`);
    location.assign("/login");
  }));
}

attempt(async () => {
  await list(); // also where there is no token to be had
  const me = await call("GET", "/api/v1/me");
  setToken(me.csrfToken);
  byId("teacher").textContent = me.teacher.name;
});
