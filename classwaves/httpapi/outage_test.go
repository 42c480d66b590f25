package httpapi_test

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
)

// TestRedisGoesAndComesBack: without Redis a login is known from the database, what needs a token is
// refused with 503, reads are served; what was changed meanwhile is seen when it is back, also where the
// cache still holds what was before.
func TestRedisGoesAndComesBack(t *testing.T) {
	s := start(t)
	b := s.browser(t).login("ada")
	c := b.create("History")
	at := "/api/v1/sessions/" + c.ID
	b.want(http.StatusOK, "POST", at+"/start", nil)
	b.want(http.StatusOK, "GET", at, nil) // cached for ten minutes
	s.redis.Kill()
	b.want(http.StatusOK, "GET", "/api/v1/sessions", nil)
	b.want(http.StatusOK, "GET", at+"/groups", nil)
	if a := b.want(http.StatusServiceUnavailable, "POST", at+"/pause", nil); a.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	b.want(http.StatusServiceUnavailable, "GET", "/api/v1/me", nil) // it wants the token
	b.want(http.StatusUnauthorized, "GET", "/api/v1/sessions", nil, func(r *http.Request) { r.Header.Set("Cookie", "cw_session="+strings.Repeat("a", 43)) })
	late := s.browser(t) // and somebody logs in
	late.want(http.StatusOK, "POST", "/api/v1/login", map[string]string{"email": "ada@example.org", "password": secret})
	s.redis.Restart()
	var me struct{ CSRFToken string }
	redistest.WaitFor(t, time.Minute, func() bool {
		a := b.do("GET", "/api/v1/me", nil)
		if a.status == http.StatusOK {
			a.into(t, &me)
		}
		return a.status == http.StatusOK
	})
	b.token = me.CSRFToken // the server came back empty, and there is another one
	b.want(http.StatusOK, "POST", at+"/pause", nil)
	var seen class
	b.want(http.StatusOK, "GET", at, nil).into(t, &seen)
	if seen.State != "paused" {
		t.Errorf("after the pause the detail says %s", seen.State)
	}
	late.want(http.StatusOK, "GET", "/api/v1/me", nil)
}

// TestAnOutageOfTheTokensIsLoggedOnce: each login without a token is counted, and the log has one line for all
// of them.
func TestAnOutageOfTheTokensIsLoggedOnce(t *testing.T) {
	s := start(t)
	s.redis.Kill()
	const logins = 5
	for range logins {
		s.browser(t).want(http.StatusOK, "POST", "/api/v1/login", map[string]string{"email": "ada@example.org", "password": secret})
	}
	if n := strings.Count(s.log.String(), "CSRF tokens are unavailable"); n != 1 {
		t.Errorf("the log says %d times that tokens are unavailable, want once", n)
	}
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, "CSRF") && !strings.Contains(line, "CSRF tokens are unavailable") {
			t.Errorf("the log says of one login: %s", line)
		}
	}
	shown := string(s.browser(t).want(http.StatusOK, "GET", "/metrics", nil).body)
	m := regexp.MustCompile(`(?m)^classwaves_csrf_redis_failures_total (\d+)$`).FindStringSubmatch(shown)
	if m == nil {
		t.Fatal("failed steps are not among the metrics")
	}
	if n, err := strconv.Atoi(m[1]); err != nil || n < logins {
		t.Errorf("%s failed steps are counted, want %d or more", m[1], logins)
	}
}

// TestLogoutWithoutRedis: who logs out while Redis is away is logged out at once, and when it is back with
// all that it held before. Other changes are refused meanwhile, and no page of another site can log
// anybody out.
func TestLogoutWithoutRedis(t *testing.T) {
	s := startOn(t, redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync no", "save ''")))
	leaves, everywhere, other, stays := s.browser(t).login("ada"), s.browser(t).login("bob"), s.browser(t).login("bob"), s.browser(t).login("ada")
	for _, b := range []*browser{leaves, everywhere, other, stays} {
		b.want(http.StatusOK, "GET", "/api/v1/me", nil)
	}
	cookies := make(map[*browser]string)
	for _, b := range []*browser{leaves, everywhere, other} {
		cookies[b] = b.cookie()
	}
	s.redis.Kill()
	leaves.want(http.StatusServiceUnavailable, "POST", "/api/v1/sessions", map[string]any{"title": "History"})
	for site, h := range map[string]func(*http.Request){
		"another site's page": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"another site's form": func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"no token":            func(r *http.Request) { r.Header.Del("X-CSRF-Token") },
	} {
		if a := leaves.do("POST", "/api/v1/logout", nil, h); a.status != http.StatusForbidden {
			t.Errorf("%s: got %d %s, want 403", site, a.status, a.body)
		}
	}
	leaves.want(http.StatusNoContent, "POST", "/api/v1/logout", nil)
	everywhere.want(http.StatusOK, "POST", "/api/v1/logout-everywhere", nil)
	ended := func() {
		t.Helper()
		for _, cookie := range cookies {
			s.browser(t).want(http.StatusUnauthorized, "GET", "/api/v1/sessions", nil, func(r *http.Request) { r.Header.Set("Cookie", "cw_session="+cookie) })
		}
	}
	ended()
	s.redis.Restart()
	redistest.WaitFor(t, time.Minute, func() bool {
		ended()
		return stays.do("GET", "/api/v1/me", nil).status == http.StatusOK
	})
	ended()
}
