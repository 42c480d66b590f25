package httpapi

import (
	"context"
	"net/http"
	"time"
)

// healthz says that the process serves. What is behind it is the business of readiness: restarting
// the process would not bring a store back.
func (a *API) healthz(w http.ResponseWriter, _ *http.Request) error {
	write(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
	return nil
}

// readyTimeout bounds each question that readiness asks.
const readyTimeout = 500 * time.Millisecond

// readyz says whether requests can be answered: with either store there, logins are checked and reads
// are served, and status says "degraded"; with neither, 503.
func (a *API) readyz(w http.ResponseWriter, r *http.Request) error {
	ask := func(ping func(context.Context) error) string {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if ping == nil || ping(ctx) != nil {
			return "unavailable"
		}
		return "ok"
	}
	type body struct {
		Status   string `json:"status"`
		Redis    string `json:"redis"`
		Database string `json:"database"`
	}
	b := body{Redis: ask(a.c.PingRedis), Database: ask(a.c.Database.Ping)}
	status := http.StatusOK
	switch {
	case b.Redis == "ok" && b.Database == "ok":
		b.Status = "ok"
	case b.Redis == "ok" || b.Database == "ok":
		b.Status = "degraded"
	default:
		b.Status, status = "unavailable", http.StatusServiceUnavailable
	}
	write(w, status, b)
	return nil
}
