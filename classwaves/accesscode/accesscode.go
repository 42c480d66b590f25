package accesscode

import (
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/internal/failsoft"
	"github.com/classwaves/rekey/classwaves/ttl"
)

const (
	// DefaultTimeout is the default of [Config].Timeout.
	DefaultTimeout = 500 * time.Millisecond
	// ReserveFor is how long a code is kept for a session before the database has given it out.
	ReserveFor = 60 * time.Second
	// attempts is how many codes are drawn for a session. Of 244 million even the second is rare.
	attempts = 32
)

// ErrExhausted is that no free code was drawn.
var ErrExhausted = errors.New("accesscode: no free code found")

// Config is what [Codes] need.
type Config struct {
	// Redis holds the pairs of keys. It stays the caller's to close. A client other than
	// *redis.Client has to be made with ContextTimeoutEnabled, or calls wait for its read timeout
	// when Redis hangs.
	Redis redis.UniversalClient
	// Directory is the database.
	Directory Directory
	// Timeout is how long one command waits for Redis before the database is asked; 0:
	// [DefaultTimeout]. Once one has waited in vain, those that follow wait a quarter of it, until
	// Redis answers again.
	Timeout time.Duration
	// NoJitter gives each pair exactly [ttl.AccessCode], for tests.
	NoJitter bool
	// Logger is told when an outage of Redis begins and when it ends; nil: nobody is.
	Logger *slog.Logger
}

// Codes gives out, finds and releases access codes. It is safe for concurrent use, has no goroutine
// and nothing to close, and implements prometheus.Collector.
type Codes struct {
	redis     failsoft.Client
	directory Directory
	lifetime  func() time.Duration
	draw      func() string
	outage    failsoft.Outage
	metrics   metrics
}

// New makes Codes.
func New(c Config) (*Codes, error) {
	switch {
	case c.Redis == nil:
		return nil, errors.New("accesscode: no Redis client")
	case c.Directory == nil:
		return nil, errors.New("accesscode: no directory")
	case c.Timeout < 0:
		return nil, errors.New("accesscode: the timeout is less than 0")
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	codes := &Codes{
		directory: c.Directory,
		lifetime:  func() time.Duration { return ttl.Jitter(ttl.AccessCode) },
		draw:      generate,
		metrics:   newMetrics(),
	}
	if c.NoJitter {
		codes.lifetime = func() time.Duration { return ttl.AccessCode }
	}
	codes.outage.Logger, codes.outage.Service = c.Logger, "accesscode"
	codes.redis = failsoft.Within(c.Timeout, c.Redis, &codes.outage)
	return codes, nil
}
