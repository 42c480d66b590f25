package querycache

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/internal/redistest"
)

func TestStatesOfAnEntry(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		rdb, clk, src := redistest.Shared(t).Client(), newClock(), newSource("v1")
		c := newCache(t, rdb, epochs, clk.in)
		ttl := detail.Type.TTL

		mustGet(t, c, detail, src.load, "v1")
		kept := rdb.PTTL(t.Context(), keysOf(t, detail).entry).Val()
		if kept > ttl+staleFor || kept < ttl+staleFor-30*time.Second {
			t.Errorf("the entry is kept for %v, want %v", kept, ttl+staleFor)
		}

		src.set("v2")
		clk.advance(ttl*7/10 - time.Second)
		mustGet(t, c, detail, src.load, "v1") // fresh
		c.work.Wait()
		mustLoads(t, src, 1)

		clk.advance(2 * time.Second)
		for range 10 {
			mustGet(t, c, detail, func(ctx context.Context) ([]byte, error) { // stale
				redistest.WaitFor(t, 10*time.Second, func() bool { return hits(c) == 11 })
				return src.load(ctx)
			}, "v1")
		}
		c.work.Wait()
		mustLoads(t, src, 2)
		mustGet(t, c, detail, src.load, "v2")

		src.set("v3")
		clk.advance(ttl)
		if v, found, err := c.Lookup(t.Context(), detail); found || err != nil {
			t.Errorf("Lookup of an expired entry = %q, %v, %v", v, found, err)
		}
		mustGet(t, c, detail, src.load, "v3")
		mustLoads(t, src, 3)

		m := c.CacheMetrics().Types[detail.Type.Name]
		if m.RefreshAhead != 1 || m.StaleServed != 0 || m.Hits != 12 || m.Misses != 3 || m.HitRate != 12.0/15 {
			t.Errorf("metrics %+v", m)
		}
	})
}

func hits(c *Cache) uint64 { return c.CacheMetrics().Types[detail.Type.Name].Hits }

func TestALoaderThatFails(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		rdb, clk, src := redistest.Shared(t).Client(), newClock(), newSource("v1")
		c := newCache(t, rdb, epochs, clk.in)
		broken := errors.New("database is away")
		fails := func(e Entry) {
			t.Helper()
			if got, err := c.Get(t.Context(), e, src.load); !errors.Is(err, broken) {
				t.Errorf("Get = %q, %v; want the loader's error", got, err)
			}
			if n := rdb.Exists(t.Context(), keysOf(t, e).lock).Val(); n != 0 {
				t.Error("the lock is left")
			}
		}

		src.fail(broken)
		fails(detail)

		src.fail(nil)
		mustGet(t, c, detail, src.load, "v1")
		src.fail(broken)
		clk.advance(detail.Type.TTL + staleFor - time.Second)
		mustGet(t, c, detail, src.load, "v1") // within 60 s past its TTL
		if n := c.CacheMetrics().Types[detail.Type.Name].StaleServed; n != 1 {
			t.Errorf("%d stale served, want 1", n)
		}

		must(t, c.Invalidate(t.Context(), changed)) // what was invalidated is not good for anything
		fails(detail)

		src.fail(nil)
		mustGet(t, c, detail, src.load, "v1")
		src.fail(broken)
		clk.advance(detail.Type.TTL + staleFor + time.Second)
		fails(detail)
	})
}

// An entry that is invalidated while the loader fails is not served: the check is made after it.
func TestAnEntryInvalidatedDuringAFailingLoadIsNotServed(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		clk, src := newClock(), newSource("v1")
		c := newCache(t, redistest.Shared(t).Client(), epochs, clk.in)
		mustGet(t, c, detail, src.load, "v1")
		clk.advance(detail.Type.TTL + time.Second)
		broken := errors.New("database is away")
		got, err := c.Get(t.Context(), detail, func(ctx context.Context) ([]byte, error) {
			return nil, errors.Join(broken, c.Invalidate(ctx, changed))
		})
		if !errors.Is(err, broken) || got != nil {
			t.Errorf("Get = %q, %v", got, err)
		}
	})
}

