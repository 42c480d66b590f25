package querycache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/unavailable"
	"github.com/classwaves/rekey/internal/redistest"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func counterOf(t *testing.T, tag string) string {
	t.Helper()
	names, err := counterNames([]string{tag})
	must(t, err)
	return names[0]
}

func TestACounterStartsAtRandomBeforeTheLoaderRuns(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	c := newCache(t, rdb)
	seen := map[string]bool{}
	for i := range 50 {
		tag := "t" + strconv.Itoa(i)
		e := Entry{Type: SessionDetail, Key: tag, Tags: []string{tag}}
		var before string
		mustGet(t, c, e, func(ctx context.Context) ([]byte, error) {
			before = rdb.Get(ctx, counterOf(t, tag)).Val()
			return []byte("v"), nil
		}, "v")
		n, err := strconv.ParseInt(before, 10, 64)
		if err != nil || n < firstVersion || n >= endOfStarts {
			t.Fatalf("the counter is %q when the loader runs", before)
		}
		if after := rdb.Get(t.Context(), counterOf(t, tag)).Val(); after != before {
			t.Errorf("the counter is %s after the load, was %s", after, before)
		}
		seen[before] = true

		only := "only-invalidated-" + tag
		must(t, c.Invalidate(t.Context(), Scope{Type: SessionDetail, Tags: []string{only}}))
		n, err = rdb.Get(t.Context(), counterOf(t, only)).Int64()
		if err != nil || n <= firstVersion || n > endOfStarts {
			t.Fatalf("a counter that began with an invalidation is %d, %v", n, err)
		}
		if ttl := rdb.TTL(t.Context(), counterOf(t, only)).Val(); ttl != -1 {
			t.Errorf("a counter has the TTL %v", ttl)
		}
	}
	if len(seen) != 50 {
		t.Errorf("50 counters started at %d values", len(seen))
	}
}

func TestAnInvalidationMovesACounterByOne(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	c := newCache(t, rdb)
	counter := counterOf(t, "class:s1")
	must(t, rdb.Set(t.Context(), counter, 1<<40, 0).Err())
	must(t, c.Invalidate(t.Context(), changed, changed)) // a tag twice is one
	if got := rdb.Get(t.Context(), counter).Val(); got != strconv.Itoa(1<<40+1) {
		t.Errorf("the counter is %s", got)
	}
}

// evictAndBump is an eviction of a tag's counter and then invalidations: how often the entry of
// before comes back is counted by the caller.
func evictAndBump(t *testing.T, rdb *redis.Client, bump func() error, comesBack func() bool) (back int) {
	t.Helper()
	must(t, rdb.Del(t.Context(), counterOf(t, "class:s1")).Err())
	if comesBack() {
		back++
	}
	for range 20 {
		must(t, bump())
		if comesBack() {
			back++
		}
	}
	return back
}

func TestAnEvictedCounterNeverBringsAnOldEntryBack(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	c := newCache(t, rdb)
	lookup := func() bool {
		_, found, err := c.Lookup(t.Context(), detail)
		must(t, err)
		return found
	}
	counter := counterOf(t, "class:s1")
	for _, bump := range []struct {
		name string
		bump func() error
	}{
		{"ours", func() error { return c.Invalidate(t.Context(), changed) }},
		{"the old release's", func() error { return rdb.Incr(t.Context(), counter).Err() }},
	} {
		for bumps := range 5 {
			// The old release began to count: its versions are small, and no entry may have one.
			must(t, rdb.Set(t.Context(), counter, bumps, 0).Err())
			mustGet(t, c, detail, newSource("v").load, "v")
			if !lookup() {
				t.Fatal("the entry is not used even before")
			}
			if back := evictAndBump(t, rdb, bump.bump, lookup); back != 0 {
				t.Errorf("%s: the old entry came back %d times", bump.name, back)
			}
		}
	}
	mustGet(t, c, detail, newSource("v2").load, "v2")
}

