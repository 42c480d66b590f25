package httpapi

import (
	"fmt"
	"net/http"

	"github.com/classwaves/rekey/classwaves/ratelimit"
	"github.com/classwaves/rekey/classwaves/web"
)

// route is one route and what stands before its handler.
type route struct {
	method, pattern string
	handler         handler
	teacher         bool             // needs a login, and with an unsafe method the session's CSRF token
	ends            bool             // can only end the teacher's own logins: goes on while no token can be compared
	limit           *ratelimit.Limit // of the address beside the general one, nil: none
	open            bool             // may stay open: no limit of time
	unlimited       bool             // for probes: not even the general limit of the address
}

// handler answers a request, or says why it cannot.
type handler func(w http.ResponseWriter, r *http.Request) error

// routes is every route of the API. Its paths and methods are the OpenAPI description's.
func (a *API) routes() []route {
	return []route{
		{method: "POST", pattern: "/api/v1/login", handler: a.login, limit: &a.c.Limits.Auth},
		{method: "POST", pattern: "/api/v1/logout", handler: a.logout, teacher: true, ends: true},
		{method: "POST", pattern: "/api/v1/logout-everywhere", handler: a.logoutEverywhere, teacher: true, ends: true},
		{method: "GET", pattern: "/api/v1/me", handler: a.me, teacher: true},

		{method: "POST", pattern: "/api/v1/sessions", handler: a.createSession, teacher: true},
		{method: "GET", pattern: "/api/v1/sessions", handler: a.listSessions, teacher: true},
		{method: "GET", pattern: "/api/v1/sessions/{session}", handler: a.sessionDetail, teacher: true},
		{method: "POST", pattern: "/api/v1/sessions/{session}/start", handler: a.startSession, teacher: true},
		{method: "POST", pattern: "/api/v1/sessions/{session}/pause", handler: a.pauseSession, teacher: true},
		{method: "POST", pattern: "/api/v1/sessions/{session}/end", handler: a.endSession, teacher: true},
		{method: "GET", pattern: "/api/v1/sessions/{session}/analytics", handler: a.sessionAnalytics, teacher: true},
		{method: "GET", pattern: "/api/v1/sessions/{session}/groups", handler: a.groupStatus, teacher: true},
		{method: "GET", pattern: "/api/v1/dashboard", handler: a.dashboard, teacher: true},

		{method: "POST", pattern: "/api/v1/join", handler: a.join, limit: &a.c.Limits.Join},
		{method: "GET", pattern: "/api/v1/live/{session}", handler: a.socket, open: true},

		{method: "GET", pattern: "/healthz", handler: a.healthz, unlimited: true},
		{method: "GET", pattern: "/readyz", handler: a.readyz, unlimited: true},
		{method: "GET", pattern: "/metrics", handler: a.showMetrics, unlimited: true},
		{method: "GET", pattern: "/metrics/cache", handler: a.cacheMetrics, unlimited: true},
		{method: "GET", pattern: "/openapi.yaml", handler: a.description},
	}
}

// assemble puts the steps around the routes.
func (a *API) assemble() (http.Handler, error) {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(a.handle(func(http.ResponseWriter, *http.Request) error { return errCrossOrigin }))
	for _, o := range a.c.TrustedOrigins {
		if err := origins.AddTrustedOrigin(o); err != nil {
			return nil, fmt.Errorf("httpapi: trusted origin %q: %w", o, err)
		}
	}
	mux := http.NewServeMux()
	for _, rt := range a.routes() {
		mux.Handle(rt.method+" "+rt.pattern, a.observe(rt.pattern, a.before(rt)))
	}
	pages := web.Handler()
	for _, p := range web.Paths {
		mux.Handle("GET "+p, a.observe(p, pages))
	}
	mux.Handle("/", a.observe("none", a.handle(func(w http.ResponseWriter, r *http.Request) error {
		return a.unknown(mux, w, r)
	})))
	var h http.Handler = mux
	h = origins.Handler(h)
	h = a.secure(h)
	h = a.recover(h)
	return a.identify(h), nil
}

// before puts a route's own steps before its handler.
func (a *API) before(rt route) http.Handler {
	h := a.handle(rt.handler)
	if rt.teacher {
		if unsafe(rt.method) {
			h = a.c.Limiter.Middleware(a.c.Limits.Write, a.teacherID, a.handle(tooMany))(h)
			withToken := a.c.CSRF.Middleware
			if rt.ends {
				withToken = a.c.CSRF.EndingMiddleware
			}
			h = withToken(a.sessionID, a.refuseCSRF)(h)
		}
		h = a.authenticated(h)
	}
	if rt.teacher || rt.pattern == "/api/v1/login" || rt.open {
		h = a.c.Sessions.Middleware(h)
	}
	if rt.limit != nil {
		h = a.c.Limiter.Middleware(*rt.limit, a.c.ClientAddr, a.handle(tooMany))(h)
	}
	if !rt.unlimited {
		h = a.c.Limiter.Middleware(a.c.Limits.General, a.c.ClientAddr, a.handle(tooMany))(h)
	}
	h = http.MaxBytesHandler(h, a.c.Limits.Body)
	if !rt.open {
		h = a.within(h)
	}
	return h
}

// unsafe says whether a method changes something.
func unsafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return false
	}
	return true
}

// unknown answers what no route is for: 405 with the methods that there are, or 404.
func (a *API) unknown(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) error {
	var allowed string
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "/" && pattern != "" {
			if allowed != "" {
				allowed += ", "
			}
			allowed += method
		}
	}
	if allowed == "" {
		return errNotFound
	}
	w.Header().Set("Allow", allowed)
	return errMethod
}
