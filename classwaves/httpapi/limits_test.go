package httpapi_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/app"
	"github.com/classwaves/rekey/classwaves/httpapi"
	"github.com/classwaves/rekey/classwaves/ratelimit"
)

// TestLimitsLimit: with the limits of production the sixth login and the request after the hundredth
// are refused, with the time to wait; the old release let everything through.
func TestLimitsLimit(t *testing.T) {
	s := start(t, func(c *app.Config) { c.Limits = httpapi.Limits{} })
	b := s.browser(t)
	wrong := map[string]string{"email": "ada@example.org", "password": "wrong"}
	for range ratelimit.Auth.Points {
		b.want(http.StatusUnauthorized, "POST", "/api/v1/login", wrong)
	}
	a := b.want(http.StatusTooManyRequests, "POST", "/api/v1/login", map[string]string{"email": "ada@example.org", "password": secret})
	if a.code() != "TOO_MANY_REQUESTS" {
		t.Errorf("got %s", a.body)
	}
	if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 || n > 900 {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	spent := ratelimit.Auth.Points + 1
	for ; spent < ratelimit.General.Points; spent++ {
		if a := b.do("GET", "/api/v1/me", nil); a.status != http.StatusUnauthorized {
			t.Fatalf("request %d: %d", spent, a.status)
		}
	}
	b.want(http.StatusTooManyRequests, "GET", "/api/v1/me", nil)
	b.want(http.StatusOK, "GET", "/healthz", nil)
	// A client cannot choose its address: no proxy is trusted here.
	b.want(http.StatusTooManyRequests, "GET", "/api/v1/me", nil, func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") })
}

// TestATeachersWritesAreLimited: what changes something is limited by teacher, whatever the address.
func TestATeachersWritesAreLimited(t *testing.T) {
	s := start(t, func(c *app.Config) {
		c.Limits.Write = ratelimit.Limit{Name: "write", Points: 2, Window: 10 * time.Minute, Block: 10 * time.Minute}
	})
	ada, again, bob := s.browser(t).login("ada"), s.browser(t).login("ada"), s.browser(t).login("bob")
	ada.create("History")
	again.create("Geography") // the same teacher elsewhere
	a := ada.want(http.StatusTooManyRequests, "POST", "/api/v1/sessions", map[string]any{"title": "Latin"})
	if n, err := strconv.Atoi(a.header.Get("Retry-After")); a.code() != "TOO_MANY_REQUESTS" || err != nil || n < 1 || n > 600 {
		t.Errorf("got %s with Retry-After %q", a.body, a.header.Get("Retry-After"))
	}
	ada.want(http.StatusOK, "GET", "/api/v1/sessions", nil) // reading is not limited by it
	bob.create("Music")
}

// TestLogsHoldNoIdentifiers: a lesson is played, and nothing that tells one person from another is in
// what was logged or counted.
func TestLogsHoldNoIdentifiers(t *testing.T) {
	s := start(t)
	b := s.browser(t).login("ada")
	c := b.create("History of Rome", "Red")
	student := s.browser(t)
	student.want(http.StatusCreated, "POST", "/api/v1/join", map[string]string{"code": c.AccessCode, "name": "Kim Student"})
	b.want(http.StatusOK, "GET", "/api/v1/sessions/"+c.ID+"/analytics", nil)
	b.want(http.StatusNotFound, "GET", "/api/v1/sessions/NOSUCHSESSION/analytics", nil)
	student.want(http.StatusUnauthorized, "POST", "/api/v1/login", map[string]string{"email": "ada@example.org", "password": "my secret"})
	s.redis.Kill()
	_ = b.do("GET", "/api/v1/sessions/"+c.ID, nil)
	_ = b.do("POST", "/api/v1/sessions/"+c.ID+"/start", nil)
	s.redis.Restart()
	shown := s.log.String() + string(b.want(http.StatusOK, "GET", "/metrics", nil).body)
	if !strings.Contains(shown, "route=/api/v1/sessions/{session}/analytics") {
		t.Fatal("nothing was logged")
	}
	secrets := map[string]string{
		"class session": c.ID, "access code": c.AccessCode, "group": c.Groups[0].ID, "CSRF token": b.token, "title": "History of Rome",
		"name": "Kim", "email": "ada@example.org", "password": "my secret", "unknown session": "NOSUCHSESSION",
	}
	for _, cookie := range b.http.Jar.Cookies(mustURL(t, s.URL())) {
		secrets["cookie "+cookie.Name] = cookie.Value
	}
	if len(secrets) < 10 {
		t.Fatal("the browser has no cookie")
	}
	for what, secret := range secrets {
		if strings.Contains(shown, secret) {
			t.Errorf("the %s is shown", what)
		}
	}
}
func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
