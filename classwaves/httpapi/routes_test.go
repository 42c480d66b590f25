package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/classwaves/rekey/classwaves/httpapi"
)

// TestTeachersRoutesWantALogin: without one every route that needs it says 401, whatever else is wrong.
func TestTeachersRoutesWantALogin(t *testing.T) {
	s := start(t)
	b := s.browser(t)
	for _, r := range httpapi.Routes() {
		if !r.Teacher {
			continue
		}
		if a := b.do(r.Method, path(r.Pattern, "x"), nil); a.status != http.StatusUnauthorized || a.code() != "UNAUTHENTICATED" {
			t.Errorf("%s %s: got %d %s", r.Method, r.Pattern, a.status, a.body)
		}
	}
	forged := func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "cw_session", Value: strings.Repeat("a", 43)}) }
	b.want(http.StatusUnauthorized, "GET", "/api/v1/me", nil, forged)
	b.want(http.StatusUnauthorized, "GET", "/api/v1/me", nil, func(r *http.Request) { r.Header.Set("Cookie", "cw_session=a:b") })
}

// TestUnsafeRoutesWantTheToken walks all routes: what changes something for a teacher is refused without
// the session's token, with another's, and with one in the query; and what changes anything at all is
// refused to another site's page.
func TestUnsafeRoutesWantTheToken(t *testing.T) {
	s := start(t)
	b, other := s.browser(t).login("ada"), s.browser(t).login("bob")
	c := b.create("History")
	walked := 0
	for _, r := range httpapi.Routes() {
		if !r.Unsafe {
			continue
		}
		walked++
		at := path(r.Pattern, c.ID)
		crossOrigin := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
		if a := b.do(r.Method, at, nil, crossOrigin); a.status != http.StatusForbidden || a.code() != "CROSS_ORIGIN" {
			t.Errorf("%s %s from another site: got %d %s", r.Method, r.Pattern, a.status, a.body)
		}
		if !r.Teacher {
			continue
		}
		for name, attempt := range map[string]struct {
			path, token, code string
		}{
			"no token":     {at, "", "CSRF_TOKEN_MISSING"},
			"in the query": {at + "?csrf_token=" + b.token, "", "CSRF_TOKEN_MISSING"},
			"another's":    {at, other.token, "CSRF_TOKEN_INVALID"},
			"short":        {at, b.token[:63], "CSRF_TOKEN_INVALID"},
			"long":         {at, b.token + "0", "CSRF_TOKEN_INVALID"},
		} {
			a := b.do(r.Method, attempt.path, nil, func(r *http.Request) {
				r.Header.Del("X-CSRF-Token")
				if attempt.token != "" {
					r.Header.Set("X-CSRF-Token", attempt.token)
				}
			})
			if a.status != http.StatusForbidden || a.code() != attempt.code {
				t.Errorf("%s %s, %s: got %d %s, want 403 %s", r.Method, r.Pattern, name, a.status, a.body, attempt.code)
			}
		}
	}
	if walked < 8 {
		t.Errorf("only %d unsafe routes", walked)
	}
	b.want(http.StatusOK, "POST", path("/api/v1/sessions/{session}/start", c.ID), nil)
	b.want(http.StatusNoContent, "POST", "/api/v1/logout", nil)
	b.want(http.StatusUnauthorized, "POST", "/api/v1/logout", nil)
}

// TestStrangersSeeNothing: another teacher's class session is not there.
func TestStrangersSeeNothing(t *testing.T) {
	s := start(t)
	c := s.browser(t).login("ada").create("History")
	stranger := s.browser(t).login("bob")
	for _, r := range httpapi.Routes() {
		if !r.Teacher || !strings.Contains(r.Pattern, "{session}") {
			continue
		}
		for _, id := range []string{c.ID, "NOSUCHSESSION", "a%3Ab", "%00", strings.Repeat("x", 600)} {
			if a := stranger.do(r.Method, path(r.Pattern, id), nil); a.status != http.StatusNotFound {
				t.Errorf("%s %s of %.20s: got %d %s", r.Method, r.Pattern, id, a.status, a.body)
			}
		}
	}
	var list struct{ Sessions []class }
	stranger.want(http.StatusOK, "GET", "/api/v1/sessions", nil).into(t, &list)
	if len(list.Sessions) != 0 {
		t.Errorf("a stranger lists %v", list.Sessions)
	}
}

// TestGroupsKeepTheirOrder: a teacher sees the groups as they were named, wherever they are shown.
func TestGroupsKeepTheirOrder(t *testing.T) {
	s := start(t)
	b := s.browser(t).login("ada")
	made := b.create("History", "Red", "Blue", "Amber")
	var detail class
	b.want(http.StatusOK, "GET", "/api/v1/sessions/"+made.ID, nil).into(t, &detail)
	if len(made.Groups) != 3 || made.Groups[0].Name != "Red" || !slices.Equal(detail.Groups, made.Groups) {
		t.Errorf("made as %v and shown as %v", made.Groups, detail.Groups)
	}
}