// The naive counter starts at 1: an entry that was filled at 3 is back after three invalidations.
func TestANaiveCounterBringsAnOldEntryBack(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	counter := counterOf(t, "class:s1")
	must(t, rdb.Set(t.Context(), counter, 3, 0).Err())
	stored := rdb.Get(t.Context(), counter).Val() // the version in the entry
	back := evictAndBump(t, rdb,
		func() error { return rdb.Incr(t.Context(), counter).Err() },
		func() bool { return rdb.Get(t.Context(), counter).Val() == stored })
	if back == 0 {
		t.Error("the naive counter brings nothing back: the test cannot see it")
	}
}

func TestBrokenCountersAreMendedAndInvalidate(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	c := newCache(t, rdb)
	counter := counterOf(t, "class:s1")
	for _, poison := range []func(p redis.Pipeliner){
		func(p redis.Pipeliner) { p.Set(t.Context(), counter, "no number", 0) },
		func(p redis.Pipeliner) { p.Set(t.Context(), counter, "0", 0) },
		func(p redis.Pipeliner) { p.Set(t.Context(), counter, "-5", 0) },
		func(p redis.Pipeliner) { p.Set(t.Context(), counter, "99999999999999999999", 0) },
		func(p redis.Pipeliner) { p.Set(t.Context(), counter, "9223372036854775807", 0) }, // INCR overflows
		func(p redis.Pipeliner) { p.LPush(t.Context(), counter, "another type") },
	} {
		poisonIt := func() {
			_, err := rdb.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
				p.Del(t.Context(), counter)
				poison(p)
				return nil
			})
			must(t, err)
		}
		poisonIt()
		src := newSource("old")
		mustGet(t, c, detail, src.load, "old") // a load, whether it can be kept or not
		src.set("new")
		poisonIt()
		must(t, c.Invalidate(t.Context(), changed))
		mustGet(t, c, detail, src.load, "new")
		mustGet(t, c, detail, newSource("not loaded").load, "new")
	}
}

// At full memory INCR is refused. The counter is removed instead, and an upsert's entry as well.
func TestAFullServerStillInvalidates(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		s := redistest.Start(t)
		rdb := s.Client()
		c, src := newCache(t, rdb, epochs), newSource("v1")
		other := Entry{Type: SessionDetail, Key: "s2", Tags: []string{"class:s2"}}
		mustGet(t, c, detail, src.load, "v1")
		mustGet(t, c, other, src.load, "v1")
		must(t, rdb.ConfigSet(t.Context(), "maxmemory", "1").Err())
		if err := rdb.Incr(t.Context(), "x").Err(); err == nil {
			t.Fatal("the server is not full")
		}
		src.set("v2")
		must(t, c.Invalidate(t.Context(), changed))
		mustGet(t, c, detail, src.load, "v2")
		must(t, c.Upsert(t.Context(), other, []byte("v2")))
		mustGet(t, c, other, src.load, "v2")
		must(t, rdb.ConfigSet(t.Context(), "maxmemory", "0").Err())
		src.set("v3")
		mustGet(t, c, detail, src.load, "v3")
		mustGet(t, c, detail, newSource("not loaded").load, "v3")
	})
}

func TestAFailedInvalidationIsReported(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		s := redistest.Start(t)
		rdb := s.Client(func(o *redis.Options) { o.MaxRetries = -1 })
		c := newCache(t, rdb, epochs)
		must(t, rdb.Do(t.Context(), "replicaof", "127.0.0.1", "1").Err()) // read-only: an answer, and no
		if err := c.Invalidate(t.Context(), changed); epochsOn(c) && !unavailable.Is(err) {
			t.Errorf("on a read-only server: %v", err)
		}
		s.Kill()
		err := c.Invalidate(t.Context(), changed)
		if !unavailable.Is(err) {
			t.Errorf("on a dead server: %v", err)
		}
		var already *unavailable.Error
		if !errors.As(err, &already) || already.Op == "" {
			t.Errorf("the error does not say what was being done: %v", err)
		}
		if m := c.CacheMetrics(); m.InvalidationsFailed == 0 || m.Unavailable == 0 {
			t.Errorf("metrics %+v", m)
		}
	})
}

func epochsOn(c *Cache) bool { return c.cfg.Epochs }

