package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/classwaves/analytics"
	"github.com/classwaves/rekey/classwaves/csrf"
	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/httpapi"
	"github.com/classwaves/rekey/classwaves/live"
	"github.com/classwaves/rekey/classwaves/password"
	"github.com/classwaves/rekey/classwaves/querycache"
	"github.com/classwaves/rekey/classwaves/ratelimit"
	"github.com/classwaves/rekey/classwaves/session"
)

// App is a running server.
type App struct {
	c         Config
	embedded  *embedded
	migration *rekey.Rekey
	redis     *redis.Client
	database  *database.DB
	passwords *password.Hasher

	limiter   *ratelimit.Limiter
	queries   *querycache.Cache
	sessions  *session.Sessions
	live      *live.Hub
	analytics *analytics.Analytics

	listener net.Listener
	server   *http.Server
	stop     context.CancelFunc // of the work in the background
	work     sync.WaitGroup
	failed   chan error
	closing  sync.Once
	closed   error
}

// Start opens everything and begins to serve.
func Start(ctx context.Context, c Config) (*App, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	a := &App{c: c, failed: make(chan error, 1), stop: func() {}}
	if err := a.start(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *App) start(ctx context.Context) (err error) {
	if err := a.openStores(ctx); err != nil {
		return err
	}
	api, err := a.openServices()
	if err != nil {
		return err
	}
	if a.listener, err = net.Listen("tcp", a.c.Listen); err != nil {
		return fmt.Errorf("classwaves: %w", err)
	}
	a.server = &http.Server{
		Handler:           api,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(a.c.Logger.Handler(), slog.LevelWarn),
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	for _, run := range []func(context.Context) error{a.sessions.Run, a.analytics.Run, api.Run} {
		a.work.Go(func() { a.report(run(background)) })
	}
	a.work.Go(func() { a.report(a.server.Serve(a.listener)) })
	return nil
}

func (a *App) openStores(ctx context.Context) (err error) {
	url := a.c.Redis
	if url == "" {
		if a.embedded, err = startEmbedded(); err != nil {
			return err
		}
		url = a.embedded.url()
	}
	if a.migration, a.redis, err = openRedis(ctx, a.c, url); err != nil {
		return err
	}
	url = a.c.Database
	if url == "" {
		url = "sqlite::memory:"
	}
	a.database, err = database.Open(ctx, url)
	return err
}

// openServices makes the seven services and the API over them. They share one client.
func (a *App) openServices() (*httpapi.API, error) {
	log, stats := a.c.Logger, a.migration.Stats
	addr := ratelimit.ClientAddr(a.c.TrustedProxies)
	tokens, err := csrf.New(csrf.Config{Redis: a.redis, Logger: log})
	if err != nil {
		return nil, err
	}
	if a.passwords, err = password.New(password.Config{}); err != nil {
		return nil, err
	}
	if a.limiter, err = ratelimit.New(ratelimit.Config{Redis: a.redis, Logger: log}); err != nil {
		return nil, err
	}
	if a.queries, err = querycache.New(querycache.Config{
		Redis: a.redis, Timeout: ioTimeout, Epochs: a.c.Epochs, Logger: log,
		LegacyFallbacks: func() uint64 { return fallbacks(stats(), "query_cache") },
	}); err != nil {
		return nil, err
	}
	if a.sessions, err = session.New(session.Config{
		Redis: a.redis, Backing: a.database, Keys: a.c.SessionKeys, Secure: a.c.Secure, ClientAddr: addr, Logger: log,
		Ended: func(ctx context.Context, ids []string) {
			for _, id := range ids {
				if err := tokens.Forget(ctx, id); err != nil {
					return // Redis is away, and the tokens die of themselves
				}
			}
		},
	}); err != nil {
		return nil, err
	}
	if a.live, err = live.New(live.Config{
		Redis: a.redis, Environment: a.c.Environment, OriginPatterns: a.c.TrustedOrigins, Logger: log,
	}); err != nil {
		return nil, err
	}
	if a.analytics, err = analytics.New(analytics.Config{
		Redis: a.redis, Source: a.database, Logger: log,
		Publish: func(ctx context.Context, id string, m analytics.SessionMetrics) error {
			return a.live.Publish(ctx, id, "metrics", m)
		},
		LegacyFallbacks: func() uint64 { return fallbacks(stats(), "analytics") },
	}); err != nil {
		return nil, err
	}
	codes, err := accesscode.New(accesscode.Config{Redis: a.redis, Directory: a.database, Logger: log})
	if err != nil {
		return nil, err
	}
	participantKeys := make([][]byte, len(a.c.SessionKeys))
	for i, key := range a.c.SessionKeys {
		if participantKeys[i], err = key.Derive("participant cookie"); err != nil {
			return nil, err
		}
	}
	// The registry has the API's metrics too, and the API shows the registry.
	shown := &gatherer{}
	api, err := httpapi.New(httpapi.Config{
		Analytics: a.analytics, Codes: codes, CSRF: tokens, Database: a.database, Limiter: a.limiter,
		Live: a.live, Passwords: a.passwords, Queries: a.queries, Sessions: a.sessions,
		ParticipantKeys: participantKeys, ClientAddr: addr,
		PingRedis:    func(ctx context.Context) error { return a.redis.Ping(ctx).Err() },
		Metrics:      shown,
		CacheMetrics: func() any { return a.CacheMetrics() },
		Secure:       a.c.Secure, TrustedOrigins: a.c.TrustedOrigins, Limits: a.c.Limits, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	shown.Gatherer, err = registry(a.migration, a.analytics, codes, tokens, a.limiter, a.live, a.queries, a.sessions, api)
	return api, err
}

// URL is where the server is.
func (a *App) URL() string { return "http://" + a.listener.Addr().String() }

// Reload reads the flags again, if the phases come from flags.
func (a *App) Reload(ctx context.Context) error {
	if err := a.migration.ReloadFlags(ctx); err != nil && !errors.Is(err, rekey.ErrNotFlags) {
		return err
	}
	return nil
}

// CacheMetrics is what the caches did.
func (a *App) CacheMetrics() CacheMetrics {
	stats := a.migration.Stats()
	m := CacheMetrics{
		LegacyFallbacks: make(map[string]uint64), Phases: make(map[string]string),
		QueryCache: a.queries.CacheMetrics(), Analytics: a.analytics.Metrics(),
	}
	for service := range rulesOf {
		m.LegacyFallbacks[service] = fallbacks(stats, service)
	}
	for name, rule := range stats.Rules {
		m.Phases[name] = rule.Phase.String()
	}
	return m
}

// AddTeacher makes an account.
func (a *App) AddTeacher(ctx context.Context, email, name, secret string) error {
	return AddTeacher(ctx, a.database, a.passwords, email, name, secret)
}

// Failed gives the error that ended a part of the server, if one did.
func (a *App) Failed() <-chan error { return a.failed }

func (a *App) report(err error) {
	if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, context.Canceled) {
		return
	}
	select {
	case a.failed <- err:
	default: // the first one is told
	}
}

// Close ends the server. It returns when nothing of it runs any more, and may be called again.
func (a *App) Close() error {
	a.closing.Do(func() { a.closed = a.close() })
	return a.closed
}

func (a *App) close() error {
	var errs []error
	if a.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), a.c.ShutdownTimeout)
		defer cancel()
		if a.live != nil {
			a.server.RegisterOnShutdown(func() { _ = a.live.Close() }) // closed again below, which gives its error
		}
		if err := a.server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("classwaves: requests were cut off: %w", err), a.server.Close())
		}
	}
	a.stop()
	if a.live != nil {
		errs = append(errs, a.live.Close())
	}
	a.work.Wait()
	select {
	case err := <-a.failed:
		errs = append(errs, err) // of the end itself, or of a part that ended before and whose end nobody asked for
	default:
	}
	if a.sessions != nil {
		errs = append(errs, a.sessions.Close())
	}
	if a.queries != nil {
		errs = append(errs, a.queries.Close())
	}
	if a.limiter != nil {
		errs = append(errs, a.limiter.Close())
	}
	if a.redis != nil {
		errs = append(errs, a.redis.Close())
	}
	if a.migration != nil {
		errs = append(errs, a.migration.Close())
	}
	if a.database != nil {
		errs = append(errs, a.database.Close())
	}
	a.embedded.close()
	return errors.Join(errs...)
}