// TestBadRequests: what cannot be read is said to be so.
func TestBadRequests(t *testing.T) {
	s := start(t)
	b := s.browser(t).login("ada")
	raw := func(media, body string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Content-Type", media)
			r.Body = http.NoBody
			if body != "" {
				r.Body = readCloser{strings.NewReader(body)}
				r.ContentLength = int64(len(body))
			}
		}
	}
	const sessions, json = "/api/v1/sessions", "application/json"
	for _, c := range []struct {
		name, method, path string
		change             func(*http.Request)
		status             int
	}{
		{"no body", "POST", sessions, raw(json, ""), 400},
		{"not JSON", "POST", sessions, raw(json, "title"), 400},
		{"unknown field", "POST", sessions, raw(json, `{"title":"x","admin":true}`), 400},
		{"two values", "POST", sessions, raw(json, `{"title":"x"}{}`), 400},
		{"wrong type", "POST", sessions, raw(json, `{"title":1}`), 400},
		{"form", "POST", sessions, raw("application/x-www-form-urlencoded", "title=x"), 415},
		{"empty title", "POST", sessions, raw(json, `{"title":"  "}`), 422},
		{"title with a newline", "POST", sessions, raw(json, `{"title":"a\nb"}`), 422},
		{"long title", "POST", sessions, raw(json, `{"title":"`+strings.Repeat("x", 201)+`"}`), 422},
		{"many groups", "POST", sessions, raw(json, `{"title":"x","groups":[`+strings.Repeat(`"g",`, 50)+`"g"]}`), 422},
		{"two groups of one name", "POST", sessions, raw(json, `{"title":"x","groups":["Red","Blue"," Red"]}`), 422},
		{"large body", "POST", sessions, raw(json, `{"title":"`+strings.Repeat("x", 70<<10)+`"}`), 413},
		{"no such route", "GET", "/api/v2", nil, 404},
		{"method", "DELETE", "/api/v1/me", nil, 405},
		{"method", "POST", "/healthz", nil, 405},
	} {
		change := []func(*http.Request){}
		if c.change != nil {
			change = append(change, c.change)
		}
		a := b.do(c.method, c.path, nil, change...)
		if a.status != c.status || a.code() == "" {
			t.Errorf("%s: %s %s: got %d %s, want %d with a code", c.name, c.method, c.path, a.status, a.body, c.status)
		}
		if a.status == http.StatusMethodNotAllowed && a.header.Get("Allow") == "" {
			t.Errorf("%s %s: 405 without Allow", c.method, c.path)
		}
	}
	if a := b.do("GET", "/api/v1/me", nil); a.status != http.StatusOK {
		t.Errorf("after all that: %d %s", a.status, a.body)
	}
}

// TestTextsOfAnyScript: what people write in their own script and with their own keyboard is taken and comes
// back as it was; what nobody can see, or what turns the text around it, is not.
func TestTextsOfAnyScript(t *testing.T) {
	s := start(t)
	b := s.browser(t).login("ada")
	for name, c := range map[string]struct {
		title  string
		status int
	}{
		"ideographic space":   {"数学\u3000一年", 201},
		"no-break space":      {"Qui suis-je\u00a0?", 201},
		"Persian":             {"علی\u200cرضا", 201},
		"family":              {"\U0001f468\u200d\U0001f469\u200d\U0001f467", 201},
		"combining":           {"Zoe\u0308", 201},
		"nothing but joiners": {"\u200c\u200d", 422},
		"turned around":       {"abc\u202edef", 422},
		"zero width":          {"a\u200bb", 422},
		"line separator":      {"a\u2028b", 422},
		"NUL":                 {"a\x00b", 422},
	} {
		a := b.do("POST", "/api/v1/sessions", map[string]any{"title": c.title})
		if a.status != c.status {
			t.Errorf("%s: got %d %s, want %d", name, a.status, a.body, c.status)
			continue
		}
		var made struct{ Title string }
		if a.into(t, &made); c.status == 201 && made.Title != c.title {
			t.Errorf("%s: came back as %q", name, made.Title)
		}
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// TestHeaders: every answer, of pages and errors too, carries a request id of its own and what keeps
// browsers safe.
func TestHeaders(t *testing.T) {
	s := start(t)
	b := s.browser(t)
	seen := make(map[string]bool)
	for _, at := range []string{"/healthz", "/api/v1/me", "/nothing", "/login", "/join", "/dashboard", "/static/api.js", "/openapi.yaml", "/"} {
		a := b.do("GET", at, nil, func(r *http.Request) { r.Header.Set("X-Request-Id", "mine") })
		id := a.header.Get("X-Request-Id")
		if id == "" || id == "mine" || seen[id] {
			t.Errorf("%s: request id %q", at, id)
		}
		seen[id] = true
		for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Permissions-Policy", "Cross-Origin-Opener-Policy"} {
			if a.header.Get(h) == "" {
				t.Errorf("%s: no %s", at, h)
			}
		}
		if strings.Contains(a.header.Get("Content-Security-Policy"), "unsafe") {
			t.Errorf("%s: %s", at, a.header.Get("Content-Security-Policy"))
		}
		if a.header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: HSTS without HTTPS", at)
		}
	}
}
