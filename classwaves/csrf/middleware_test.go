package csrf_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/csrf"
	"github.com/classwaves/rekey/internal/redistest"
)

// guarded is a handler behind the middleware; the session's id is in a header. It answers with the
// body that it could read, or the form.
func guarded(tokens *csrf.Tokens) http.Handler { return behind(tokens.Middleware) }

// middleware is either of the two.
type middleware func(func(*http.Request) (string, bool), func(http.ResponseWriter, *http.Request, int, string)) func(http.Handler) http.Handler

func behind(m middleware) http.Handler {
	sessionOf := func(r *http.Request) (string, bool) {
		id := r.Header.Get("Session")
		return id, id != ""
	}
	refuse := func(w http.ResponseWriter, _ *http.Request, status int, code string) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, code)
	}
	return m(sessionOf, refuse)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PostForm != nil {
			_, _ = io.WriteString(w, "form "+r.PostForm.Get("name"))
			return
		}
		_, _ = io.Copy(w, r.Body)
	}))
}

func ask(h http.Handler, method, target, contentType, body string, header http.Header) (int, string) {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Session", "s")
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for name, values := range header {
		r.Header.Del(name)
		for _, v := range values {
			r.Header.Add(name, v)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

const form = "application/x-www-form-urlencoded"

func TestMiddleware(t *testing.T) {
	tokens := newTokens(t, redistest.Shared(t).Client(), func(c *csrf.Config) { c.MaxForm = 1000 })
	right := token(t, tokens, "s")
	h := guarded(tokens)
	with := func(values ...string) http.Header { return http.Header{"X-Csrf-Token": values} }
	field := func(name, value string) string { return url.Values{name: {value}, "name": {"anna"}}.Encode() }
	multi := func(value string, more int) (contentType, body string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		must(t, w.WriteField("name", "anna"))
		must(t, w.WriteField(csrf.Field, value))
		must(t, w.WriteField("more", strings.Repeat("x", more)))
		must(t, w.Close())
		return w.FormDataContentType(), b.String()
	}
	multiType, multiBody := multi(right, 0)
	bigType, bigBody := multi(right, 2000)
	for _, tt := range []struct {
		name, method, target, contentType, body string
		header                                  http.Header
		status                                  int
		answer                                  string
	}{
		{"safe: GET", "GET", "/", "", "b", nil, 200, "b"},
		{"safe: HEAD", "HEAD", "/", "", "", nil, 200, ""},
		{"safe: OPTIONS", "OPTIONS", "/", "", "", nil, 200, ""},
		{"safe: TRACE", "TRACE", "/", "", "", nil, 200, ""},
		{"no session", "POST", "/", "", "b", http.Header{"Session": nil}, 200, "b"},
		{"header", "POST", "/", "application/json", `{"a":1}`, with(right), 200, `{"a":1}`},
		{"header, PUT", "PUT", "/", "", "b", with(right), 200, "b"},
		{"header, PATCH", "PATCH", "/", "", "b", with(right), 200, "b"},
		{"header, DELETE", "DELETE", "/", "", "", with(right), 200, ""},
		{"header, a method of somebody's", "PURGE", "/", "", "", with(right), 200, ""},
		{"nothing", "POST", "/", "", "", nil, 403, csrf.CodeMissing},
		{"nothing, a method of somebody's", "PURGE", "/", "", "", nil, 403, csrf.CodeMissing},
		{"nothing, a method in small letters", "get", "/", "", "", nil, 403, csrf.CodeMissing},
		{"a wrong header", "POST", "/", "", "", with("wrong"), 403, csrf.CodeInvalid},
		{"a header with the other length", "POST", "/", "", "", with(right + "0"), 403, csrf.CodeInvalid},
		{"the same header twice", "POST", "/", "", "b", with(right, right), 200, "b"},
		{"two headers", "POST", "/", "", "", with("wrong", right), 403, csrf.CodeMissing},
		{"an empty header", "POST", "/", "", "", with(""), 403, csrf.CodeMissing},
		{"the query", "POST", "/?csrf_token=" + right, "", "", nil, 403, csrf.CodeMissing},
		{"the query, with a form", "POST", "/?csrf_token=" + right, form, "name=anna", nil, 403, csrf.CodeMissing},
		{"a form", "POST", "/", form, field(csrf.Field, right), nil, 200, "form anna"},
		{"a form with a parameter and in capitals", "POST", "/", "Application/X-WWW-Form-Urlencoded; charset=utf-8", field(csrf.Field, right), nil, 200, "form anna"},
		{"a wrong form", "POST", "/", form, field(csrf.Field, "wrong"), nil, 403, csrf.CodeInvalid},
		{"a form without the field", "POST", "/", form, field("other", right), nil, 403, csrf.CodeMissing},
		{"a wrong header and a right form", "POST", "/", form, field(csrf.Field, right), with("wrong"), 403, csrf.CodeInvalid},
		{"an empty header and a right form", "POST", "/", form, field(csrf.Field, right), with(""), 200, "form anna"},
		{"a form that is too long", "POST", "/", form, field(csrf.Field, right) + "&more=" + strings.Repeat("x", 2000), nil, 403, csrf.CodeMissing},
		{"a multipart form", "POST", "/", multiType, multiBody, nil, 200, "form anna"},
		{"a multipart form that is too long", "POST", "/", bigType, bigBody, nil, 403, csrf.CodeMissing},
		{"a multipart form without its boundary", "POST", "/", "multipart/form-data", multiBody, nil, 403, csrf.CodeMissing},
		{"JSON that holds the token", "POST", "/", "application/json", `{"csrf_token":"` + right + `"}`, nil, 403, csrf.CodeMissing},
		{"a form that says it is text", "POST", "/", "text/plain", field(csrf.Field, right), nil, 403, csrf.CodeMissing},
		{"a type that is none", "POST", "/", ";;", field(csrf.Field, right), nil, 403, csrf.CodeMissing},
		{"an id that no key can hold", "POST", "/", "", "", http.Header{"Session": {"a:b"}, "X-Csrf-Token": {right}}, 403, csrf.CodeInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, answer := ask(h, tt.method, tt.target, tt.contentType, tt.body, tt.header)
			if status != tt.status || answer != tt.answer {
				t.Errorf("%d %q, want %d %q", status, answer, tt.status, tt.answer)
			}
		})
	}
}

// TestMiddlewareLeavesBodiesAlone: a body that is no form is not read, however large, even when the
// request is refused.
func TestMiddlewareLeavesBodiesAlone(t *testing.T) {
	tokens := newTokens(t, redistest.Shared(t).Client())
	for _, contentType := range []string{"application/json", "application/octet-stream", ""} {
		body := &counting{}
		r := httptest.NewRequest(http.MethodPost, "/", body)
		r.Header.Set("Session", "s")
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		guarded(tokens).ServeHTTP(w, r)
		if w.Code != http.StatusForbidden || body.reads != 0 {
			t.Errorf("%q: status %d, %d reads", contentType, w.Code, body.reads)
		}
	}
}

type counting struct{ reads int }

func (c *counting) Read(p []byte) (int, error) {
	c.reads++
	return len(p), nil
}

func TestMiddlewareInAnOutage(t *testing.T) {
	server := redistest.Start(t)
	tokens := newTokens(t, server.Client(func(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 }))
	right := token(t, tokens, "s")
	server.Kill()
	h := guarded(tokens)
	header := http.Header{"X-Csrf-Token": {right}}
	if status, answer := ask(h, "POST", "/", "", "", header); status != http.StatusServiceUnavailable || answer != csrf.CodeUnavailable {
		t.Errorf("%d %s", status, answer)
	}
	if status, _ := ask(h, "GET", "/", "", "", nil); status != http.StatusOK {
		t.Errorf("a safe request: %d", status)
	}
	if status, answer := ask(h, "POST", "/", "", "", nil); status != http.StatusForbidden || answer != csrf.CodeMissing {
		t.Errorf("a request without a token: %d %s", status, answer)
	}
}

// TestEndingMiddleware: it asks for the same as the other one while Redis is there. In an outage it lets
// pass what no page of another site can send, and nothing else.
func TestEndingMiddleware(t *testing.T) {
	server := redistest.Start(t)
	tokens := newTokens(t, server.Client(func(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 }))
	right := token(t, tokens, "s")
	wrong := strings.Repeat("0", len(right))
	h := behind(tokens.EndingMiddleware)
	inForm := csrf.Field + "=" + right
	requests := []struct {
		name, contentType, body string
		header                  []string
		status, outage          int
	}{
		{"the token", "", "", []string{right}, 200, 200},
		{"no token", "", "", nil, 403, 403},
		{"another token", "", "", []string{wrong}, 403, 200}, // nobody can compare it
		{"what is no token", "", "", []string{"yes"}, 403, 503},
		{"two tokens", "", "", []string{right, wrong}, 403, 403},
		{"a form", form, inForm, nil, 200, 503},
		{"a form and an empty header", form, inForm, []string{""}, 200, 503},
	}
	for _, tt := range requests {
		if status, _ := ask(h, "POST", "/", tt.contentType, tt.body, http.Header{"X-Csrf-Token": tt.header}); status != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, status, tt.status)
		}
	}
	server.Kill()
	for _, tt := range requests {
		if status, _ := ask(h, "POST", "/", tt.contentType, tt.body, http.Header{"X-Csrf-Token": tt.header}); status != tt.outage {
			t.Errorf("in an outage, %s: %d, want %d", tt.name, status, tt.outage)
		}
	}
}

