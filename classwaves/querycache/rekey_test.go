package querycache

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves/internal/phasefleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// cacheRules are the rules of the plan that this package's keys are under.
var cacheRules = []string{"query_cache", "query_cache_locks", "tag_versions"}

func allAt(p phase.Phase) map[string]phase.Phase { return phasefleet.At(p, cacheRules...) }

// fallbacks is what rekey counted for the cache's rules: Config.LegacyFallbacks of an application.
func fallbacks(r *rekey.Rekey) func() uint64 {
	return func() (n uint64) {
		rules := r.Stats().Rules
		for _, rule := range cacheRules {
			n += rules[rule].Fallbacks
		}
		return n
	}
}

// Two processes over rekey do what they do without it, in every phase.
func TestTheCacheWorksInEveryPhase(t *testing.T) {
	for _, at := range phase.Of(phase.Mirror) {
		t.Run(at.String(), func(t *testing.T) {
			bothWays(t, func(t *testing.T, epochs func(*Config)) {
				s, clk, src := redistest.Shared(t), newClock(), newSource("v1")
				_, rdbA := phasefleet.Open(t, s, rekey.WithPhases(allAt(at)))
				_, rdbB := phasefleet.Open(t, s, rekey.WithPhases(allAt(at)))
				a, b := newCache(t, rdbA, epochs, clk.in), newCache(t, rdbB, epochs, clk.in)

				if loads := stampede(t, 100, func() {}, get, a, b); loads != 1 {
					t.Errorf("200 gets ran the loader %d times", loads)
				}
				if n := rdbA.Exists(t.Context(), keysOf(t, detail).lock).Val(); n != 0 {
					t.Error("the lock is left")
				}
				must(t, a.Invalidate(t.Context(), changed))
				mustGet(t, b, detail, src.load, "v1")
				must(t, b.Upsert(t.Context(), detail, []byte("v2")))
				mustGet(t, a, detail, src.load, "v2")
				src.set("v3")
				must(t, b.Invalidate(t.Context(), changed))
				mustGet(t, a, detail, src.load, "v3")
				mustLoads(t, src, 2)
				if kept := rdbA.PTTL(t.Context(), keysOf(t, detail).entry).Val(); kept > detail.Type.TTL+staleFor || kept < detail.Type.TTL {
					t.Errorf("the entry is kept for %v", kept)
				}
				src.set("v4")
				clk.advance(detail.Type.TTL * 8 / 10)
				mustGet(t, a, detail, src.load, "v3")
				a.work.Wait()
				mustGet(t, b, detail, src.load, "v4")
				keepsTheRace(t, epochs, a, b)
				onlyKnownNames(t, s, at)
			})
		})
	}
}

// keepsTheRace invalidates while a loader of another process runs.
func keepsTheRace(t *testing.T, epochs func(*Config), a, b *Cache) {
	t.Helper()
	src := newSource("old")
	must(t, b.Invalidate(t.Context(), changed))
	mustGet(t, a, detail, func(ctx context.Context) ([]byte, error) {
		v, err := src.load(ctx)
		src.set("new")
		must(t, b.Invalidate(ctx, changed))
		return v, err
	}, "old")
	mustGet(t, a, detail, src.load, "new")
	mustGet(t, b, detail, src.load, "new")
}

// onlyKnownNames looks at the bare server. It is about the wire, and so names the environment's
// prefix: where only one of the two names is used, no key is under the other.
func onlyKnownNames(t *testing.T, s *redistest.Server, at phase.Phase) {
	t.Helper()
	for _, name := range s.Client().Keys(t.Context(), "*").Val() {
		moved := strings.HasPrefix(name, "cw:test:")
		if at == phase.Legacy && moved || at == phase.Prefixed && !moved {
			t.Errorf("in %v there is the key %q", at, name)
		}
	}
}

// step is a walk's step for the whole fleet, one instance after the other, and the sweep before it.
type step struct {
	to    phase.Phase
	sweep func(t *testing.T, bare *redis.Client)
}

// Sweeps, as rekey's own ones are: one atomic command for each key. They are about the wire, and so
// know the prefix.
func backfill(t *testing.T, bare *redis.Client) {
	each(t, bare, false, func(name string) error {
		return bare.Copy(t.Context(), name, "cw:test:"+name, 0, false).Err()
	})
}

