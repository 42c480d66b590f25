package httpapi_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/classwaves/rekey/classwaves/httpapi"
)

// described reads the description that a server serves.
func described(t *testing.T, b *browser) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(b.want(http.StatusOK, "GET", "/openapi.yaml", nil).body)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestDescriptionHasTheRoutes: the same methods on the same paths, and the same demands.
func TestDescriptionHasTheRoutes(t *testing.T) {
	doc := described(t, start(t).browser(t))
	var have, want []string
	line := func(method, path string, cookie, token bool) string {
		s := method + " " + path
		if cookie {
			s += " cookie"
		}
		if token {
			s += " token"
		}
		return s
	}
	for at, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			cookie, token := false, false
			if op.Security != nil {
				for _, needs := range *op.Security {
					_, cookie = needs["cookie"]
					_, token = needs["csrf"]
				}
			}
			have = append(have, line(method, at, cookie, token))
		}
	}
	for _, r := range httpapi.Routes() {
		want = append(want, line(r.Method, r.Pattern, r.Teacher, r.Teacher && r.Unsafe))
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("described:\n%s\nrouted:\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// TestAnswersAreAsDescribed plays a lesson through every route and holds each answer against the
// description.
func TestAnswersAreAsDescribed(t *testing.T) {
	s := start(t)
	b := s.browser(t)
	doc := described(t, b)
	doc.Servers = openapi3.Servers{{URL: s.URL()}}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	see := func(req *http.Request, res *http.Response, body []byte) {
		route, params, err := router.FindRoute(req)
		if err != nil {
			t.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
			return
		}
		seen[route.Method+" "+route.Path] = true
		if err := asDescribed(t.Context(), route, params, req, res, body); err != nil {
			t.Errorf("%s %s: %d %s: %v", req.Method, req.URL.Path, res.StatusCode, body, err)
		}
	}
	b.sees = see
	b.want(http.StatusUnauthorized, "POST", "/api/v1/login", map[string]string{"email": "ada@example.org", "password": "wrong"})
	b.want(http.StatusUnauthorized, "GET", "/api/v1/me", nil)
	b.login("ada")
	b.want(http.StatusOK, "GET", "/api/v1/me", nil)
	c := b.create("History", "Red", "Blue")
	b.want(http.StatusOK, "GET", "/api/v1/sessions", nil)
	for _, action := range []string{"start", "pause", "start"} {
		b.want(http.StatusOK, "POST", "/api/v1/sessions/"+c.ID+"/"+action, nil)
	}
	b.want(http.StatusConflict, "POST", "/api/v1/sessions/"+c.ID+"/start", nil)
	student := s.browser(t)
	student.sees = see
	student.want(http.StatusCreated, "POST", "/api/v1/join", map[string]string{"code": c.AccessCode, "name": "Kim"})
	student.want(http.StatusNotFound, "POST", "/api/v1/join", map[string]string{"code": "ZZZZZZ", "name": "Kim"})
	student.want(http.StatusUnprocessableEntity, "POST", "/api/v1/join", map[string]string{"code": c.AccessCode, "name": "Kim", "group": "none"})
	for _, at := range []string{"", "/analytics", "/groups"} {
		b.want(http.StatusOK, "GET", "/api/v1/sessions/"+c.ID+at, nil)
	}
	b.want(http.StatusOK, "GET", "/api/v1/dashboard", nil)
	b.want(http.StatusUpgradeRequired, "GET", "/api/v1/live/"+c.ID, nil)
	b.want(http.StatusOK, "POST", "/api/v1/sessions/"+c.ID+"/end", nil)
	b.want(http.StatusConflict, "POST", "/api/v1/sessions/"+c.ID+"/end", nil)
	student.want(http.StatusNotFound, "POST", "/api/v1/join", map[string]string{"code": c.AccessCode, "name": "Kim"})
	for _, at := range []string{"/healthz", "/readyz", "/metrics", "/metrics/cache", "/openapi.yaml"} {
		b.want(http.StatusOK, "GET", at, nil)
	}
	b.want(http.StatusNoContent, "POST", "/api/v1/logout", nil)
	b.login("ada")
	b.want(http.StatusOK, "POST", "/api/v1/logout-everywhere", nil)
	b.want(http.StatusUnauthorized, "GET", "/api/v1/me", nil)
	for _, r := range httpapi.Routes() {
		if !seen[r.Method+" "+r.Pattern] {
			t.Errorf("%s %s was not played", r.Method, r.Pattern)
		}
	}
}

// asDescribed checks one answer.
func asDescribed(ctx context.Context, route *routers.Route, params map[string]string, req *http.Request, res *http.Response, body []byte) error {
	if res.StatusCode == http.StatusUpgradeRequired {
		return nil // said by the WebSocket library to what is no WebSocket
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 res.StatusCode,
		Header:                 res.Header,
		Body:                   io.NopCloser(bytes.NewReader(body)),
		Options:                &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: !strings.Contains(res.Header.Get("Content-Type"), "json")},
	}
	return openapi3filter.ValidateResponse(ctx, input)
}
