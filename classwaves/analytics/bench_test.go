package analytics

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/internal/beside"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ttl"
	"github.com/classwaves/rekey/internal/redistest"
)

// classroom has six groups of five, counted by four processes, as a class on a small fleet has.
func classroom(b *testing.B) (*Analytics, *redis.Client, string) {
	b.Helper()
	s, db := redistest.Shared(b), newMemory(1)
	var a *Analytics
	for p := range 4 {
		a = start(b, client(s), db)
		for g := range 6 {
			for range 5 {
				apply(b, a, "s0", joined(fmt.Sprintf("s0-%d", (g+p)%6)))
			}
		}
	}
	key, err := keys.AnalyticsSession("s0")
	if err != nil {
		b.Fatal(err)
	}
	return a, client(s), key
}

// BenchmarkSession is a read of a session that is in the cache, beside a bare GET of the same entry.
func BenchmarkSession(b *testing.B) {
	a, rdb, key := classroom(b)
	beside.Bare(b,
		func() error { _, _, err := a.Session(b.Context(), "s0"); return err },
		func() error { return rdb.Get(b.Context(), key).Err() })
}

// BenchmarkApply is an event, beside the bare commands that it needs: reading the session's entry, and writing
// that of the session and the group and the dashboard's mark.
func BenchmarkApply(b *testing.B) {
	a, rdb, key := classroom(b)
	raw, err := rdb.Get(b.Context(), key).Result()
	if err != nil {
		b.Fatal(err)
	}
	beside.Bare(b,
		func() error { _, err := a.Apply(b.Context(), "s0", joined("s0-1")); return err },
		func() error {
			_, err := rdb.TxPipelined(b.Context(), func(p redis.Pipeliner) error {
				p.Get(b.Context(), "bare") // bare commands on names of no template
				p.Set(b.Context(), "bare", raw, ttl.AnalyticsSession)
				p.Set(b.Context(), "bare group", raw[:300], ttl.AnalyticsGroup)
				p.Set(b.Context(), "bare mark", "mark", ttl.AnalyticsDashboard)
				return nil
			})
			if err == redis.Nil {
				err = nil
			}
			return err
		})
	b.ReportMetric(float64(len(raw)), "B/entry")
}

// BenchmarkApplyByMany is events of fifty goroutines, which go together, beside nothing: ns/op is of one
// event.
func BenchmarkApplyByMany(b *testing.B) {
	a, _, _ := classroom(b)
	b.SetParallelism(25)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := a.Apply(b.Context(), "s0", joined("s0-1")); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