func cleanup(t *testing.T, bare *redis.Client) {
	each(t, bare, false, func(name string) error { return bare.Unlink(t.Context(), name).Err() })
}

func reverse(t *testing.T, bare *redis.Client) {
	each(t, bare, true, func(name string) error {
		return bare.Copy(t.Context(), name, strings.TrimPrefix(name, "cw:test:"), 0, true).Err()
	})
}

func purge(t *testing.T, bare *redis.Client) {
	each(t, bare, true, func(name string) error { return bare.Unlink(t.Context(), name).Err() })
}

func each(t *testing.T, bare *redis.Client, moved bool, do func(name string) error) {
	t.Helper()
	for it := bare.Scan(t.Context(), 0, "*", 100).Iterator(); it.Next(t.Context()); {
		if strings.HasPrefix(it.Val(), "cw:test:") == moved {
			must(t, do(it.Val()))
		}
	}
}

// A fleet of two is walked forwards and back under load, once round: every Get sees every change
// that was invalidated before it began.
func TestTheCacheIsWalkedUnderLoad(t *testing.T) {
	s := redistest.Shared(t)
	sources := []*rekey.Manual{rekey.NewManual(allAt(phase.Legacy)), rekey.NewManual(allAt(phase.Legacy))}
	a, rdbA := phasefleet.Open(t, s, rekey.WithSource(sources[0]))
	b, rdbB := phasefleet.Open(t, s, rekey.WithSource(sources[1]))
	counted := func(r *rekey.Rekey) func(*Config) { return func(cfg *Config) { cfg.LegacyFallbacks = fallbacks(r) } }
	f := newFreshness(newCache(t, rdbA, counted(a)), newCache(t, rdbB, counted(b)))

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.run(t, ctx) }()
	traffic := func() {
		t.Helper()
		want := f.gets.Load() + 300
		redistest.WaitFor(t, time.Minute, func() bool { return f.gets.Load() >= want || t.Failed() })
	}
	bare := s.Client()
	for _, st := range []step{
		{phase.Guard, nil}, {phase.Dual, nil}, {phase.Settled, backfill}, {phase.Sealed, nil}, {phase.Prefixed, cleanup},
		{phase.Sealed, nil}, {phase.Settled, nil}, {phase.Dual, nil}, {phase.Guard, reverse}, {phase.Legacy, nil},
		{phase.Guard, purge}, {phase.Dual, nil},
	} {
		traffic()
		if st.sweep != nil {
			st.sweep(t, bare)
		}
		for i, r := range []*rekey.Rekey{a, b} {
			sources[i].Set(allAt(st.to))
			redistest.WaitFor(t, 30*time.Second, func() bool { return maps.Equal(wanted(r), allAt(st.to)) })
			must(t, r.WaitReached(t.Context()))
			traffic()
		}
	}
	cancel()
	<-done
	t.Logf("%d gets, metrics of one process %+v", f.gets.Load(), f.caches[0].CacheMetrics())
}

// wanted is the phases of the cache's rules.
func wanted(r *rekey.Rekey) map[string]phase.Phase {
	phases := map[string]phase.Phase{}
	for _, rule := range cacheRules {
		phases[rule] = r.Phases()[rule]
	}
	return phases
}

// What lies under the legacy name only is found in dual, and counted.
func TestLegacyFallbacksAreInTheMetrics(t *testing.T) {
	s := redistest.Shared(t)
	before := newCache(t, s.Client())
	mustGet(t, before, detail, newSource("v").load, "v")
	r, rdb := phasefleet.Open(t, s, rekey.WithPhases(allAt(phase.Dual)))
	c := newCache(t, rdb, func(cfg *Config) { cfg.LegacyFallbacks = fallbacks(r) })
	for range 5 {
		mustGet(t, c, detail, newSource("not loaded").load, "v")
	}
	if n := c.CacheMetrics().LegacyFallbacks; n != 3 {
		t.Errorf("%d legacy fallbacks, want 3: the entry and its two counters, once each", n)
	}
}
