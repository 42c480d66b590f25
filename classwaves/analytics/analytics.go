package analytics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

// Config says how analytics works. Redis and Source are wanted, all else has a default.
type Config struct {
	// Redis is the cache. With redis.Options.ContextTimeoutEnabled the timeouts here hold; without it
	// the client's own do.
	Redis redis.UniversalClient
	// Source is the database.
	Source Source
	// Publish tells the subscribers of a session what changed; nil tells nobody. It is called after
	// every update with the session's figures, one call at a time for one session, and its error is
	// counted and goes no further.
	Publish func(ctx context.Context, sessionID string, m SessionMetrics) error
	// LegacyFallbacks is read for [Metrics]: how often rekey found an entry under its legacy name
	// alone. Nil counts as 0.
	LegacyFallbacks func() uint64
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// NoJitter gives every entry exactly the lifetime of package ttl, for tests.
	NoJitter bool
	// SyncEvery is how often [Analytics.Run] writes the live sessions to the database, 5 min by
	// default. At least a millisecond.
	SyncEvery time.Duration
	// CacheTimeout and SourceTimeout end one attempt at the cache (1 s) or the database (3 s).
	CacheTimeout, SourceTimeout time.Duration
	// Logger is told when an outage begins and ends, and what a sync missed. Nil discards.
	Logger *slog.Logger
}

// Analytics counts what happens in class sessions. It is safe for concurrent use.
type Analytics struct {
	Config
	breaker  *gobreaker.CircuitBreaker[any]
	counters counters

	mu   sync.Mutex
	held map[string]*held    // by class session: what this process has added
	ends map[string]struct{} // class sessions whose end the stores are to be told of
}

// New makes analytics. It starts nothing and opens nothing; [Analytics.Run] does the work that is
// nobody's call.
func New(c Config) (*Analytics, error) {
	if c.Redis == nil || c.Source == nil {
		return nil, errors.New("analytics: Config wants Redis and Source")
	}
	if c.SyncEvery == 0 {
		c.SyncEvery = 5 * time.Minute
	}
	if c.CacheTimeout == 0 {
		c.CacheTimeout = time.Second
	}
	if c.SourceTimeout == 0 {
		c.SourceTimeout = 3 * time.Second
	}
	for name, d := range map[string]time.Duration{"SyncEvery": c.SyncEvery, "CacheTimeout": c.CacheTimeout, "SourceTimeout": c.SourceTimeout} {
		if d < time.Millisecond {
			return nil, fmt.Errorf("analytics: %s of %v: must be at least 1ms", name, d)
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Analytics{Config: c, held: make(map[string]*held), ends: make(map[string]struct{})}
	a.breaker = a.newBreaker()
	return a, nil
}
