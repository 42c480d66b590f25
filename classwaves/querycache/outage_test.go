package querycache

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/unavailable"
	"github.com/classwaves/rekey/internal/redistest"
)

// TestHangingRedisDoesNotHangGets: with a client that would wait for ever, a Get waits no longer than its Timeout,
// and after the outage the cache is used again.
func TestHangingRedisDoesNotHangGets(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		s := redistest.Start(t)
		c := newCache(t, s.Client(func(o *redis.Options) {
			o.ContextTimeoutEnabled, o.ReadTimeout, o.WriteTimeout, o.MaxRetries = true, -1, -1, -1
		}), epochs, func(cfg *Config) { cfg.Timeout = 20 * time.Millisecond })
		e, src := Entry{Type: SessionDetail, Key: "1", Tags: []string{"a"}}, newSource(`"x"`)
		usesTheCache := func() bool {
			mustGet(t, c, e, src.load, `"x"`)
			_, found, err := c.Lookup(t.Context(), e)
			return found && err == nil
		}
		redistest.WaitFor(t, time.Minute, usesTheCache)
		s.Pause()
		for range 3 {
			mustGet(t, c, e, src.load, `"x"`)
		}
		s.Continue() // only now: had a Get waited for the server, the test would not have come here
		redistest.WaitFor(t, time.Minute, usesTheCache)
	})
}

// logged is a log that a test reads.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) in(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(l, nil)) }

// impatient are options of a client that tries everything once, so that it is known at once that its server was killed.
func impatient(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 1 }

// Redis goes while the cache is used, and comes back: nobody sees an error, and nobody restarts.
func TestAnOutageOfRedisFailsNoGet(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		s, log := redistest.Start(t), &logged{}
		c, src := newCache(t, s.Client(impatient), epochs, log.in), newSource("v1")
		mustGet(t, c, detail, src.load, "v1")

		s.Kill()
		src.set("v2")
		for range 5 {
			mustGet(t, c, detail, src.load, "v2")
		}
		mustLoads(t, src, 6)
		if _, found, err := c.Lookup(t.Context(), detail); found || !unavailable.Is(err) {
			t.Errorf("Lookup = %v, %v; want unavailable, which is not absent", found, err)
		}
		if err := c.Upsert(t.Context(), detail, []byte("v")); !unavailable.Is(err) {
			t.Errorf("Upsert = %v", err)
		}
		broken := errors.New("database is away")
		src.fail(broken)
		if _, err := c.Get(t.Context(), detail, src.load); !errors.Is(err, broken) {
			t.Errorf("with both down, Get = %v; want the loader's error", err)
		}
		src.fail(nil)

		s.Restart()
		redistest.WaitFor(t, 20*time.Second, func() bool {
			mustGet(t, c, detail, src.load, "v2")
			_, found, err := c.Lookup(t.Context(), detail)
			return found && err == nil
		})
		text := log.String()
		if strings.Count(text, "is unavailable") != 1 || strings.Count(text, "answers again") != 1 {
			t.Errorf("the log of one outage:\n%s", text)
		}
		if strings.Contains(text, "s1") || strings.Contains(text, "t1") {
			t.Errorf("the log holds identifiers:\n%s", text)
		}
	})
}

// Redis goes at each point of a load in turn: the loader's value is returned all the same.
func TestRedisGoingAtAnyPointFailsNoGet(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		s, p := redistest.Shared(t), &points{}
		link := redistest.SlowLink(t, s.Addr())
		rdb := redis.NewClient(&redis.Options{Addr: link.Addr(), MaxRetries: -1, DialerRetries: 1})
		defer func() { _ = rdb.Close() }()
		rdb.AddHook(p)
		for at := 1; ; at++ {
			must(t, s.Client().FlushDB(t.Context()).Err())
			link.Accept()
			c := newCache(t, rdb, epochs)
			c.lockTTL = 100 * time.Millisecond
			p.start(at, func() { link.Refuse(); link.Cut() })
			mustGet(t, c, detail, newSource("v").load, "v")
			if p.passed() < at {
				if at < 6 {
					t.Errorf("a load has %d points: the test does not see them", at-1)
				}
				return
			}
			must(t, c.Close())
		}
	})
}

func TestConcurrentGetsInAnOutageShareALoad(t *testing.T) {
	s := redistest.Start(t)
	c := newCache(t, s.Client(impatient))
	s.Kill()
	allFailed := func() {
		redistest.WaitFor(t, 30*time.Second, func() bool { return c.CacheMetrics().Unavailable >= 50 })
	}
	if loads := stampede(t, 50, allFailed, get, c); loads > 25 {
		t.Errorf("50 gets at once ran the loader %d times", loads)
	}
}

func TestACallersContextIsNoOutage(t *testing.T) {
	c := newCache(t, redistest.Shared(t).Client())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	src := newSource("v")
	if _, err := c.Get(ctx, detail, src.load); !errors.Is(err, context.Canceled) {
		t.Errorf("Get = %v", err)
	}
	if _, _, err := c.Lookup(ctx, detail); !errors.Is(err, context.Canceled) || unavailable.Is(err) {
		t.Errorf("Lookup = %v", err)
	}
	mustLoads(t, src, 0)
	if n := c.CacheMetrics().Unavailable; n != 0 {
		t.Errorf("%d counted as outages", n)
	}
}
