package clienttest

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/phase"
)

// The gates of a walk, done by hand on a small keyspace: what they prove and why is in package
// phase, the real sweeps have tests of their own.

// sweepFor makes true what the step from one phase to another needs.
func sweepFor(t *testing.T, bare *redis.Client, s phase.Strategy, from, to phase.Phase) {
	t.Helper()
	ctx := t.Context()
	at := stage{s, from}
	legacy, target := names(t, bare, at.key("*")), names(t, bare, at.target("*"))
	pipe := bare.Pipeline()
	switch {
	case from == phase.Guard && to == phase.Dual, from == phase.Legacy && to == phase.Hold:
		for _, n := range target {
			pipe.Unlink(ctx, n) // purge: leftovers of an earlier try
		}
	case from == phase.Dual && (to == phase.Settled || to == phase.Sealed):
		for _, n := range legacy {
			pipe.Copy(ctx, n, "cw:test:"+n, 0, false) // backfill
		}
	case from == phase.Sealed && to == phase.Prefixed:
		for _, n := range legacy {
			pipe.Unlink(ctx, n) // cleanup: every one of them has its target copy
		}
	case from == phase.Dual && to == phase.Guard:
		for _, n := range target {
			pipe.Copy(ctx, n, n[len("cw:test:"):], 0, true) // reverse
		}
	case from == phase.Move && to == phase.Prefixed:
		for _, n := range legacy {
			pipe.RenameNX(ctx, n, "cw:test:"+n) // relocate
		}
	case from == phase.Hold && to == phase.Legacy:
		for _, n := range target {
			pipe.RenameNX(ctx, n, n[len("cw:test:"):]) // reverse
		}
	}
	// A key that its owner removed between SCAN and here has nothing to be renamed: an error of
	// the server's that changes nothing.
	_, _ = pipe.Exec(ctx)
}

func names(t *testing.T, bare *redis.Client, pattern string) []string {
	t.Helper()
	var all []string
	it := bare.Scan(t.Context(), 0, pattern, 1000).Iterator()
	for it.Next(t.Context()) {
		all = append(all, it.Val())
	}
	must(t, it.Err())
	return all
}
