package querycache

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"

	"github.com/classwaves/rekey/classwaves/ttl"
)

// Config says how a [Cache] works. Only Redis is needed.
type Config struct {
	// Redis is the client. A cluster or ring client is refused.
	Redis redis.UniversalClient
	// Timeout is how long a Get waits for an answer of a server that hangs before the loader answers. Once one
	// has waited in vain, those that follow wait a quarter of it, until Redis answers again. It wants a client
	// with ContextTimeoutEnabled. Default: none; the client's own timeouts hold, which are several for a new
	// connection.
	Timeout time.Duration
	// Epochs turns tag epochs on: invalidation by counters. Off: by SCAN over names.
	Epochs bool
	// LoadTimeout ends a loader's context, which does not end with the request that began it, as
	// others may wait for the result. Default 30 s.
	LoadTimeout time.Duration
	// MaxValue is the largest value that is kept, and the most that one is decompressed to, in bytes.
	// A larger result is returned and not kept. Default 16 MiB.
	MaxValue int
	// LegacyFallbacks gives the number of reads of legacy names that rekey counted for these keys.
	// Default: none.
	LegacyFallbacks func() uint64
	// NoJitter gives every entry exactly its type's TTL. For tests.
	NoJitter bool
	// Now is the clock that ages are taken from. Default time.Now.
	Now func() time.Time
	// Logger is told when an outage of Redis begins and when it ends. Default: nobody.
	Logger *slog.Logger
}

// Cache keeps results of queries. It is safe for concurrent use.
type Cache struct {
	cfg     Config
	rdb     redis.UniversalClient
	codec   *codec
	metrics *metrics
	outage  outage

	flights    singleflight.Group
	refreshing sync.Map      // names of the refreshes under way
	generation atomic.Uint64 // counts this process's invalidations and upserts

	lockTTL time.Duration

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup // loads under way; none begins once closed is set
}

// New makes a cache. It talks to nobody yet. Close it before the client.
func New(cfg Config) (*Cache, error) {
	switch cfg.Redis.(type) {
	case nil:
		return nil, errors.New("query cache: Config.Redis is missing")
	case *redis.ClusterClient, *redis.Ring:
		return nil, errors.New("query cache: a cluster cannot be used: an entry, its tags' counters and its lock are in different slots")
	}
	if cfg.LoadTimeout < 0 || cfg.MaxValue < 0 || cfg.Timeout < 0 {
		return nil, errors.New("query cache: Config.LoadTimeout, Config.Timeout and Config.MaxValue must not be negative")
	}
	if cfg.LoadTimeout == 0 {
		cfg.LoadTimeout = 30 * time.Second
	}
	if cfg.MaxValue == 0 {
		cfg.MaxValue = 16 << 20
	}
	if cfg.LegacyFallbacks == nil {
		cfg.LegacyFallbacks = func() uint64 { return 0 }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	codec, err := newCodec(cfg.MaxValue)
	if err != nil {
		return nil, err
	}
	c := &Cache{
		cfg: cfg, rdb: cfg.Redis, codec: codec, metrics: newMetrics(),
		outage: outage{log: cfg.Logger}, lockTTL: ttl.QueryLock,
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Close ends the contexts of loads that are under way, in the background or for a Get, and waits for
// them. The cache answers [ErrClosed] from then on. A second Close waits as well.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.work.Wait()
	return nil
}

// begin registers a load, which calls c.work.Done at its end. It answers false once the cache is
// closed.
func (c *Cache) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Add(1)
	return true
}

// outageShare is how much shorter a look is while Redis is out: everybody waits for it in vain.
const outageShare = 4

// within bounds one look of a Get. Its outcome is seen with the context that it was given: that it took too
// long says something about Redis.
func (c *Cache) within(ctx context.Context) (context.Context, context.CancelFunc) {
	switch {
	case c.cfg.Timeout == 0:
		return ctx, func() {}
	case c.outage.down.Load():
		return context.WithTimeout(ctx, c.cfg.Timeout/outageShare)
	}
	return context.WithTimeout(ctx, c.cfg.Timeout)
}

// lifetime is how long a result of the type that is stored now is good for.
func (c *Cache) lifetime(t Type) time.Duration {
	if c.cfg.NoJitter {
		return t.TTL
	}
	return ttl.Jitter(t.TTL)
}
