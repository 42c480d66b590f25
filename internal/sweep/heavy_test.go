package sweep_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// TestBigKeysAreLeftUntilSomebodyDecides, and a key that has its copy already is none.
func TestBigKeysAreLeftUntilSomebodyDecides(t *testing.T) {
	seed := func(t *testing.T, side func(string) string) *redis.Client {
		client := redistest.Shared(t).Client()
		do(t, client, many("SADD", side("thing:big"), 20_000)...)
		do(t, client, many("SADD", side("thing:double"), 20_000)...)
		do(t, client, "SET", side("thing:small"), "v")
		return client
	}
	same := func(name string) string { return name }
	o := sweep.Options{Plan: parse(t, testPlan), Rule: "things", BigStall: 5 * time.Millisecond}
	t.Run("backfill", func(t *testing.T) {
		o := o
		o.Client, o.Kind, o.Phase = seed(t, same), sweep.Backfill, phase.Dual
		do(t, o.Client, "COPY", "thing:double", target("thing:double"))
		r := run(t, o)
		mustNotHold(t, r, phase.Copied, "1 keys are too big")
		if r.Changed != 1 || r.Problems[sweep.Big] != 1 || !strings.Contains(r.Examples[0].Detail, "stall the server for about") {
			t.Errorf("got %d copied, %+v", r.Changed, r.Examples)
		}
		o.BigKeys = sweep.BigMove // undone by the next access in dual
		mustNotHold(t, run(t, o), phase.Copied, "in phase drain")
		o.BigKeys = sweep.BigNow
		if r = run(t, o); r.Changed != 1 {
			t.Errorf("got %d copied, want the big one", r.Changed)
		}
		mustHold(t, r, phase.Copied)
	})
	t.Run("move in drain", func(t *testing.T) {
		o := o
		o.Client, o.Kind, o.Phase, o.BigKeys = seed(t, same), sweep.Backfill, phase.Drain, sweep.BigMove
		mustHold(t, run(t, o), phase.Copied)
		if o.Client.Exists(t.Context(), "thing:big").Val() != 0 || o.Client.SCard(t.Context(), target("thing:big")).Val() != 20_000 {
			t.Error("the big key was not renamed")
		}
		if o.Client.Exists(t.Context(), "thing:small", target("thing:small")).Val() != 2 {
			t.Error("the small key was not copied")
		}
	})
	t.Run("reverse", func(t *testing.T) {
		o := o
		o.Client, o.Kind, o.Phase = seed(t, target), sweep.Reverse, phase.Dual
		for _, o.BigKeys = range []sweep.BigKeys{sweep.BigSkip, sweep.BigMove} { // no rename gives a legacy copy
			r := run(t, o)
			mustNotHold(t, r, phase.Reversed, "2 keys are too big")
			for _, advice := range []string{r.Verdict.Gates[0].Reason, r.Examples[0].Detail} {
				if !strings.Contains(advice, "--big-keys now") || strings.Contains(advice, "move") {
					t.Errorf("%v: the advice is %q", o.BigKeys, advice)
				}
			}
		}
		o.BigKeys = sweep.BigNow
		mustHold(t, run(t, o), phase.Reversed)
	})
}
