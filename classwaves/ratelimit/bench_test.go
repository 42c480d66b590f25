package ratelimit_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/internal/beside"
	"github.com/classwaves/rekey/classwaves/ratelimit"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// roomy never refuses, so that each round does the same.
var roomy = ratelimit.Limit{Name: "bench", Points: 1 << 40, Window: time.Hour, Block: time.Hour}

// BenchmarkTake is a hit beside the one command that it needs, EVALSHA of the same script, and x-incr is
// beside INCR, which is what a limiter without windows would send. All three take turns.
func BenchmarkTake(b *testing.B) {
	for _, c := range []struct {
		name string
		at   phase.Phase
	}{{"bare", phase.Legacy}, {"hold", phase.Hold}, {"move", phase.Move}, {"prefixed", phase.Prefixed}} {
		b.Run(c.name, func(b *testing.B) {
			s := redistest.Shared(b)
			rdb := s.Client()
			l := newLimiter(b, rdb)
			if c.name != "bare" {
				l = newMember(b, s, c.at).limiter
			}
			script := redis.NewScript(ratelimit.TakeScript)
			script.Load(b.Context(), rdb)
			args := []any{roomy.Points, roomy.Window.Milliseconds(), roomy.Block.Milliseconds()}
			name := []string{key(b, roomy, "bare")}
			counter := key(b, roomy, "incr")
			beside.Ways(b,
				func() error { _, err := l.Take(b.Context(), roomy, "ours"); return err },
				beside.Way{Ratio: "x-bare", Do: func() error { return script.EvalSha(b.Context(), rdb, name, args...).Err() }},
				beside.Way{Ratio: "x-incr", Do: func() error { return rdb.Incr(b.Context(), counter).Err() }})
		})
	}
}

// BenchmarkTakeInsured is a hit in an outage that Redis refuses at once.
func BenchmarkTakeInsured(b *testing.B) {
	s := redistest.Start(b)
	l := newLimiter(b, s.Client(once))
	s.Kill()
	for b.Loop() {
		if d, err := l.Take(b.Context(), roomy, "u1"); err != nil || !d.Insured {
			b.Fatal(d, err)
		}
	}
}
