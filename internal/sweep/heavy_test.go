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

// TestRepairLeavesBigKeys, whichever name it would copy, and says so before it is told to execute. What it only removes is not copied.
func TestRepairLeavesBigKeys(t *testing.T) {
	big := func(name string) []any { return many("SADD", name, 20_000) }
	for _, c := range []struct {
		phase  phase.Phase
		seed   func(c *redis.Client)
		small  int64 // keys that are repaired at once
		repair int64 // and when big ones are as well
	}{
		{phase.Dual, func(c *redis.Client) { // without a target, and with another value there
			do(t, c, big("thing:big")...)
			do(t, c, big(target("thing:other"))...)
			do(t, c, "SADD", "thing:other", "x")
			do(t, c, "SET", "thing:small", "v")
		}, 1, 2},
		{phase.Settled, func(c *redis.Client) { // without a target: removed; and a target alone
			do(t, c, big("thing:big")...)
			do(t, c, big(target("thing:other"))...)
		}, 1, 1},
	} {
		t.Run(c.phase.String(), func(t *testing.T) {
			client := redistest.Shared(t).Client()
			c.seed(client)
			o := sweep.Options{
				Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: c.phase, Repair: true, BigStall: 5 * time.Millisecond,
			}
			for _, o.Execute = range []bool{false, true} {
				r := run(t, o)
				named := 0
				for _, e := range r.Examples {
					if strings.HasSuffix(e.Detail, "; --big-keys now copies it") {
						named++
					}
				}
				if int64(named) != c.repair || !noted(r, "--big-keys now mends them too") {
					t.Errorf("execute %v: %+v, notes %q", o.Execute, r.Examples, r.Notes)
				}
				if o.Execute && r.Changed != c.small {
					t.Errorf("%d repaired, want %d", r.Changed, c.small)
				}
			}
			o.BigKeys = sweep.BigNow
			if r := run(t, o); r.Changed != c.repair || noted(r, "--big-keys") {
				t.Errorf("with --big-keys now %d repaired, want %d; notes %q", r.Changed, c.repair, r.Notes)
			}
			o.Repair, o.Execute = false, false
			if r := run(t, o); r.Found() > 0 {
				t.Errorf("after the repairs: %+v", r.Examples)
			}
		})
	}
}
