package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/classwaves/analytics"
	"github.com/classwaves/rekey/classwaves/csrf"
	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/live"
	"github.com/classwaves/rekey/classwaves/password"
	"github.com/classwaves/rekey/classwaves/querycache"
	"github.com/classwaves/rekey/classwaves/ratelimit"
	"github.com/classwaves/rekey/classwaves/session"
)

// Config is what the server stands on. All fields but those with a default are needed.
type Config struct {
	Analytics *analytics.Analytics
	Codes     *accesscode.Codes
	CSRF      *csrf.Tokens
	Database  *database.DB
	Limiter   *ratelimit.Limiter
	Live      *live.Hub
	Passwords *password.Hasher
	Queries   *querycache.Cache
	Sessions  *session.Sessions

	// ParticipantKeys sign what tells a student's browser from another: the first signs, each is believed. At
	// least one, and 32 bytes each.
	ParticipantKeys [][]byte
	// ClientAddr gives the address of a request's client, behind trusted proxies only.
	ClientAddr func(*http.Request) string
	// PingRedis asks Redis for a sign of life, for readiness.
	PingRedis func(context.Context) error
	// Metrics are shown at GET /metrics; nil: none.
	Metrics prometheus.Gatherer
	// CacheMetrics is shown at GET /metrics/cache.
	CacheMetrics func() any
	// Secure marks cookies as for HTTPS only, and asks browsers to stay with it.
	Secure bool
	// TrustedOrigins are origins beside the server's own whose pages may call it, such as
	// https://teach.example.org.
	TrustedOrigins []string
	// Limits of requests; the zero value is what production has.
	Limits Limits
	// Logger gets one line for each request. nil: none.
	Logger *slog.Logger
	// Now is the clock; default [time.Now].
	Now func() time.Time
}

// Limits are the limits of requests. A zero field is its default.
type Limits struct {
	Body    int64           // bytes of a request's body; default 64 KiB
	Time    time.Duration   // of a request but for WebSockets; default 10 s
	General ratelimit.Limit // of an address; default [ratelimit.General]
	Auth    ratelimit.Limit // of an address at login; default [ratelimit.Auth]
	Write   ratelimit.Limit // of a teacher, for what changes something; default 300 in 60 s
	Join    ratelimit.Limit // of an address, for access codes tried; default 30 in 60 s
}

func (l Limits) withDefaults() Limits {
	if l.Body == 0 {
		l.Body = 64 << 10
	}
	if l.Time == 0 {
		l.Time = 10 * time.Second
	}
	limit := func(l *ratelimit.Limit, otherwise ratelimit.Limit) {
		if *l == (ratelimit.Limit{}) {
			*l = otherwise
		}
	}
	limit(&l.General, ratelimit.General)
	limit(&l.Auth, ratelimit.Auth)
	limit(&l.Write, ratelimit.Limit{Name: "write", Points: 300, Window: time.Minute, Block: time.Minute})
	limit(&l.Join, ratelimit.Limit{Name: "join", Points: 30, Window: time.Minute, Block: time.Minute})
	return l
}

// API is the handler of all routes.
type API struct {
	c       Config
	log     *slog.Logger
	handler http.Handler
	metrics *requestMetrics
	owed    owed
}

// New makes the handler.
func New(c Config) (*API, error) {
	if c.Analytics == nil || c.Codes == nil || c.CSRF == nil || c.Database == nil || c.Limiter == nil ||
		c.Live == nil || c.Passwords == nil || c.Queries == nil || c.Sessions == nil {
		return nil, errors.New("httpapi: a service is missing in Config")
	}
	if len(c.ParticipantKeys) == 0 || slices.ContainsFunc(c.ParticipantKeys, func(key []byte) bool { return len(key) < 32 }) {
		return nil, errors.New("httpapi: Config.ParticipantKeys must be one or more, of at least 32 bytes each")
	}
	if c.ClientAddr == nil {
		c.ClientAddr = ratelimit.ClientAddr(nil)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.withDefaults()
	a := &API{c: c, log: c.Logger, metrics: newRequestMetrics()}
	handler, err := a.assemble()
	if err != nil {
		return nil, err
	}
	a.handler = handler
	return a, nil
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Describe implements [prometheus.Collector].
func (a *API) Describe(to chan<- *prometheus.Desc) { a.metrics.Describe(to) }

// Collect implements [prometheus.Collector].
func (a *API) Collect(to chan<- prometheus.Metric) { a.metrics.Collect(to) }

var _ prometheus.Collector = (*API)(nil)
