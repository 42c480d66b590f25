package querycache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
)

func TestRemovalTakesPrefixesByTheLetter(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	c := newCache(t, rdb, withoutEpochs)
	all := []string{"a", "ab", "b", "a*c", "axc", "a?c", "a[x]c", `a\c`, "a\nc", "ac"}
	for _, tt := range []struct {
		prefix string
		gone   []string
	}{
		{"a*", []string{"a*c"}},
		{"a?", []string{"a?c"}},
		{"a[x]", []string{"a[x]c"}},
		{`a\`, []string{`a\c`}},
		{"ab", []string{"ab"}},
		{"none", nil},
		{"", all},
	} {
		must(t, rdb.FlushDB(t.Context()).Err())
		other := Entry{Type: GroupStatus, Key: "a*c"}
		must(t, c.Upsert(t.Context(), other, []byte("v")))
		for _, key := range all {
			must(t, c.Upsert(t.Context(), Entry{Type: SessionDetail, Key: key}, []byte("v")))
		}
		must(t, c.Invalidate(t.Context(), Scope{Type: SessionDetail, Prefix: tt.prefix, Tags: []string{"t"}}))
		gone := map[string]bool{}
		for _, key := range tt.gone {
			gone[key] = true
		}
		for _, key := range all {
			_, found, err := c.Lookup(t.Context(), Entry{Type: SessionDetail, Key: key})
			must(t, err)
			if found == gone[key] {
				t.Errorf("prefix %q: entry %q is there: %v", tt.prefix, key, found)
			}
		}
		if _, found, err := c.Lookup(t.Context(), other); !found || err != nil {
			t.Errorf("prefix %q: an entry of another type is gone: %v", tt.prefix, err)
		}
	}
}

// 5000 entries among 5000 other keys are several pages. The server must not have seen KEYS.
func TestRemovalWalksInPagesAndNeverAsksForKeys(t *testing.T) {
	rdb := redistest.Start(t).Client()
	c := newCache(t, rdb, withoutEpochs)
	_, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for i := range 5000 {
			p.Set(t.Context(), keysOf(t, Entry{Type: SessionList, Key: fmt.Sprint("x", i)}).entry, "{}", time.Minute)
			p.Set(t.Context(), keysOf(t, Entry{Type: SessionList, Key: fmt.Sprint("y", i)}).entry, "{}", time.Minute)
		}
		return nil
	})
	must(t, err)
	must(t, c.Invalidate(t.Context(), Scope{Type: SessionList, Prefix: "x", Tags: []string{"t"}}))
	if n := rdb.DBSize(t.Context()).Val(); n != 5000 {
		t.Errorf("%d keys are left, want the 5000 others", n)
	}
	stats := rdb.Info(t.Context(), "commandstats").Val()
	if strings.Contains(stats, "cmdstat_keys:") || strings.Contains(stats, "cmdstat_del:") || !strings.Contains(stats, "cmdstat_unlink:") {
		t.Errorf("the server saw:\n%s", stats)
	}
}

func TestAnInvalidationEndsWithItsContext(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		c := newCache(t, redistest.Shared(t).Client(), epochs)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Invalidate(ctx, changed); !errors.Is(err, context.Canceled) {
			t.Errorf("Invalidate = %v", err)
		}
	})
}

func TestUpsertIsReadAndInvalidated(t *testing.T) {
	bothWays(t, func(t *testing.T, epochs func(*Config)) {
		rdb := redistest.Shared(t).Client()
		c, src := newCache(t, rdb, epochs), newSource("loaded")
		must(t, c.Upsert(t.Context(), detail, []byte("v1")))
		mustGet(t, c, detail, src.load, "v1")
		must(t, c.Upsert(t.Context(), detail, []byte("v2")))
		mustGet(t, c, detail, src.load, "v2")
		mustLoads(t, src, 0)
		if kept := rdb.PTTL(t.Context(), keysOf(t, detail).entry).Val(); kept > detail.Type.TTL+staleFor || kept < detail.Type.TTL {
			t.Errorf("it is kept for %v", kept)
		}
		must(t, c.Invalidate(t.Context(), changed))
		mustGet(t, c, detail, src.load, "loaded")
	})
}

// The window of an upsert: an invalidation between its reading of the versions and its write.
func TestAnInvalidationDuringAnUpsertWins(t *testing.T) {
	s := redistest.Shared(t)
	plain, p := s.Client(), &points{}
	watched := s.Client()
	watched.AddHook(p)
	writer, other := newCache(t, watched), newCache(t, plain)
	used := 0
	for at := 1; ; at++ {
		p.start(at, func() { must(t, invalidateIt(other)) })
		must(t, writer.Upsert(t.Context(), detail, []byte("v")))
		if p.passed() < at {
			if at != 5 || used != 1 { // versions and write, before and after; only before all is it good
				t.Errorf("%d points, used after an invalidation at %d of them", at-1, used)
			}
			return
		}
		if _, found, err := other.Lookup(t.Context(), detail); err != nil || found {
			must(t, err)
			used++
		}
	}
}
