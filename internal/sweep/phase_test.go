package sweep_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// TestWhatMayRunWhere is the whole table: what is not in it is refused.
func TestWhatMayRunWhere(t *testing.T) {
	allowed := map[string]string{
		"purge mirror": "legacy guard", "purge move": "legacy",
		"backfill mirror": "dual drain",
		"verify mirror":   "legacy guard dual settled drain sealed prefixed", "verify move": "legacy hold move prefixed",
		"repair mirror":  "dual settled",
		"reverse mirror": "dual", "reverse move": "hold",
		"cleanup mirror": "drain sealed", "strays mirror": "sealed",
		"relocate move": "move",
	}
	client := redistest.Shared(t).Client()
	p := parse(t, testPlan)
	for _, job := range []string{"purge", "backfill", "verify", "repair", "reverse", "cleanup", "strays", "relocate"} {
		for rule, s := range map[string]phase.Strategy{"things": phase.Mirror, "limits": phase.Relocate} {
			for in := phase.Legacy; int(in) < phase.Count; in++ {
				o := sweep.Options{Client: client, Plan: p, Rule: rule, Phase: in, Execute: true}
				switch job {
				case "repair":
					o.Kind, o.Repair = sweep.Verify, true
				case "strays":
					o.Kind, o.RemoveStrays = sweep.Cleanup, true
				default:
					var err error
					if o.Kind, err = sweep.ParseKind(job); err != nil {
						t.Fatal(err)
					}
				}
				_, err := sweep.Run(t.Context(), o)
				var refused *sweep.PhaseError
				want := slices.Contains(strings.Fields(allowed[job+" "+s.String()]), in.String())
				if got := err == nil; got != want || errors.As(err, &refused) == want {
					t.Errorf("%s (%v) in %v: got %v, allowed: %v", job, s, in, err, want)
				}
			}
		}
	}
}

func TestPhaseErrorSaysWhereToGo(t *testing.T) {
	for _, c := range []struct {
		err  sweep.PhaseError
		want string
	}{
		{sweep.PhaseError{Job: "backfill", Rule: "things", Strategy: phase.Mirror, Phase: phase.Guard, Want: sweep.Backfill.Phases(phase.Mirror)},
			`rekey: backfill of rule "things" (mirror) is safe only when every process is in phase dual or drain, and the phase given is guard; go there first`},
		{sweep.PhaseError{Job: "relocate", Rule: "things", Strategy: phase.Mirror, Phase: phase.Dual},
			`rekey: relocate has nothing to do for rule "things": its strategy is mirror`},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// TestEveryGateHasItsSweep: each gate of each step that a sweep proves is proven by a job that may run in the step's first
// phase, and by no other.
func TestEveryGateHasItsSweep(t *testing.T) {
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		for _, step := range phase.Steps(s) {
			for _, g := range slices.Concat(step.Gates, step.Asked) {
				if g.Sweep() == "" {
					continue
				}
				kind, err := sweep.ParseKind(g.Sweep())
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Contains(kind.Gates(s, step.From), g) {
					t.Errorf("%v %v to %v: %v does not prove %v in %v", s, step.From, step.To, kind, g, step.From)
				}
				if !slices.Contains(kind.Phases(s), step.From) {
					t.Errorf("%v %v to %v wants %v, which may not run in %v", s, step.From, step.To, kind, step.From)
				}
			}
		}
	}
	if got := sweep.Backfill.Gates(phase.Mirror, phase.Settled); got != nil {
		t.Errorf("backfill in settled proves %v", got)
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	p := parse(t, testPlan)
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	for name, o := range map[string]sweep.Options{
		"no client":        {Plan: p, Rule: "things", Kind: sweep.Verify, Phase: phase.Dual},
		"no plan":          {Client: client, Rule: "things", Kind: sweep.Verify, Phase: phase.Dual},
		"no rule":          {Client: client, Plan: p, Rule: "nothing", Kind: sweep.Verify, Phase: phase.Dual},
		"no kind":          {Client: client, Plan: p, Rule: "things", Phase: phase.Dual},
		"repair elsewhere": {Client: client, Plan: p, Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Repair: true},
		"strays elsewhere": {Client: client, Plan: p, Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, RemoveStrays: true},
		"negative page":    {Client: client, Plan: p, Rule: "things", Kind: sweep.Backfill, Phase: phase.Dual, Page: -1},
	} {
		if _, err := sweep.Run(t.Context(), o); !errors.Is(err, sweep.ErrOptions) {
			t.Errorf("%s: got %v, want %v", name, err, sweep.ErrOptions)
		}
	}
}
