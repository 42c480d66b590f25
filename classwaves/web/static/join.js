import { byId, call, follow } from "/static/api.js";

byId("join").addEventListener("submit", async (e) => {
  e.preventDefault();
  byId("error").textContent = "";
  try {
    const joined = await call("POST", "/api/v1/join", { code: byId("code").value, name: byId("name").value });
    byId("join").hidden = true;
    byId("class").hidden = false;
    byId("title").textContent = joined.title;
    byId("state").textContent = joined.state;
    const live = follow(joined.sessionId, (message) => {
      if (message.kind === "state") byId("state").textContent = message.payload.state;
    });
    byId("engagement").addEventListener("change", (change) => {
      live.send({ kind: "engagement", value: Number(change.target.value) });
    });
    byId("ready").addEventListener("click", () => live.send({ kind: "ready", value: 1 }));
    byId("alert").addEventListener("click", () => live.send({ kind: "alert", value: 1 }));
  } catch (err) {
    byId("error").textContent = err.message;
  }
});