// One read is one command: an entry and all its counters.
func TestAReadIsOneCommand(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	c := newCache(t, rdb)
	mustGet(t, c, detail, newSource("v").load, "v")
	p := &points{}
	rdb.AddHook(p)
	mustGet(t, c, detail, newSource("not loaded").load, "v")
	if n := p.passed(); n != 2 { // before it and after it
		t.Errorf("a hit passes %d points", n)
	}
}

func TestEntriesOfATagAreAllInvalidatedAndNoOthers(t *testing.T) {
	c := newCache(t, redistest.Shared(t).Client())
	entry := func(i int, tag string) Entry {
		return Entry{Type: SessionDetail, Key: fmt.Sprint(tag, i), Tags: []string{tag, "all"}}
	}
	for i := range 20 {
		mustGet(t, c, entry(i, "a"), newSource("v1").load, "v1")
		mustGet(t, c, entry(i, "b"), newSource("v1").load, "v1")
	}
	must(t, c.Invalidate(t.Context(), Scope{Type: SessionDetail, Prefix: "a", Tags: []string{"a"}}))
	for i := range 20 {
		mustGet(t, c, entry(i, "a"), newSource("v2").load, "v2")
		mustGet(t, c, entry(i, "b"), newSource("v2").load, "v1")
	}
	must(t, c.Invalidate(t.Context(), Scope{Type: SessionDetail, Tags: []string{"all"}}))
	for i := range 20 {
		mustGet(t, c, entry(i, "a"), newSource("v3").load, "v3")
		mustGet(t, c, entry(i, "b"), newSource("v3").load, "v3")
	}
}

func TestJitterIsWithin15Percent(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	c := newCache(t, rdb, func(cfg *Config) { cfg.NoJitter = false })
	seen := map[time.Duration]bool{}
	for i := range 100 {
		d := c.lifetime(SessionDetail)
		if d < 510*time.Second || d > 690*time.Second {
			t.Errorf("%d: a lifetime of %v", i, d)
		}
		seen[d] = true
	}
	if len(seen) < 90 {
		t.Errorf("100 lifetimes are %d different ones", len(seen))
	}
}

// An invalidation is one round trip that writes one counter, however much there is to invalidate.
func TestAnInvalidationCostsTheSameForAnyNumberOfEntries(t *testing.T) {
	for _, entries := range []int{1, 2000} {
		s := redistest.Start(t)
		plain, watched, p := s.Client(), s.Client(), &points{}
		watched.AddHook(p)
		filler, c := newCache(t, plain), newCache(t, watched)
		for i := range entries {
			must(t, filler.Upsert(t.Context(), Entry{Type: SessionList, Key: strconv.Itoa(i), Tags: []string{"all"}}, []byte("v")))
		}
		redistest.WaitFor(t, 10*time.Second, func() bool { // the connection is there, greeted, and kept
			p.start(0, nil)
			must(t, c.Invalidate(t.Context(), Scope{Type: SessionList, Tags: []string{"another"}}))
			return p.passed() == 2
		})
		must(t, plain.ConfigResetStat(t.Context()).Err())
		p.start(0, nil)
		must(t, c.Invalidate(t.Context(), Scope{Type: SessionList, Tags: []string{"all"}}))
		stats := plain.Info(t.Context(), "commandstats").Val()
		for _, want := range []string{"cmdstat_incr:calls=1,", "cmdstat_set:calls=1,", "cmdstat_exec:calls=1,"} {
			if !strings.Contains(stats, want) {
				t.Errorf("%d entries: no %s in\n%s", entries, want, stats)
			}
		}
		for _, never := range []string{"cmdstat_scan:", "cmdstat_keys:", "cmdstat_unlink:", "cmdstat_del:"} {
			if strings.Contains(stats, never) {
				t.Errorf("%d entries: %s in\n%s", entries, never, stats)
			}
		}
		if n := p.passed(); n != 2 {
			t.Errorf("%d entries: %d points, want the two of one round trip", entries, n)
		}
		for i := range entries {
			if _, found, err := c.Lookup(t.Context(), Entry{Type: SessionList, Key: strconv.Itoa(i), Tags: []string{"all"}}); found || err != nil {
				t.Fatalf("entry %d is still there: %v", i, err)
			}
		}
	}
}
