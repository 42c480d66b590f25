package querycache

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/internal/beside"
	"github.com/classwaves/rekey/internal/redistest"
)

func BenchmarkHit(b *testing.B) {
	for _, size := range []int{100, 4000, 40_000} {
		for _, epochs := range []bool{true, false} {
			b.Run(fmt.Sprintf("bytes=%d/epochs=%v", size, epochs), func(b *testing.B) {
				rdb := redistest.Shared(b).Client()
				c := newCache(b, rdb, func(cfg *Config) { cfg.Epochs = epochs })
				value := bytes.Repeat([]byte("value "), size/6)
				load := func(context.Context) ([]byte, error) { return value, nil }
				if _, err := c.Get(b.Context(), detail, load); err != nil {
					b.Fatal(err)
				}
				q, err := c.query(detail)
				must(b, err)
				beside.Bare(b,
					func() error { _, err := c.Get(b.Context(), detail, load); return err },
					func() error { return rdb.MGet(b.Context(), q.reads...).Err() })
			})
		}
	}
}

// BenchmarkMiss is a load with a loader that takes no time, beside what it asks of Redis: a read, a
// lock with a second look, a fill.
func BenchmarkMiss(b *testing.B) {
	rdb := redistest.Shared(b).Client()
	c := newCache(b, rdb)
	value := bytes.Repeat([]byte("v"), 100)
	load := func(context.Context) ([]byte, error) { return value, nil }
	q, err := c.query(detail)
	must(b, err)
	now, err := c.versionsOf(b.Context(), q)
	must(b, err)
	sealed := c.envelope(q, time.Now(), now, value).seal(q.entry)
	bareLock := q.lock + "-bare"
	i := 0
	beside.Bare(b,
		func() error {
			i++
			e := detail
			e.Key = fmt.Sprint(i)
			_, err := c.Get(b.Context(), e, load)
			return err
		},
		func() error {
			if err := rdb.MGet(b.Context(), q.reads...).Err(); err != nil {
				return err
			}
			_, err := rdb.Pipelined(b.Context(), func(p redis.Pipeliner) error {
				p.SetNX(b.Context(), bareLock, "me", time.Minute)
				p.Get(b.Context(), bareLock)
				p.MGet(b.Context(), q.reads...)
				return nil
			})
			if err != nil {
				return err
			}
			return fillScript.Run(b.Context(), rdb, []string{bareLock, q.entry}, "me", sealed, 60000).Err()
		})
}

// BenchmarkInvalidate is an invalidation of a tag that all entries have, by its counter, beside a
// bare INCR; and the removal of the same entries by their pattern.
func BenchmarkInvalidate(b *testing.B) {
	for _, entries := range []int{1, 1_000, 100_000, 1_000_000} {
		scope := Scope{Type: SessionList, Prefix: "bench", Tags: []string{"bench"}}
		prefix := keysOf(b, Entry{Type: scope.Type, Key: scope.Prefix}).entry
		fill := func(rdb *redis.Client) {
			must(b, rdb.Do(b.Context(), "debug", "populate", entries, prefix, 100).Err())
		}
		b.Run(fmt.Sprintf("epochs/entries=%d", entries), func(b *testing.B) {
			rdb := redistest.Start(b, redistest.WithConfig("enable-debug-command yes")).Client(patient)
			c := newCache(b, rdb)
			fill(rdb)
			beside.Bare(b,
				func() error { return c.Invalidate(b.Context(), scope) },
				func() error { return rdb.Incr(b.Context(), "bare").Err() })
		})
		b.Run(fmt.Sprintf("pattern/entries=%d", entries), func(b *testing.B) {
			rdb := redistest.Start(b, redistest.WithConfig("enable-debug-command yes")).Client(patient)
			c := newCache(b, rdb, withoutEpochs)
			var took time.Duration
			for b.Loop() {
				fill(rdb)
				start := time.Now()
				must(b, c.Invalidate(b.Context(), scope))
				took += time.Since(start)
				if n := rdb.DBSize(b.Context()).Val(); n != 0 {
					b.Fatalf("%d entries are left", n)
				}
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "ns/service")
		})
	}
}

// patient waits for a server that populates itself.
func patient(o *redis.Options) { o.ReadTimeout = time.Minute }
