package querycache

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
)

// stampede lets n Gets begin at once on each cache and gives how often the loader ran. The loader
// ends when every Get of every cache has begun, and after hold.
func stampede(t *testing.T, n int, hold func(), get func(c *Cache, load func(context.Context) ([]byte, error)) ([]byte, error), caches ...*Cache) int64 {
	t.Helper()
	var loads, begun atomic.Int64
	var work sync.WaitGroup
	for _, c := range caches {
		for range n {
			work.Go(func() {
				begun.Add(1)
				got, err := get(c, func(context.Context) ([]byte, error) {
					loads.Add(1)
					redistest.WaitFor(t, 30*time.Second, func() bool { return begun.Load() == int64(n*len(caches)) })
					hold()
					return []byte("v"), nil
				})
				if err != nil || string(got) != "v" {
					t.Errorf("Get = %q, %v", got, err)
				}
			})
		}
	}
	work.Wait()
	return loads.Load()
}

func get(c *Cache, load func(context.Context) ([]byte, error)) ([]byte, error) {
	return c.Get(context.Background(), detail, load)
}

func TestAStampedeOnTwoProcessesLoadsOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		s := redistest.Shared(t)
		a, b := newCache(t, s.Client(), epochs), newCache(t, s.Client(), epochs)
		if loads := stampede(t, 500, func() {}, get, a, b); loads != 1 {
			t.Errorf("1000 gets ran the loader %d times", loads)
		}
		m, n := a.CacheMetrics().Types[detail.Type.Name], b.CacheMetrics().Types[detail.Type.Name]
		if got := m.Hits + n.Hits + m.Coalesced + n.Coalesced; got != 999 {
			t.Errorf("%d hits and coalesced, want 999: %+v %+v", got, m, n)
		}
	})
}

// Without the fleet's lock each process loads; without singleflight each Get does.
func TestANaiveStampedeLoadsOften(t *testing.T) {
	s := redistest.Shared(t)
	a, b := newCache(t, s.Client()), newCache(t, s.Client())
	alone := func(c *Cache, load func(context.Context) ([]byte, error)) ([]byte, error) {
		q, err := c.query(detail)
		must(t, err)
		q.load = load
		v, err, _ := c.flights.Do("", func() (any, error) { return c.runLoader(context.Background(), q) })
		return v.([]byte), err
	}
	if loads := stampede(t, 500, func() {}, alone, a, b); loads < 2 {
		t.Errorf("the naive way ran the loader %d times: the test cannot see it", loads)
	}
}

// A loader that takes longer than the lock's TTL keeps the lock.
func TestALockIsRenewedWhileItsLoaderRuns(t *testing.T) {
	s := redistest.Shared(t)
	a, b, rdb := newCache(t, s.Client()), newCache(t, s.Client()), s.Client()
	a.lockTTL = 1500 * time.Millisecond
	b.lockTTL = time.Minute // b waits as long as it takes
	lock := keysOf(t, detail).lock
	loading, goOn := make(chan struct{}), make(chan struct{})
	src := newSource("v")
	letGo := sync.OnceFunc(func() { close(goOn) })
	defer letGo()
	first := make(chan error, 1)
	go func() {
		_, err := a.Get(t.Context(), detail, func(ctx context.Context) ([]byte, error) {
			close(loading)
			<-goOn
			return src.load(ctx)
		})
		first <- err
	}()
	<-loading
	if ttl := rdb.PTTL(t.Context(), lock).Val(); ttl <= 0 {
		t.Errorf("the lock's TTL is %v while it is held", ttl)
	}
	for range 3 { // the TTL falls, and is back: so three renewals, beyond the first TTL
		redistest.WaitFor(t, 10*time.Second, func() bool { return rdb.PTTL(t.Context(), lock).Val() < 1100*time.Millisecond })
		redistest.WaitFor(t, 10*time.Second, func() bool { return rdb.PTTL(t.Context(), lock).Val() > 1200*time.Millisecond })
	}
	second := make(chan error, 1)
	go func() { _, err := b.Get(t.Context(), detail, src.load); second <- err }()
	letGo()
	must(t, errors.Join(<-first, <-second))
	mustLoads(t, src, 1)
}

func TestALockIsGivenBackByItsOwnerOnly(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	c := newCache(t, rdb)
	q, err := c.query(detail)
	must(t, err)
	late, now := newHolder(nil), newHolder(nil)

	must(t, rdb.Set(t.Context(), q.lock, string(now), time.Minute).Err()) // late's has run out meanwhile
	c.release(t.Context(), q, late)
	c.fill(t.Context(), q, late, c.envelope(q, c.cfg.Now(), versions{1 << 40, 1 << 40}, []byte("late")))
	if n, err := renewScript.Run(t.Context(), rdb, []string{q.lock}, string(late), 3600000).Int(); n != 0 || err != nil {
		t.Errorf("a late holder renews another's lock: %d, %v", n, err)
	}
	if got := rdb.Get(t.Context(), q.lock).Val(); got != string(now) {
		t.Errorf("the lock holds %q", got)
	}
	if ttl := rdb.TTL(t.Context(), q.lock).Val(); ttl > time.Minute {
		t.Errorf("its TTL is %v", ttl)
	}
	if n := rdb.Exists(t.Context(), q.entry).Val(); n != 0 {
		t.Error("a late holder stored its result")
	}
	c.release(t.Context(), q, now)
	if n := rdb.Exists(t.Context(), q.lock).Val(); n != 0 {
		t.Error("the owner could not give it back")
	}
}

