package proxy

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/rekeyprom"
)

// ErrNoToken says that an admin listener is reachable from other machines without a token.
var ErrNoToken = errors.New("rekey: the admin listener is on loopback, or wants a token")

// Admin is where an operator and an orchestrator look.
type Admin struct {
	// Address is HOST:PORT; "": nowhere.
	Address string
	// Token is wanted as "Authorization: Bearer TOKEN" by /metrics; "": it is not, which takes a
	// loopback address.
	Token string
}

// Check looks for what is wrong with it.
func (a Admin) Check() error {
	if a.Address == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(a.Address); err != nil {
		return fmt.Errorf("rekey: the admin address %q is none: write 127.0.0.1:9121", a.Address)
	}
	if a.Token == "" && !Loopback(a.Address) {
		return fmt.Errorf("%w (%s)", ErrNoToken, a.Address)
	}
	return nil
}

// counted is an instance's counters, but for the time that it adds: the proxy measures that as a whole.
type counted struct{ *rekey.Rekey }

// Stats implements [rekeyprom.Source].
func (c counted) Stats() rekey.Stats {
	s := c.Rekey.Stats()
	s.Added = rekey.Histogram{}
	return s
}

// handler serves metrics, health and, on loopback, profiles.
func (a Admin) handler(p *Proxy, r *rekey.Rekey, ready func(context.Context) error) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(p, rekeyprom.New(counted{r}), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.guarded(promhttp.HandlerFor(registry, promhttp.HandlerOpts{})))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, req *http.Request) {
		if err := ready(req.Context()); err != nil {
			say(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		say(w, http.StatusOK, "ready")
	})
	if Loopback(a.Address) {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text) // whoever asked may have gone
}

// guarded wants the token.
func (a Admin) guarded(h http.Handler) http.Handler {
	want := []byte("Bearer " + a.Token)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if a.Token != "" && subtle.ConstantTimeCompare([]byte(req.Header.Get("Authorization")), want) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			say(w, http.StatusUnauthorized, "a token is wanted")
			return
		}
		h.ServeHTTP(w, req)
	})
}

// newAdminServer serves a handler within limits of time; a profile takes half a minute.
func newAdminServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
}
