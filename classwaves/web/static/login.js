import { byId, call } from "/static/api.js";

byId("login").addEventListener("submit", async (e) => {
  e.preventDefault();
  byId("error").textContent = "";
  try {
    await call("POST", "/api/v1/login", { email: byId("email").value, password: byId("password").value });
    location.assign("/dashboard");
  } catch (err) {
    byId("error").textContent = err.message;
  }
});
