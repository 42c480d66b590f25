package querycache

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"github.com/classwaves/rekey/internal/redistest"
)

func TestMain(m *testing.M) {
	logging.Disable() // dead servers are what some tests are about
	// After failed dials a go-redis pool tries again once a second, and sees only then that it is closed.
	redistest.Main(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

var detail = Entry{Type: SessionDetail, Key: "s1", Tags: []string{"teacher:t1", "class:s1"}}

// changed is the scope of detail, in both ways.
var changed = Scope{Type: SessionDetail, Prefix: "s1", Tags: []string{"class:s1"}}

// newCache is a process: a cache of its own over a client, without jitter.
func newCache(t testing.TB, rdb redis.UniversalClient, change ...func(*Config)) *Cache {
	t.Helper()
	cfg := Config{Redis: rdb, Epochs: true, NoJitter: true}
	for _, c := range change {
		c(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func withoutEpochs(cfg *Config) { cfg.Epochs = false }

// bothWays runs a test with epochs and without.
func bothWays(t *testing.T, test func(t *testing.T, epochs func(*Config))) {
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprintf("epochs=%v", on), func(t *testing.T) { test(t, func(cfg *Config) { cfg.Epochs = on }) })
	}
}

// clock is a time that a test moves.
type clock struct{ now atomic.Int64 }

func newClock() *clock {
	var c clock
	c.now.Store(time.Now().UnixNano())
	return &c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.now.Load()) }
func (c *clock) advance(d time.Duration) { c.now.Add(int64(d)) }
func (c *clock) in(cfg *Config)          { cfg.Now = c.Now }

// source is the database: a value, and how often it was read.
type source struct {
	value atomic.Pointer[string]
	fails atomic.Pointer[error]
	loads atomic.Int64
}

func newSource(value string) *source {
	var s source
	s.set(value)
	return &s
}

func (s *source) set(value string) { s.value.Store(&value) }
func (s *source) fail(err error)   { s.fails.Store(&err) }

func (s *source) load(context.Context) ([]byte, error) {
	s.loads.Add(1)
	if err := s.fails.Load(); err != nil && *err != nil {
		return nil, *err
	}
	return []byte(*s.value.Load()), nil
}

// mustGet fails the test unless Get answers want.
func mustGet(t testing.TB, c *Cache, e Entry, load func(context.Context) ([]byte, error), want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute/2) // a Get that hangs is a failure, not the test's end
	defer cancel()
	got, err := c.Get(ctx, e, load)
	if err != nil || string(got) != want {
		t.Fatalf("Get = %q, %v; want %q", got, err, want)
	}
}

func mustLoads(t testing.TB, s *source, want int64) {
	t.Helper()
	if got := s.loads.Load(); got != want {
		t.Fatalf("the loader ran %d times, want %d", got, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func keysOf(t testing.TB, e Entry) names {
	t.Helper()
	n, err := namesOf(e, true)
	must(t, err)
	return n
}

// points are the moments of a Get at which something else may happen: before and after each round
// trip to Redis, and wherever the test calls pass. At one of them, act is run.
type points struct {
	mu  sync.Mutex
	n   int
	at  int
	act func()
}

func (p *points) pass() {
	p.mu.Lock()
	p.n++
	now := p.n == p.at
	p.mu.Unlock()
	if now {
		p.act()
	}
}

func (p *points) passed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

func (p *points) start(at int, act func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n, p.at, p.act = 0, at, act
}

func (p *points) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (p *points) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		p.pass()
		defer p.pass()
		return next(ctx, cmd)
	}
}

func (p *points) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		p.pass()
		defer p.pass()
		return next(ctx, cmds)
	}
}
