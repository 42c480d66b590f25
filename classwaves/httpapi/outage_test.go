package httpapi_test

import (
	"net/http"
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
