package csrf

import (
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/classwaves/rekey/classwaves/unavailable"
)

// Where a request carries its token.
const (
	Header = "X-CSRF-Token"
	Field  = "csrf_token"
)

// The codes with which a request is refused.
const (
	CodeMissing     = "CSRF_TOKEN_MISSING" // 403
	CodeInvalid     = "CSRF_TOKEN_INVALID" // 403
	CodeUnavailable = "CSRF_UNAVAILABLE"   // 503
)

// Middleware lets unsafe requests of a session pass only with the session's token. sessionOf gives
// the session of an authenticated request; a request without one passes. refuse writes the answer to
// a refused request; nil writes the code as plain text. Safe are GET, HEAD, OPTIONS and TRACE.
func (t *Tokens) Middleware(sessionOf func(*http.Request) (string, bool), refuse func(w http.ResponseWriter, r *http.Request, status int, code string)) func(http.Handler) http.Handler {
	return t.middleware(sessionOf, refuse, t.judge)
}

// EndingMiddleware is [Tokens.Middleware] for requests that can do nothing but end sessions of whoever
// sends them. While Redis is away it lets those pass whose header has the form of a token, although
// nothing can be compared: somebody who wants to be logged out of a lost device must not have to wait for
// a cache. A page of another site cannot send that header. A browser asks first whether it may
// (CORS), and nobody says yes; stand behind [http.CrossOriginProtection] all the same. A form has no such
// protection, so a token in a form is refused with 503, as ever.
func (t *Tokens) EndingMiddleware(sessionOf func(*http.Request) (string, bool), refuse func(w http.ResponseWriter, r *http.Request, status int, code string)) func(http.Handler) http.Handler {
	return t.middleware(sessionOf, refuse, func(w http.ResponseWriter, r *http.Request, sessionOf func(*http.Request) (string, bool)) (int, string) {
		status, code := t.judge(w, r, sessionOf)
		if code == CodeUnavailable && wellFormed(r.Header.Get(Header)) {
			t.metrics.count("unchecked")
			return 0, ""
		}
		return status, code
	})
}

type judge func(w http.ResponseWriter, r *http.Request, sessionOf func(*http.Request) (string, bool)) (status int, code string)

func (t *Tokens) middleware(sessionOf func(*http.Request) (string, bool), refuse func(w http.ResponseWriter, r *http.Request, status int, code string), judge judge) func(http.Handler) http.Handler {
	if refuse == nil {
		refuse = func(w http.ResponseWriter, _ *http.Request, status int, code string) { http.Error(w, code, status) }
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if status, code := judge(w, r, sessionOf); code != "" {
				refuse(w, r, status, code)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// judge says why a request is refused; an empty code means that it passes.
func (t *Tokens) judge(w http.ResponseWriter, r *http.Request, sessionOf func(*http.Request) (string, bool)) (int, string) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "":
		return 0, ""
	}
	id, ok := sessionOf(r)
	if !ok {
		return 0, ""
	}
	token := t.tokenOf(w, r)
	if token == "" {
		t.metrics.count("missing")
		return http.StatusForbidden, CodeMissing
	}
	switch ok, err := t.Check(r.Context(), id, token); {
	case unavailable.Is(err):
		t.metrics.count("unavailable")
		return http.StatusServiceUnavailable, CodeUnavailable
	case err != nil || !ok: // an error is an id that cannot have a token
		return http.StatusForbidden, CodeInvalid
	}
	return 0, ""
}

// tokenOf is the token that a request carries: in its header, else in its form. Two headers that
// differ are no token.
func (t *Tokens) tokenOf(w http.ResponseWriter, r *http.Request) string {
	if values := r.Header.Values(Header); len(values) > 0 {
		for _, v := range values {
			if v != values[0] {
				return ""
			}
		}
		if values[0] != "" {
			return values[0]
		}
	}
	if err := t.parseForm(w, r); err != nil {
		return ""
	}
	return r.PostForm.Get(Field) // never r.Form, which holds the query
}

var errNoForm = errors.New("csrf: no form")

// parseForm reads the body if it is a form, and no more of it than allowed. The handler finds it in
// r.PostForm.
func (t *Tokens) parseForm(w http.ResponseWriter, r *http.Request) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return errNoForm
	}
	switch strings.ToLower(kind) {
	case "application/x-www-form-urlencoded":
		r.Body = http.MaxBytesReader(w, r.Body, t.cfg.MaxForm)
		return r.ParseForm()
	case "multipart/form-data":
		r.Body = http.MaxBytesReader(w, r.Body, t.cfg.MaxForm)
		return r.ParseMultipartForm(t.cfg.MaxForm)
	default:
		return errNoForm
	}
}
