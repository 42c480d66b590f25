package accesscode_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/classwaves/internal/phasefleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// rules are those of the two halves. They are of one set of flags and move together.
var rules = []string{"session_codes", "access_codes"}

// member is a process of a fleet: a client whose keys rekey places, and codes that do not know.
type member struct {
	rekey  *rekey.Rekey
	phases *rekey.Manual
	client *redis.Client
	codes  *accesscode.Codes
}

func newMember(t testing.TB, s *redistest.Server, d accesscode.Directory, p phase.Phase) *member {
	t.Helper()
	phases := rekey.NewManual(phasefleet.At(p, rules...))
	r, client := phasefleet.Open(t, s, rekey.WithSource(phases), once)
	return &member{r, phases, client, newCodes(t, client, d)}
}

func (m *member) walk(t testing.TB, to phase.Phase) {
	t.Helper()
	phasefleet.Lead(t, m.rekey, m.phases, phasefleet.At(to, rules...))
}

// besides are all pairs of phases that may stand side by side, each with itself included.
func besides(s phase.Strategy) (out [][2]phase.Phase) {
	for _, a := range phase.Of(s) {
		for _, b := range phase.Of(s) {
			if a == b || phase.Beside(s, a, b) {
				out = append(out, [2]phase.Phase{a, b})
			}
		}
	}
	return out
}

// One process gives the code out, the other finds and releases it, in every two phases.
func TestCreateResolveReleaseInEveryPhase(t *testing.T) {
	for _, p := range besides(phase.Mirror) {
		t.Run(fmt.Sprintf("%v and %v", p[0], p[1]), func(t *testing.T) {
			s, d := redistest.Shared(t), newDirectory()
			one, other := newMember(t, s, d, p[0]), newMember(t, s, d, p[1])
			one.codes.Draw(inTurn("AAAAAA"))
			other.codes.Draw(inTurn("AAAAAA"))

			code := create(t, one.codes, "s1")
			asked := d.queries()
			for _, m := range []*member{one, other} {
				wantPair(t, m.client, "s1", code)
				if got := resolve(t, m.codes, code); got != "s1" {
					t.Errorf("leads to %q", got)
				}
				if got := create(t, m.codes, "s1"); got != code {
					t.Errorf("was given %q", got)
				}
			}
			if d.queries() != asked {
				t.Error("the directory was asked though the pair agrees")
			}

			// The code goes on to another session, by the other process.
			release(t, other.codes, "s1")
			for _, m := range []*member{one, other} {
				wantNone(t, m.client, "s1", code)
				if got := resolve(t, m.codes, code); got != "" {
					t.Errorf("the released code leads to %q", got)
				}
			}
			if got := create(t, other.codes, "s2"); got != code {
				t.Fatalf("s2 was given %q", got)
			}
			for _, m := range []*member{one, other} {
				if got := resolve(t, m.codes, code); got != "s2" {
					t.Errorf("leads to the former classroom %q", got)
				}
			}

			// And a pair that lost a half is put right.
			if err := other.client.Del(t.Context(), codeKey(t, code)).Err(); err != nil {
				t.Fatal(err)
			}
			if got := resolve(t, one.codes, code); got != "s2" {
				t.Errorf("leads to %q", got)
			}
			wantPair(t, other.client, "s2", code)
		})
	}
}

func TestNoTwoSessionsShareACodeInAnyPhase(t *testing.T) {
	for _, p := range besides(phase.Mirror) {
		t.Run(fmt.Sprintf("%v and %v", p[0], p[1]), func(t *testing.T) {
			s, d := redistest.Shared(t), newDirectory()
			d.lax = true // so that Redis alone keeps them apart
			one, other := newMember(t, s, d, p[0]), newMember(t, s, d, p[1])
			one.codes.Draw(few)
			other.codes.Draw(few)
			for code, session := range race(t, []*accesscode.Codes{one.codes, other.codes}) {
				if got := resolve(t, other.codes, code); got != session {
					t.Errorf("the code of %s leads to %q", session, got)
				}
			}
		})
	}
}

// The plain flip: one process reads and writes the new names, the other the old ones. Two sessions get
// one code, and whoever types it lands in the classroom of the process that was asked.
func TestPlainFlipSharesCodes(t *testing.T) {
	s := redistest.Shared(t)
	lax := newDirectory()
	lax.lax = true
	old, flipped := newMember(t, s, lax, phase.Legacy), newMember(t, s, lax, phase.Prefixed)
	old.codes.Draw(inTurn("AAAAAA"))
	flipped.codes.Draw(inTurn("AAAAAA"))
	create(t, old.codes, "s1")
	if got := create(t, flipped.codes, "s2"); got != "AAAAAA" {
		t.Fatalf("s2 was given %q: the plain flip is not naive", got)
	}
	if a, b := resolve(t, old.codes, "AAAAAA"), resolve(t, flipped.codes, "AAAAAA"); a != "s1" || b != "s2" {
		t.Errorf("the code leads to %s and %s", a, b)
	}
}

// Codes go from session to session while the fleet is walked up and down, with every gate proven.
func TestWalk(t *testing.T) {
	s, d := redistest.Shared(t), newDirectory()
	fleet := []*member{newMember(t, s, d, phase.Legacy), newMember(t, s, d, phase.Legacy)}
	staying := create(t, fleet[0].codes, "staying")
	o, stop := live(t, []*accesscode.Codes{fleet[0].codes, fleet[1].codes})
	up := phase.Walk(phase.Mirror)
	way := append([]phase.Phase{}, up[1:]...)
	for i := len(up) - 2; i >= 0; i-- {
		way = append(way, up[i])
	}
	from := up[0]
	for _, to := range way {
		proveGates(t, s, from, to)
		for _, m := range fleet {
			m.walk(t, to)
			goal := o.count() + 15
			redistest.WaitFor(t, patient, func() bool { return o.count() >= goal })
			if got := resolve(t, m.codes, staying); got != "staying" {
				t.Errorf("in %v a code given out before leads to %q", to, got)
			}
		}
		from = to
	}
	stop()
	t.Logf("%d codes given out over %d steps", o.count(), len(way))
	for rule, stats := range fleet[0].rekey.Stats().Rules {
		if stats.Divergences > 0 {
			t.Errorf("%s: %d divergences", rule, stats.Divergences)
		}
	}
	wantPair(t, s.Client(), "staying", staying) // home again, under the names of old
}

// proveGates runs the sweeps of a step, as an operator does.
func proveGates(t *testing.T, s *redistest.Server, from, to phase.Phase) {
	t.Helper()
	step, ok := phase.StepBetween(phase.Mirror, from, to)
	if !ok {
		t.Fatalf("no step from %v to %v", from, to)
	}
	for _, gate := range step.Gates {
		kind, err := sweep.ParseKind(gate.Sweep())
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range rules {
			result, err := sweep.Run(t.Context(), sweep.Options{
				Client: s.Client(), Plan: phasefleet.Plan(t), Rule: rule, Kind: kind, Phase: from,
				Execute:      kind == sweep.Purge || kind == sweep.Cleanup,
				RemoveStrays: kind == sweep.Cleanup && from == phase.Sealed,
			})
			if err != nil {
				t.Fatal(err)
			}
			if holds, reason := result.Verdict.Holds(gate); !holds {
				t.Fatalf("%v to %v, %s: %v does not hold: %s", from, to, rule, gate, reason)
			}
		}
	}
}
