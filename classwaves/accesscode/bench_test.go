package accesscode_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/classwaves/internal/beside"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

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
		beside.Bare(b,
			func() error { _, _, err := c.Resolve(b.Context(), code); return err },
			func() error {
				if err := rdb.Get(b.Context(), "bare:code").Err(); err != nil {
					return err
				}
				return rdb.Get(b.Context(), "bare:session").Err()
			})
	})
}

// BenchmarkCreateRelease is a session's whole use of its code, beside the commands that it needs with
// both keys written and removed together.
func BenchmarkCreateRelease(b *testing.B) {
	eachPhase(b, func(b *testing.B, rdb *redis.Client, c *accesscode.Codes) {
		ctx := b.Context()
		n, of := 0, ""
		beside.Bare(b,
			func() error {
				n++
				of = fmt.Sprintf("s%d", n)
				if _, err := c.Create(ctx, of); err != nil {
					return err
				}
				return c.Release(ctx, of)
			},
			func() error {
				code, back := "bare:code:"+of, "bare:session:"+of
				if err := rdb.Get(ctx, back).Err(); !errors.Is(err, redis.Nil) {
					return err
				}
				if err := rdb.SetArgs(ctx, code, of, redis.SetArgs{Mode: "NX", TTL: time.Minute}).Err(); err != nil {
					return err
				}
				if _, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
					p.Set(ctx, code, of, time.Hour)
					p.Set(ctx, back, of, time.Hour)
					return nil
				}); err != nil {
					return err
				}
				if err := rdb.Get(ctx, back).Err(); err != nil {
					return err
				}
				return rdb.Del(ctx, code, back).Err()
			})
	})
}