// deadHolder leaves the lock of a process that died while it loaded.
func deadHolder(t *testing.T, rdb *redis.Client, c *Cache, ttl time.Duration) {
	t.Helper()
	q, err := c.query(detail)
	must(t, err)
	now, err := c.versionsOf(t.Context(), q)
	must(t, err)
	must(t, rdb.Set(t.Context(), q.lock, string(newHolder(now)), ttl).Err())
}

func TestADeadHoldersLockEndsByItself(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		rdb := redistest.Shared(t).Client()
		c, src := newCache(t, rdb, epochs), newSource("v")
		deadHolder(t, rdb, c, 50*time.Millisecond)
		mustGet(t, c, detail, src.load, "v")
		if _, found, err := c.Lookup(t.Context(), detail); !found || err != nil {
			t.Errorf("the result is not kept: %v", err)
		}
	})
}

// loseReply lets the first pipeline reach the server and loses the reply.
type loseReply struct {
	points
	lost atomic.Bool
}

func (l *loseReply) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if cmds[0].Name() != "set" || !l.lost.CompareAndSwap(false, true) {
			return err
		}
		for _, cmd := range cmds {
			cmd.SetErr(io.ErrUnexpectedEOF)
		}
		return io.ErrUnexpectedEOF
	}
}

func TestALockWhoseReplyWasLostIsGivenBack(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		s := redistest.Shared(t)
		rdb, l := s.Client(), &loseReply{}
		rdb.AddHook(l)
		c := newCache(t, rdb, epochs)
		mustGet(t, c, detail, newSource("v").load, "v")
		if !l.lost.Load() {
			t.Fatal("no reply was lost")
		}
		redistest.WaitFor(t, 5*time.Second, func() bool { return s.Client().Exists(t.Context(), keysOf(t, detail).lock).Val() == 0 })
	})
}

func TestWaitingForALockIsBounded(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		rdb := redistest.Shared(t).Client()
		c, src := newCache(t, rdb, epochs), newSource("v")
		deadHolder(t, rdb, c, time.Hour)
		c.lockTTL = 30 * time.Millisecond
		mustGet(t, c, detail, src.load, "v")
		if _, found, err := c.Lookup(t.Context(), detail); found || err != nil {
			t.Errorf("a result was kept without the lock: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		c.lockTTL = time.Hour
		if _, err := c.Get(ctx, detail, src.load); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get beyond its ctx = %v", err)
		}
	})
}

// A waiter takes what the holder brings, and does not wait for a holder whose tags were invalidated.
func TestAWaiterWatchesTheEntryAndTheVersions(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	c, src := newCache(t, rdb), newSource("v")
	deadHolder(t, rdb, c, time.Hour)
	waiter := make(chan error)
	go func() {
		got, err := c.Get(t.Context(), detail, func(context.Context) ([]byte, error) { return nil, errors.New("must not load") })
		if string(got) != "from the holder" {
			err = errors.Join(err, errors.New(string(got)))
		}
		waiter <- err
	}()
	q, err := c.query(detail)
	must(t, err)
	now, err := c.versionsOf(t.Context(), q)
	must(t, err)
	sealed := c.envelope(q, c.cfg.Now(), now, []byte("from the holder")).seal(q.entry)
	must(t, rdb.Set(t.Context(), q.entry, sealed, time.Minute).Err())
	must(t, <-waiter)

	must(t, c.Invalidate(t.Context(), changed))
	mustGet(t, c, detail, src.load, "v") // the lock is there for an hour, of a holder from before
	if _, found, err := c.Lookup(t.Context(), detail); !found || err != nil {
		t.Errorf("the result is not kept: %v", err)
	}
}

func TestARefreshRunsOnceInTheFleet(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		s, clk, src := redistest.Shared(t), newClock(), newSource("v1")
		a, b := newCache(t, s.Client(), epochs, clk.in), newCache(t, s.Client(), epochs, clk.in)
		mustGet(t, a, detail, src.load, "v1")
		clk.advance(detail.Type.TTL * 8 / 10)
		src.set("v2")
		loading, goOn := make(chan struct{}), make(chan struct{})
		mustGet(t, a, detail, func(ctx context.Context) ([]byte, error) {
			close(loading)
			<-goOn
			return src.load(ctx)
		}, "v1")
		<-loading
		mustGet(t, b, detail, src.load, "v1")
		close(goOn)
		a.work.Wait()
		b.work.Wait()
		mustGet(t, b, detail, src.load, "v2")
		mustLoads(t, src, 2)
	})
}
