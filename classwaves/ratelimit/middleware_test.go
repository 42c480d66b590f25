package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/ratelimit"
	"github.com/classwaves/rekey/internal/redistest"
)

func user(r *http.Request) string { return r.Header.Get("X-User") }

var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

// ask sends one request of a user.
func ask(h http.Handler, who string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-User", who)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// heads are the headers that a test looks at.
type heads struct {
	status                              int
	limit, remaining, reset, retryAfter string
}

func headsOf(r *http.Response) heads {
	return heads{r.StatusCode, r.Header.Get("RateLimit-Limit"), r.Header.Get("RateLimit-Remaining"),
		r.Header.Get("RateLimit-Reset"), r.Header.Get("Retry-After")}
}

func TestMiddleware(t *testing.T) {
	l := newLimiter(t, redistest.Shared(t).Client())
	limit := ratelimit.Limit{Name: "route", Points: 2, Window: 3600 * time.Second, Block: 7200 * time.Second}
	h := l.Middleware(limit, user, nil)(ok)
	for i, want := range []heads{
		{204, "2", "1", "3600", ""}, {204, "2", "0", "3600", ""}, {429, "2", "0", "7200", "7200"}, {429, "2", "0", "7200", "7200"},
	} {
		got := headsOf(ask(h, "u1"))
		// Redis's clock may have gone on by a second since the window began.
		for _, s := range []*string{&got.reset, &got.retryAfter} {
			switch *s {
			case "3599":
				*s = "3600"
			case "7199":
				*s = "7200"
			}
		}
		if got != want {
			t.Errorf("request %d: got %+v, want %+v", i+1, got, want)
		}
	}
	if got := ask(h, ""); got.StatusCode != http.StatusBadRequest {
		t.Errorf("without a subject: %d, want 400", got.StatusCode)
	}
	if got := ask(h, "u2"); got.StatusCode != http.StatusNoContent {
		t.Errorf("another user: %d", got.StatusCode)
	}
}

func TestMiddlewareAsksTheHandlerForTheBody(t *testing.T) {
	l := newLimiter(t, redistest.Shared(t).Client())
	tooMany := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if w.Header().Get("Retry-After") == "" {
			t.Error("the headers come after the body")
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	h := l.Middleware(ratelimit.Limit{Name: "route", Points: 1, Window: time.Hour}, user, tooMany)(ok)
	ask(h, "u1")
	got := ask(h, "u1")
	if got.StatusCode != http.StatusTooManyRequests || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", got.StatusCode, got.Header.Get("Content-Type"))
	}
}

func TestHeadersTellTheTighterLimit(t *testing.T) {
	l := newLimiter(t, redistest.Shared(t).Client())
	tight := ratelimit.Limit{Name: "tight", Points: 3, Window: time.Hour}
	wide := ratelimit.Limit{Name: "wide", Points: 50, Window: time.Hour}
	for name, h := range map[string]http.Handler{
		"tight outside": l.Middleware(tight, user, nil)(l.Middleware(wide, user, nil)(ok)),
		"tight inside":  l.Middleware(wide, user, nil)(l.Middleware(tight, user, nil)(ok)),
	} {
		if got := headsOf(ask(h, name)); got.limit != "3" || got.remaining != "2" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// Refused by the one with more points left at first.
	single := ratelimit.Limit{Name: "once", Points: 1, Window: time.Hour}
	h := l.Middleware(single, user, nil)(ok)
	ask(h, "u1")
	if got := headsOf(ask(l.Middleware(wide, user, nil)(h), "u1")); got.status != 429 || got.limit != "1" {
		t.Errorf("refused by the inner one: %+v", got)
	}
}

// An outage alone is never a 429: as many requests pass as the limit allows, and only then none.
func TestMiddlewareInAnOutage(t *testing.T) {
	s := redistest.Start(t)
	l := newLimiter(t, s.Client(once))
	s.Kill()
	h := l.Middleware(ratelimit.Limit{Name: "route", Points: 3, Window: time.Hour, Block: time.Hour}, user, nil)(ok)
	for i, want := range []int{204, 204, 204, 429} {
		got := headsOf(ask(h, "u1"))
		if got.status != want || got.limit != "3" || (want == 429) != (got.retryAfter == "3600") {
			t.Errorf("request %d: %+v, want %d", i+1, got, want)
		}
	}
}
