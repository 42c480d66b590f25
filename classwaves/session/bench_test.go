package session_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/internal/beside"
	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/internal/redistest"
)

// BenchmarkAuthenticate is a request with a session, beside one GET.
func BenchmarkAuthenticate(b *testing.B) {
	rdb := redistest.Shared(b).Client()
	p := start(b, rdb, session.NewMemory())
	who := loggedIn(b, p, "anna")
	name := sessionKey(b, who.cookie)
	r := httptest.NewRequest(http.MethodGet, "/me", nil)
	r.RemoteAddr = who.addr
	r.Header.Set("User-Agent", who.agent)
	r.AddCookie(&http.Cookie{Name: session.CookieName, Value: who.cookie})
	var failed error
	handler := p.sessions.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, failed = p.sessions.Authenticate(r.Context())
	}))
	beside.Bare(b,
		func() error {
			handler.ServeHTTP(httptest.NewRecorder(), r)
			return failed
		},
		func() error { return rdb.Get(b.Context(), name).Err() })
}

// BenchmarkLogin is a login that displaces another, beside the commands of an unsafe one: a look at the
// set, a SET, an SADD, an EXPIRE, and the end of the oldest.
func BenchmarkLogin(b *testing.B) {
	rdb := redistest.Shared(b).Client()
	p := start(b, rdb, session.NewMemory())
	for range 3 {
		loggedIn(b, p, "anna")
	}
	bareSet, bareKey := setKey(b, "bare"), sessionKey(b, "bare")
	r := httptest.NewRequest(http.MethodGet, "/login/anna", nil)
	beside.Bare(b,
		func() error {
			p.http.ServeHTTP(httptest.NewRecorder(), r)
			return nil
		},
		func() error {
			if err := rdb.SMembers(b.Context(), bareSet).Err(); err != nil {
				return err
			}
			_, err := rdb.TxPipelined(b.Context(), func(tx redis.Pipeliner) error {
				tx.Set(b.Context(), bareKey, "value", time.Hour)
				tx.SAdd(b.Context(), bareSet, "bare")
				tx.Expire(b.Context(), bareSet, time.Hour)
				tx.Unlink(b.Context(), bareKey+"old")
				tx.SRem(b.Context(), bareSet, "old")
				return nil
			})
			return err
		})
}
