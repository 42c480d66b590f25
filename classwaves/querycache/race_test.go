package querycache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
)

// filler is a way of answering from the cache; safe and naive ones go through the same test.
type filler func(ctx context.Context, c *Cache, load func(context.Context) ([]byte, error)) error

func safeGet(ctx context.Context, c *Cache, load func(context.Context) ([]byte, error)) error {
	_, err := c.Get(ctx, detail, load)
	return err
}

// naiveVersions is the old release's fill with epochs: the versions are read when the value is
// there. What is invalidated in between is stored under the version of after.
func naiveVersions(ctx context.Context, c *Cache, load func(context.Context) ([]byte, error)) error {
	q, err := c.query(detail)
	if err != nil {
		return err
	}
	began := c.cfg.Now()
	value, err := load(ctx)
	if err != nil {
		return err
	}
	now, err := c.versionsOf(ctx, q)
	if err != nil {
		return err
	}
	return c.rdb.Set(ctx, q.entry, c.envelope(q, began, now, value).seal(q.entry), time.Minute).Err()
}

// naiveSet is the fill that any cache library makes: whatever the loader gave is stored.
func naiveSet(ctx context.Context, c *Cache, load func(context.Context) ([]byte, error)) error {
	q, err := c.query(detail)
	if err != nil {
		return err
	}
	began := c.cfg.Now()
	value, err := load(ctx)
	if err != nil {
		return err
	}
	return c.rdb.Set(ctx, q.entry, c.envelope(q, began, nil, value).seal(q.entry), time.Minute).Err()
}

// race runs fill, and at each of its points in turn a change of the database and what the writer
// does about the cache. It gives the number of points, and those after which old data was left.
//
// warm is done before, with the clock that the caches go by.
func race(t *testing.T, epochs func(*Config), fill filler, warm func(c *Cache, src *source, clk *clock), write func(c *Cache) error) (n int, left []int) {
	s := redistest.Shared(t)
	plain, p := s.Client(), &points{}
	watched := s.Client()
	watched.AddHook(p)
	for at := 1; ; at++ {
		must(t, plain.FlushDB(t.Context()).Err())
		src, clk := newSource("old"), newClock()
		reader := newCache(t, watched, epochs, clk.in)
		writer := newCache(t, plain, epochs, clk.in)
		if warm != nil {
			warm(reader, src, clk)
		}
		p.start(at, func() {
			src.set("new")
			if err := write(writer); err != nil {
				t.Error(err)
			}
		})
		err := fill(t.Context(), reader, func(ctx context.Context) ([]byte, error) {
			p.pass()
			defer p.pass()
			return src.load(ctx)
		})
		must(t, err)
		reader.work.Wait() // for a refresh in the background
		if p.passed() < at {
			return at - 1, left
		}
		for _, c := range []*Cache{reader, writer} {
			got, err := c.Get(t.Context(), detail, src.load)
			must(t, err)
			if string(got) != "new" {
				left = append(left, at)
				break
			}
		}
		must(t, reader.Close())
		must(t, writer.Close())
	}
}

func invalidateIt(c *Cache) error { return c.Invalidate(context.Background(), changed) }

func upsertIt(c *Cache) error { return c.Upsert(context.Background(), detail, []byte("new")) }

// warmCounters leaves a cache whose counters are there and whose entry is not.
func warmCounters(c *Cache, src *source, _ *clock) {
	q, err := c.query(detail)
	if err == nil && c.cfg.Epochs {
		_, err = c.versionsOf(context.Background(), q)
	}
	if err != nil {
		panic(err)
	}
}

// warmStale leaves an entry that the next Get loads again in the background.
func warmStale(c *Cache, src *source, clk *clock) {
	if _, err := c.Get(context.Background(), detail, src.load); err != nil {
		panic(err)
	}
	clk.advance(detail.Type.TTL * 8 / 10)
}

func TestAChangeAtAnyPointOfALoadLeavesNoOldData(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		for _, tt := range []struct {
			name  string
			warm  func(*Cache, *source, *clock)
			write func(*Cache) error
		}{
			{"an invalidation, nothing there yet", nil, invalidateIt},
			{"an invalidation, counters there", warmCounters, invalidateIt},
			{"an invalidation, a refresh in the background", warmStale, invalidateIt},
			{"an upsert, nothing there yet", nil, upsertIt},
			{"an upsert, a refresh in the background", warmStale, upsertIt},
		} {
			t.Run(tt.name, func(t *testing.T) {
				n, left := race(t, epochs, safeGet, tt.warm, tt.write)
				if n < 8 { // a read, a lock, a fill and a loader, before and after
					t.Errorf("the load has %d points: the test does not see them", n)
				}
				if len(left) > 0 {
					t.Errorf("old data was left by a change at points %v of %d", left, n)
				}
			})
		}
	})
}

func TestNaiveFillsLeaveOldData(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fill   filler
		epochs func(*Config)
		write  func(*Cache) error
	}{
		{"versions read after the load", naiveVersions, func(*Config) {}, invalidateIt},
		{"an unconditional set beside a removal", naiveSet, withoutEpochs, invalidateIt},
		{"an unconditional set beside an upsert", naiveSet, withoutEpochs, upsertIt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, left := race(t, tt.epochs, tt.fill, nil, tt.write)
			t.Logf("old data is left by a change at points %v of %d", left, n)
			if len(left) == 0 {
				t.Error("the naive way leaves no old data: the test cannot see it")
			}
		})
	}
}