func TestAFailingRefreshKeepsTheEntryAndRests(t *testing.T) {
	clk, src := newClock(), newSource("v1")
	c := newCache(t, redistest.Shared(t).Client(), clk.in)
	mustGet(t, c, detail, src.load, "v1")
	clk.advance(detail.Type.TTL * 8 / 10)
	src.fail(errors.New("database is away"))
	for range 50 {
		mustGet(t, c, detail, src.load, "v1")
	}
	redistest.WaitFor(t, 10*time.Second, func() bool { return c.CacheMetrics().Types[detail.Type.Name].LoadErrors > 0 })
	must(t, c.Close()) // ends the rest
	if n := src.loads.Load(); n > 10 {
		t.Errorf("50 gets ran a failing loader %d times in the background", n)
	}
}

func TestLoadDecodesAndTreatsWhatDoesNotDecodeAsAMiss(t *testing.T) {
	type point struct{ X int }
	c := newCache(t, redistest.Shared(t).Client())
	loads := 0
	load := func(context.Context) (point, error) { loads++; return point{loads}, nil }
	for _, poison := range []string{"", "[1]", `{"X":"no number"}`, "\x00"} {
		must(t, c.Upsert(t.Context(), detail, []byte(poison)))
		want := point{loads + 1}
		for range 2 {
			if got, err := Load(t.Context(), c, detail, load); err != nil || got != want {
				t.Errorf("Load after %q = %v, %v; want %v", poison, got, err, want)
			}
		}
	}
	if n := c.CacheMetrics().Types[detail.Type.Name].Corrupt; n != 4 {
		t.Errorf("%d corrupt, want 4", n)
	}
}

func TestValuesAreTheCallersOwn(t *testing.T) {
	c := newCache(t, redistest.Shared(t).Client())
	var work sync.WaitGroup
	start, src := make(chan struct{}), newSource("value")
	for range 20 {
		work.Go(func() {
			<-start
			got, err := c.Get(t.Context(), detail, src.load)
			if err != nil || string(got) != "value" {
				t.Errorf("Get = %q, %v", got, err)
				return
			}
			got[0] = 'X' // the race detector sees who else holds it
		})
	}
	close(start)
	work.Wait()
}

func TestALoadersContextOutlivesTheRequest(t *testing.T) {
	type key struct{}
	c := newCache(t, redistest.Shared(t).Client())
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "trace"))
	loading := make(chan context.Context)
	first := make(chan error)
	go func() {
		_, err := c.Get(ctx, detail, func(ctx context.Context) ([]byte, error) {
			loading <- ctx
			<-loading
			return []byte("v"), ctx.Err()
		})
		first <- err
	}()
	inside := <-loading
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the Get that was cancelled answered %v", err)
	}
	if inside.Err() != nil || inside.Value(key{}) != "trace" {
		t.Errorf("the loader's context: %v, value %v", inside.Err(), inside.Value(key{}))
	}
	loading <- nil
	mustGet(t, c, detail, func(context.Context) ([]byte, error) { return nil, errors.New("is loaded already") }, "v")
}

func TestAPanicOfALoaderIsRaisedInTheGet(t *testing.T) {
	c := newCache(t, redistest.Shared(t).Client())
	func() {
		defer func() {
			err, ok := recover().(error)
			if !ok || !strings.Contains(err.Error(), "boom") || !strings.Contains(err.Error(), "get_test.go") {
				t.Errorf("recovered %v, want the panic and its stack", err)
			}
		}()
		_, _ = c.Get(t.Context(), detail, func(context.Context) ([]byte, error) { panic("boom") })
	}()
	mustGet(t, c, detail, newSource("v").load, "v")
}