func TestMetrics(t *testing.T) {
	tokens := newTokens(t, redistest.Shared(t).Client())
	registry := prometheus.NewPedanticRegistry()
	must(t, registry.Register(tokens))
	first := token(t, tokens, "s")
	_, err := tokens.Rotate(t.Context(), "s")
	must(t, err)
	h := guarded(tokens)
	for sent, n := range map[string]int{first: 1, token(t, tokens, "s"): 2, "wrong": 3, "": 4} {
		for range n {
			ask(h, "POST", "/", "", "", http.Header{"X-Csrf-Token": {sent}})
		}
	}
	families, err := registry.Gather()
	must(t, err)
	got := map[string]float64{}
	for _, m := range families[0].GetMetric() {
		got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
	}
	if want := map[string]float64{"ok": 2, "previous": 1, "invalid": 3, "missing": 4, "unavailable": 0, "unchecked": 0}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestPlainRefusal(t *testing.T) {
	tokens := newTokens(t, redistest.Shared(t).Client())
	h := tokens.Middleware(func(*http.Request) (string, bool) { return "s", true }, nil)(http.NotFoundHandler())
	if status, answer := ask(h, "POST", "/", "", "", nil); status != http.StatusForbidden || answer != csrf.CodeMissing+"\n" {
		t.Errorf("%d %q", status, answer)
	}
}
