package walktest

import (
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// attempts is how many walks may miss what must be found. Nearly all find it at the first.
const attempts = 5

// TestGatesAreNecessary walks as TestWalk does, but for the sweep of one gate: what it would have
// removed or copied is seen by somebody. The same walk with the gate is linearizable.
func TestGatesAreNecessary(t *testing.T) {
	for _, tt := range []struct {
		name  string
		route route
		omit  []phase.Gate
	}{
		{"mirror, target keys left over before dual", route{"mirror", []phase.Phase{phase.Legacy, phase.Guard, phase.Dual}}, []phase.Gate{phase.NoTarget}},
		{"mirror, keys without a target before settled", route{"mirror", []phase.Phase{phase.Guard, phase.Dual, phase.Settled}}, []phase.Gate{phase.Copied, phase.Verified}},
		{"mirror, keys without a target before sealed", route{"mirror", []phase.Phase{phase.Guard, phase.Dual, phase.Sealed}}, []phase.Gate{phase.Copied, phase.Verified}},
		{"mirror, keys without a target from drain to sealed", route{"mirror", []phase.Phase{phase.Guard, phase.Dual, phase.Drain, phase.Sealed}}, []phase.Gate{phase.Copied, phase.Verified}},
		{"mirror, legacy keys from drain to prefixed", route{"mirror", []phase.Phase{phase.Guard, phase.Dual, phase.Drain, phase.Prefixed}}, []phase.Gate{phase.NoLegacy}},
		{"mirror, legacy keys from sealed to prefixed", route{"mirror", []phase.Phase{phase.Settled, phase.Sealed, phase.Prefixed, phase.Drain}}, []phase.Gate{phase.NoLegacy}},
		{"mirror, strays before settled", route{"mirror", []phase.Phase{phase.Prefixed, phase.Sealed, phase.Settled, phase.Dual}}, []phase.Gate{phase.NoStray}},
		{"mirror, strays before dual", route{"mirror", []phase.Phase{phase.Prefixed, phase.Sealed, phase.Dual}}, []phase.Gate{phase.NoStray}},
		{"mirror, keys without a legacy copy before guard", route{"mirror", []phase.Phase{phase.Sealed, phase.Dual, phase.Guard}}, []phase.Gate{phase.Reversed}},
		{"move, target keys left over before hold", route{"move", []phase.Phase{phase.Legacy, phase.Hold}}, []phase.Gate{phase.NoTarget}},
		{"move, legacy keys before prefixed", route{"move", []phase.Phase{phase.Hold, phase.Move, phase.Prefixed}}, []phase.Gate{phase.Relocated}},
		{"move, target keys before legacy", route{"move", []phase.Phase{phase.Move, phase.Hold, phase.Legacy}}, []phase.Gate{phase.Returned}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Run("with its gate", func(t *testing.T) {
				if !shortWalk(t, tt.route, func(*fleet) {}) {
					t.Error("the history of a careful walk is not linearizable")
				}
			})
			t.Run("without", func(t *testing.T) {
				mustBeFound(t, func(t *testing.T) bool {
					return shortWalk(t, tt.route, func(f *fleet) { f.omit = tt.omit })
				})
			})
		})
	}
}

// TestPhasesAreNecessary leaves a phase out, so that two stand side by side that may not.
func TestPhasesAreNecessary(t *testing.T) {
	for _, tt := range []struct {
		without string
		route   route
	}{
		{"guard", route{"mirror", []phase.Phase{phase.Legacy, phase.Dual}}},
		{"dual", route{"mirror", []phase.Phase{phase.Guard, phase.Settled}}},
		{"sealed", route{"mirror", []phase.Phase{phase.Settled, phase.Prefixed, phase.Drain}}},
		{"sealed on the way back", route{"mirror", []phase.Phase{phase.Prefixed, phase.Dual}}},
		{"dual on the way back", route{"mirror", []phase.Phase{phase.Settled, phase.Guard}}},
		{"hold", route{"move", []phase.Phase{phase.Legacy, phase.Move}}},
		{"move", route{"move", []phase.Phase{phase.Hold, phase.Prefixed}}},
		{"move on the way back", route{"move", []phase.Phase{phase.Prefixed, phase.Hold}}},
	} {
		t.Run(tt.without, func(t *testing.T) {
			mustBeFound(t, func(t *testing.T) bool {
				return shortWalk(t, tt.route, func(f *fleet) { f.leaps = true })
			})
		})
	}
}

// mustBeFound runs a walk with other choices until its history is not linearizable.
func mustBeFound(t *testing.T, walk func(*testing.T) (linearizable bool)) {
	t.Helper()
	found := false
	for range attempts {
		t.Run("", func(t *testing.T) { found = !walk(t) })
		if found || t.Failed() {
			return
		}
	}
	t.Errorf("%d histories are linearizable, want one that is not", attempts)
}

// shortWalk is one walk of a fleet whose operator is as careless as change makes him.
func shortWalk(t *testing.T, r route, change func(*fleet)) (linearizable bool) {
	t.Helper()
	seed := seedOf(t)
	server := redistest.Shared(t)
	f := newFleet(t, server, seed, direct(server), r)
	f.pause = 40
	change(f)
	tr := newTraffic(t, seed, kinds(), r.rule)
	begin(t, f, tr, []route{r})
	if err := f.walk(t.Context(), tr, r); err != nil {
		t.Fatalf("walk: %v", err)
	}
	if err := tr.end(); err != nil {
		t.Fatalf("traffic: %v", err)
	}
	ok, err := tr.linearizable()
	if err != nil {
		t.Fatal(err)
	}
	return ok
}
