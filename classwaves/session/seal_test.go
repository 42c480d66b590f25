package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/session"
	"github.com/classwaves/rekey/internal/redistest"
)

type ctx = context.Context

func errorAs[T error](err error) (found T, ok bool) {
	ok = errors.As(err, &found)
	return found, ok
}

// TestIntegrity: what was changed, moved or sealed by somebody else is absent, counted by its reason, and left
// where it is.
func TestIntegrity(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	p := start(t, rdb, session.NewMemory())
	owner, other := loggedIn(t, p, "anna"), loggedIn(t, p, "mallory")
	good := rdb.Get(t.Context(), sessionKey(t, owner.cookie)).Val()
	others := rdb.Get(t.Context(), sessionKey(t, other.cookie)).Val()
	parts := strings.Split(good, ".")
	with := func(i int, part string) string {
		changed := append([]string(nil), parts...)
		changed[i] = part
		return strings.Join(changed, ".")
	}
	flip := func(s string, at int) string {
		other := "A"
		if s[at] == 'A' {
			other = "B"
		}
		return s[:at] + other + s[at+1:]
	}
	for _, tt := range []struct{ name, value, reason string }{
		{"another session's, moved here", others, "tampered"},
		{"a changed ciphertext", with(4, flip(parts[4], 40)), "tampered"},
		{"a changed nonce", with(4, flip(parts[4], 2)), "tampered"},
		{"a changed tag", with(4, parts[4][:len(parts[4])-6]+flip(parts[4][len(parts[4])-6:], 2)), "tampered"},
		{"cut short", good[:len(good)-8], "tampered"},
		{"no ciphertext", with(4, ""), "tampered"},
		{"no base64", with(4, "!!!!"), "tampered"},
		{"another order", with(1, "1"), "tampered"},
		{"another time", with(2, "99999999999999"), "tampered"},
		{"another key's name", with(3, "k2"), "key"},
		{"another version", with(0, "cw2"), "format"},
		{"one part more", good + ".x", "format"},
		{"an order that is no number", with(1, "1e9"), "format"},
		{"an order too long", with(1, strings.Repeat("9", 17)), "format"},
		{"JSON", `{"a":1}`, "format"},
		{"nothing", "", "format"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := counter(t, p.sessions, "classwaves_session_integrity_failures_total", tt.reason)
			must(t, rdb.Set(t.Context(), sessionKey(t, owner.cookie), tt.value, time.Hour).Err())
			owner.copy().want(t, p, "/me", http.StatusUnauthorized)
			if got := counter(t, p.sessions, "classwaves_session_integrity_failures_total", tt.reason); got != before+1 {
				t.Errorf("counted %v times as %s", got-before, tt.reason)
			}
			if got := rdb.Get(t.Context(), sessionKey(t, owner.cookie)).Val(); got != tt.value {
				t.Error("the value was changed")
			}
		})
	}
	must(t, rdb.Set(t.Context(), sessionKey(t, owner.cookie), good, time.Hour).Err())
	owner.want(t, p, "/me", http.StatusOK) // the value was good all the time
}

// TestTamperedWhileSuspect: the database knows the session, and still a changed value is refused.
func TestTamperedWhileSuspect(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	backing := session.NewMemory()
	p := start(t, rdb, backing)
	b, other := loggedIn(t, p, "anna"), loggedIn(t, p, "mallory")
	moved := rdb.Get(t.Context(), sessionKey(t, other.cookie)).Val()
	must(t, rdb.Set(t.Context(), sessionKey(t, b.cookie), moved, time.Hour).Err())
	suspect := prepare(t, rdb, backing)
	if !suspect.sessions.Suspect() {
		t.Fatal("a process trusts before its first beat")
	}
	b.want(t, suspect, "/me", http.StatusUnauthorized)
}

// TestRotation: with the new key first and the old one behind, no session ends, and each is sealed with the
// new one at its next request. Without the old key its sessions are absent, and counted.
func TestRotation(t *testing.T) {
	var now clock
	rdb := redistest.Shared(t).Client()
	backing := session.NewMemory()
	keys := func(ids ...string) func(*session.Config) {
		return func(c *session.Config) {
			c.Keys, c.Now = nil, now.now
			for _, id := range ids {
				c.Keys = append(c.Keys, key(t, id))
			}
		}
	}
	before := start(t, rdb, backing, keys("k1"))
	used, unused := loggedIn(t, before, "anna"), loggedIn(t, before, "anna")
	between := start(t, rdb, backing, keys("k2", "k1"))
	used.want(t, between, "/me", http.StatusOK)
	if value := rdb.Get(t.Context(), sessionKey(t, used.cookie)).Val(); strings.Split(value, ".")[3] != "k2" {
		t.Error("the session is still sealed with the old key")
	}
	used.want(t, before, "/me", http.StatusUnauthorized) // the old process has no k2: roll out the ring first
	used.want(t, between, "/me", http.StatusOK)

	after := start(t, rdb, backing, keys("k2"))
	used.want(t, after, "/me", http.StatusOK)
	unused.want(t, after, "/me", http.StatusUnauthorized)
	if got := counter(t, after.sessions, "classwaves_session_integrity_failures_total", "key"); got == 0 {
		t.Error("not counted as a missing key")
	}
	if !inRedis(t, rdb, unused.cookie) {
		t.Error("what another ring can open was removed")
	}
	unused.want(t, between, "/me", http.StatusOK)
}

// TestDatabaseHoldsNoID: whoever reads the database has no cookie.
func TestDatabaseHoldsNoID(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	backing := session.NewMemory()
	p := start(t, rdb, backing)
	b := loggedIn(t, p, "anna")
	r, found, err := backing.FindSession(t.Context(), session.HashID(b.cookie))
	must(t, err)
	if !found || strings.Contains(fmt.Sprintf("%+v", r), b.cookie) {
		t.Errorf("found %v, or the record shows the id", found)
	}
	value := rdb.Get(t.Context(), sessionKey(t, b.cookie)).Val()
	if strings.Contains(value, "anna") || strings.Contains(value, b.cookie) {
		t.Error("the value in Redis shows what it should hide")
	}
}

func TestParseKey(t *testing.T) {
	const secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	for _, text := range []string{"k1:" + secret, "k1:" + strings.TrimRight(secret, "="), "a_b-C9:" + strings.Repeat("_-", 21) + "8="} {
		k, err := session.ParseKey(text)
		if err != nil {
			t.Errorf("%v", err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if shown := fmt.Sprintf(verb, k); !strings.Contains(shown, k.ID()) || strings.Contains(shown, "0123") || strings.Contains(shown, "48 49") || strings.Contains(shown, "0x30") {
				t.Errorf("%s shows the key: %s", verb, shown)
			}
		}
	}
	for _, text := range []string{"", "k1", ":" + secret, "k 1:" + secret, "k.1:" + secret, "k1:", "k1:c2hvcnQ=", "k1:" + secret + secret, "k1:!!!", strings.Repeat("k", 33) + ":" + secret} {
		_, err := session.ParseKey(text)
		if err == nil || !strings.Contains(err.Error(), "openssl rand -base64 32") || strings.Contains(err.Error(), "MDEy") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
