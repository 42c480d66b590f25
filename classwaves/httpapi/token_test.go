package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/classwaves/rekey/classwaves/csrf"
	"github.com/classwaves/rekey/classwaves/keys"
)

// TestTheTokenBefore: a page that was open when its session got another token goes on for the grace period,
// and no longer.
func TestTheTokenBefore(t *testing.T) {
	s := start(t)
	b := s.browser(t).login("ada")
	rdb := s.redis.Client()
	tokens, err := csrf.New(csrf.Config{Redis: rdb})
	if err != nil {
		t.Fatal(err)
	}
	first := b.token
	if b.token, err = tokens.Rotate(t.Context(), b.cookie()); err != nil {
		t.Fatal(err)
	}
	if b.token == first {
		t.Fatal("the session has the token that it had")
	}
	before := func(r *http.Request) { r.Header.Set("X-CSRF-Token", first) }
	b.create("History")
	b.want(http.StatusCreated, "POST", "/api/v1/sessions", map[string]any{"title": "Geography"}, before)
	previous, err := keys.CSRFPrevious(b.cookie())
	if err != nil {
		t.Fatal(err)
	}
	if n := rdb.Del(t.Context(), previous).Val(); n != 1 { // as its expiry does
		t.Fatalf("%d keys of the token before", n)
	}
	if a := b.want(http.StatusForbidden, "POST", "/api/v1/sessions", map[string]any{"title": "Latin"}, before); a.code() != "CSRF_TOKEN_INVALID" {
		t.Errorf("got %s", a.body)
	}
	b.create("Music")
}