// A Get that begins after an invalidation must not be given what a loader brings that was running
// before it, nor wait for that loader.
func TestAGetAfterAnInvalidationDoesNotJoinAnOlderLoad(t *testing.T) {
	here := func(t *testing.T, a, _ *Cache) { must(t, a.Invalidate(t.Context(), changed)) }
	bothWays(t, func(t *testing.T, epochs func(*Config)) { doesNotJoin(t, epochs, here) })
	t.Run("from another process", func(t *testing.T) {
		doesNotJoin(t, func(*Config) {}, func(t *testing.T, _, b *Cache) { must(t, b.Invalidate(t.Context(), changed)) })
	})
	t.Run("from another process, and the counters are evicted", func(t *testing.T) {
		doesNotJoin(t, func(*Config) {}, func(t *testing.T, _, b *Cache) {
			must(t, b.Invalidate(t.Context(), changed))
			must(t, b.rdb.Unlink(t.Context(), keysOf(t, detail).counters...).Err())
		})
	})
}

func doesNotJoin(t *testing.T, epochs func(*Config), invalidate func(t *testing.T, a, b *Cache)) {
	s := redistest.Shared(t)
	a, b := newCache(t, s.Client(), epochs), newCache(t, s.Client(), epochs)
	src := newSource("old")
	reading, goOn := make(chan struct{}), make(chan struct{})
	letGo := sync.OnceFunc(func() { close(goOn) })
	defer letGo()
	first := make(chan string, 1)
	go func() {
		got, err := a.Get(t.Context(), detail, func(ctx context.Context) ([]byte, error) {
			defer func() { close(reading); <-goOn }()
			return src.load(ctx)
		})
		first <- fmt.Sprint(string(got), err)
	}()
	<-reading
	src.set("new")
	invalidate(t, a, b)
	mustGet(t, a, detail, src.load, "new")
	mustGet(t, b, detail, src.load, "new")
	letGo()
	if got := <-first; got != "old<nil>" {
		t.Errorf("the Get from before answered %s", got)
	}
	mustGet(t, a, detail, src.load, "new")
	mustGet(t, b, detail, src.load, "new")
	mustLoads(t, src, 2)
	if n := a.CacheMetrics().Types[detail.Type.Name].FillsRefused; n != 1 {
		t.Errorf("%d fills refused, want the older one", n)
	}
}

// freshness is the property under load: a Get that begins after a change was invalidated sees it.
type freshness struct {
	caches    []*Cache
	entries   []Entry
	truth     []atomic.Int64
	confirmed []atomic.Int64 // what every Get must see at least
	gets      atomic.Int64
}

func newFreshness(caches ...*Cache) *freshness {
	const n = 4
	f := &freshness{caches: caches, truth: make([]atomic.Int64, n), confirmed: make([]atomic.Int64, n)}
	for i := range n {
		f.entries = append(f.entries, Entry{Type: SessionDetail, Key: strconv.Itoa(i), Tags: []string{"all", "one:" + strconv.Itoa(i)}})
	}
	return f
}

// run reads and writes until ctx ends.
func (f *freshness) run(t *testing.T, ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	for i := range f.entries {
		work.Go(func() { f.write(t, ctx, i) })
	}
	for _, c := range f.caches {
		for range 4 {
			work.Go(func() { f.read(t, ctx, c) })
		}
	}
}

func (f *freshness) write(t *testing.T, ctx context.Context, i int) {
	for n := int64(1); ctx.Err() == nil; n++ {
		f.truth[i].Store(n)
		c := f.caches[rand.N(len(f.caches))]
		err := c.Invalidate(context.WithoutCancel(ctx), Scope{Type: SessionDetail, Prefix: f.entries[i].Key, Tags: f.entries[i].Tags[1:]})
		if err != nil {
			t.Errorf("invalidate: %v", err)
			return
		}
		f.confirmed[i].Store(n)
		pause(ctx, rand.N(4*time.Millisecond))
	}
}

func (f *freshness) read(t *testing.T, ctx context.Context, c *Cache) {
	for ctx.Err() == nil {
		i := rand.N(len(f.entries))
		least := f.confirmed[i].Load()
		got, err := Load(context.WithoutCancel(ctx), c, f.entries[i], func(context.Context) (int64, error) { return f.truth[i].Load(), nil })
		if err != nil || got < least {
			t.Errorf("Get = %d, %v after %d was invalidated", got, err, least)
			return
		}
		f.gets.Add(1)
	}
}

func TestGetsSeeEveryConfirmedChangeUnderLoad(t *testing.T) {
	s := redistest.Shared(t)
	f := newFreshness(newCache(t, s.Client()), newCache(t, s.Client()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.run(t, ctx) }()
	redistest.WaitFor(t, time.Minute, func() bool { return f.gets.Load() > 3000 || t.Failed() })
	cancel()
	<-done
	m := f.caches[0].CacheMetrics().Types[SessionDetail.Name]
	t.Logf("%d gets; of one cache: %+v", f.gets.Load(), m)
	if m.Hits == 0 || m.Misses == 0 {
		t.Error("the load has no hits or no misses: it shows nothing")
	}
}

var _ redis.Hook = (*points)(nil)
