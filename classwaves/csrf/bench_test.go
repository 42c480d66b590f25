package csrf_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/internal/redistest"
)

// BenchmarkCheck is a check beside the reads that it needs, in turns, so that both have the same
// machine.
func BenchmarkCheck(b *testing.B) {
	rdb := redistest.Shared(b).Client()
	tokens := newTokens(b, rdb)
	sent := token(b, tokens, "s")
	current, err := keys.CSRF("s")
	must(b, err)
	previous, err := keys.CSRFPrevious("s")
	must(b, err)
	var opTook, bareTook time.Duration
	b.ReportAllocs()
	for b.Loop() {
		begin := time.Now()
		ok, err := tokens.Check(b.Context(), "s", sent)
		middle := time.Now()
		_, bareErr := rdb.Pipelined(b.Context(), func(p redis.Pipeliner) error {
			p.Get(b.Context(), current)
			p.PTTL(b.Context(), current)
			p.Get(b.Context(), previous)
			return nil
		})
		opTook, bareTook = opTook+middle.Sub(begin), bareTook+time.Since(middle)
		if err != nil || !ok || bareErr != redis.Nil { //nolint:errorlint // the value itself
			b.Fatal(ok, err, bareErr)
		}
	}
	b.ReportMetric(float64(opTook.Nanoseconds())/float64(b.N), "ns/the-op")
	b.ReportMetric(float64(opTook)/float64(bareTook), "x-bare")
}
