//go:build long

package sweep_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// TestKeyOfTenMillionMembers: it is named and left, copied when asked to, compared in pieces, and removed.
func TestKeyOfTenMillionMembers(t *testing.T) {
	const members = 10_000_000
	client := redistest.Start(t).Client(func(o *redis.Options) { o.ReadTimeout = time.Minute })
	script := `for i = ARGV[1], ARGV[2] do redis.call('SADD', 'thing:big', i .. 'x') end`
	for from := 1; from <= members; from += 100_000 {
		if err := client.Eval(t.Context(), script, nil, from, from+99_999).Err(); err != nil && err != redis.Nil {
			t.Fatal(err)
		}
	}
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Execute: true}
	mustNotHold(t, run(t, o), phase.Copied, "1 keys are too big")
	o.BigKeys = sweep.BigNow
	mustHold(t, run(t, o), phase.Copied)
	o.Kind = sweep.Verify
	mustHold(t, run(t, o), phase.Verified)
	do(t, client, "SREM", target("thing:big"), "7777777x")
	do(t, client, "SADD", target("thing:big"), "another")
	if r := run(t, o); r.Problems[sweep.Value] != 1 {
		t.Errorf("one member of ten million differs: got %v", r.Problems)
	}
	o.Kind, o.Phase = sweep.Cleanup, phase.Sealed
	mustHold(t, run(t, o), phase.NoLegacy)
}
