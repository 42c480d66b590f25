package accesscode_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// clocks sums what two ways of the same take, in turns.
type clocks struct{ ours, bare time.Duration }

func timed(b *testing.B, sum *time.Duration, f func() error) {
	begin := time.Now()
	if err := f(); err != nil {
		b.Fatal(err)
	}
	*sum += time.Since(begin)
}

func (c clocks) report(b *testing.B) {
	b.ReportMetric(float64(c.ours.Nanoseconds())/float64(b.N), "ns/ours")
	b.ReportMetric(float64(c.ours)/float64(c.bare), "x-bare")
}

var benchPhases = []phase.Phase{phase.Legacy, phase.Dual, phase.Settled, phase.Prefixed}

// eachPhase runs a benchmark with a bare client and over rekey.
func eachPhase(b *testing.B, run func(b *testing.B, rdb *redis.Client, c *accesscode.Codes)) {
	b.Run("bare", func(b *testing.B) {
		rdb := redistest.Shared(b).Client()
		run(b, rdb, newCodes(b, rdb, newDirectory()))
	})
	for _, p := range benchPhases {
		b.Run(p.String(), func(b *testing.B) {
			s := redistest.Shared(b)
			run(b, s.Client(), newMember(b, s, newDirectory(), p).codes)
		})
	}
}

// BenchmarkResolve is the way of a student who joins, beside the two GETs that it needs.
func BenchmarkResolve(b *testing.B) {
	eachPhase(b, func(b *testing.B, rdb *redis.Client, c *accesscode.Codes) {
		code := create(b, c, "s1")
		put(b, rdb, "bare:code", "s1")
		put(b, rdb, "bare:session", code)
		var took clocks
		for b.Loop() {
			timed(b, &took.ours, func() error { _, _, err := c.Resolve(b.Context(), code); return err })
			timed(b, &took.bare, func() error {
				if err := rdb.Get(b.Context(), "bare:code").Err(); err != nil {
					return err
				}
				return rdb.Get(b.Context(), "bare:session").Err()
			})
		}
		took.report(b)
	})
}

// BenchmarkCreateRelease is a session's whole use of its code, beside the commands that it needs with
// both keys written and removed together.
func BenchmarkCreateRelease(b *testing.B) {
	eachPhase(b, func(b *testing.B, rdb *redis.Client, c *accesscode.Codes) {
		n := 0
		var took clocks
		for b.Loop() {
			n++
			session, ctx := fmt.Sprintf("s%d", n), b.Context()
			timed(b, &took.ours, func() error {
				if _, err := c.Create(ctx, session); err != nil {
					return err
				}
				return c.Release(ctx, session)
			})
			code, back := "bare:code:"+session, "bare:session:"+session
			timed(b, &took.bare, func() error {
				if err := rdb.Get(ctx, back).Err(); err != redis.Nil { //nolint:errorlint // it is that very value
					return err
				}
				if err := rdb.SetArgs(ctx, code, session, redis.SetArgs{Mode: "NX", TTL: time.Minute}).Err(); err != nil {
					return err
				}
				if _, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
					p.Set(ctx, code, session, time.Hour)
					p.Set(ctx, back, session, time.Hour)
					return nil
				}); err != nil {
					return err
				}
				if err := rdb.Get(ctx, back).Err(); err != nil {
					return err
				}
				return rdb.Del(ctx, code, back).Err()
			})
		}
		took.report(b)
	})
}