// Serving an expired entry would hide the panic for as long as the fault is there.
func TestAPanicIsNotHiddenByAnExpiredEntry(t *testing.T) {
	clk, log := newClock(), &logged{}
	c := newCache(t, redistest.Shared(t).Client(), clk.in, log.in)
	mustGet(t, c, detail, newSource("v").load, "v")
	clk.advance(detail.Type.TTL * 8 / 10)
	mustGet(t, c, detail, func(context.Context) ([]byte, error) { panic("boom") }, "v") // in the background
	redistest.WaitFor(t, 10*time.Second, func() bool { return strings.Contains(log.String(), "panicked") })
	clk.advance(detail.Type.TTL)
	defer func() {
		if recover() == nil {
			t.Error("the panic was hidden")
		}
	}()
	_, _ = c.Get(t.Context(), detail, func(context.Context) ([]byte, error) { panic("boom") })
}

func TestCloseEndsLoadsAndWaits(t *testing.T) {
	c := newCache(t, redistest.Shared(t).Client())
	loading, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := c.Get(t.Context(), detail, func(ctx context.Context) ([]byte, error) {
			close(loading)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		ended <- err
	}()
	<-loading
	must(t, c.Close())
	must(t, c.Close())
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("the Get under way answered %v", err)
	}
	_, getErr := c.Get(t.Context(), detail, newSource("v").load)
	_, _, lookupErr := c.Lookup(t.Context(), detail)
	for _, err := range []error{getErr, lookupErr, c.Upsert(t.Context(), detail, nil), c.Invalidate(t.Context(), changed)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("a closed cache answered %v", err)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		c := newCache(t, redistest.Shared(t).Client(), epochs)
		many := make([]string, maxTags+1)
		for i := range many {
			many[i] = strings.Repeat("x", i+1)
		}
		var invalid *keys.InvalidError
		for _, tt := range []struct {
			name string
			e    Entry
			is   func(error) bool
		}{
			{"no key", Entry{Type: SessionList}, func(err error) bool { return errors.As(err, &invalid) }},
			{"a long key", Entry{Type: SessionList, Key: strings.Repeat("k", 513)}, func(err error) bool { return errors.As(err, &invalid) }},
			{"a colon in the type", Entry{Type: Type{Name: "a:b", TTL: 1}, Key: "k"}, func(err error) bool { return errors.As(err, &invalid) }},
			{"an empty tag", Entry{Type: SessionList, Key: "k", Tags: []string{"a", ""}}, func(err error) bool { return errors.As(err, &invalid) }},
			{"no TTL", Entry{Type: Type{Name: "a"}, Key: "k"}, func(err error) bool { return errors.Is(err, ErrType) }},
			{"too many tags", Entry{Type: SessionList, Key: "k", Tags: many}, func(err error) bool { return errors.Is(err, ErrTags) }},
		} {
			src := newSource("v")
			_, getErr := c.Get(t.Context(), tt.e, src.load)
			_, _, lookupErr := c.Lookup(t.Context(), tt.e)
			for _, err := range []error{getErr, lookupErr, c.Upsert(t.Context(), tt.e, nil)} {
				if !tt.is(err) {
					t.Errorf("%s: %v", tt.name, err)
				}
			}
			mustLoads(t, src, 0)
		}
		for _, tt := range []struct {
			name string
			s    Scope
			is   func(error) bool
		}{
			{"no type", Scope{Tags: []string{"a"}}, func(err error) bool { return errors.As(err, &invalid) }},
			{"no tags", Scope{Type: SessionList}, func(err error) bool { return errors.Is(err, ErrTags) }},
			{"an empty tag", Scope{Type: SessionList, Tags: []string{""}}, func(err error) bool { return errors.As(err, &invalid) }},
		} {
			if err := c.Invalidate(t.Context(), changed, tt.s); !tt.is(err) {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
	})
}
