package rewrite

import (
	"fmt"
	"slices"
	"testing"

	"github.com/classwaves/rekey/phase"
)

// A walk of SCAN comes to one name at one moment and to the other at a later one. Between
// them the value may go from the name that was not visited yet to the one that was; then
// the walk misses a key that was there all the time. The search says where that can be:
// where a write leaves the name that held the only copy when the walk began. That is in and
// beside drain, in the move strategy, and for a walk in dual that lasts from before the
// gate's sweep until a neighbour is in sealed or in guard. On the way forwards through
// settled, as [phase.Walk] has it, nothing is missed.
func TestModelScanMisses(t *testing.T) {
	all := func(phase.Step) bool { return false }
	offWalk := func(s phase.Step) bool {
		walk := phase.Walk(s.Strategy)
		from, to := slices.Index(walk, s.From), slices.Index(walk, s.To)
		return from < 0 || to < 0 || max(from, to)-min(from, to) > 1
	}
	withoutDrain := func(s phase.Step) bool { return s.From == phase.Drain || s.To == phase.Drain }
	for _, c := range []struct {
		title    string
		strategy phase.Strategy
		leaveOut func(phase.Step) bool
		want     []phase.Phase
	}{
		{"mirror forwards by way of settled", phase.Mirror, func(s phase.Step) bool { return offWalk(s) || s.Back }, nil},
		{"mirror by way of settled and back", phase.Mirror, offWalk, []phase.Phase{phase.Dual}},
		{"mirror from dual to sealed", phase.Mirror, withoutDrain, []phase.Phase{phase.Dual}},
		{"mirror with drain", phase.Mirror, all, []phase.Phase{phase.Dual, phase.Drain}},
		{"move", phase.Relocate, all, []phase.Phase{phase.Hold, phase.Move}},
	} {
		for _, p := range phase.Of(c.strategy) {
			m := newModel(c.strategy, Server{})
			m.steps = slices.DeleteFunc(m.steps, c.leaveOut)
			m.scans = p
			r := m.search()
			if got, want := r.history != nil, slices.Contains(c.want, p); got != want {
				t.Errorf("%s, a walk of SCAN in %s misses a key: got %t, want %t\n%s", c.title, p, got, want, joined(r.history))
			}
		}
	}
}

// scan begins and ends a walk of SCAN that instance A makes in one phase.
func (s *search) scan(at int, st state) {
	p := st.phaseOf(0)
	if p != s.scans || st.content.bare.data == absent || st.content.missable {
		return
	}
	for _, name := range []touch{touchesLegacy, touchesTarget} {
		if s.shows(p, st.content, name) {
			continue
		}
		switch v := st.vigil; {
		case v.kind == noVigil:
			to := st
			to.vigil = vigil{kind: scanning, phase: p, visited: name}
			s.reach(at, to, fmt.Sprintf("A (%s): SCAN comes to %s and finds nothing", p, nameOf(name)))
		case v.kind == scanning && v.visited != name:
			s.violate(at, fmt.Sprintf("A (%s): SCAN comes to %s and finds nothing", p, nameOf(name)), "the key was there all the time")
		}
	}
}

// shows says that SCAN in a phase shows the key when it comes to a name.
func (s *search) shows(p phase.Phase, c content, name touch) bool {
	if name == touchesLegacy && c.legacy.data == absent || name == touchesTarget && c.target.data == absent {
		return false
	}
	_, shown := AppendLogical(nil, s.set, modelPhases{p, phase.Legacy}, []byte(nameOf(name)))
	return shown
}

func nameOf(name touch) string {
	if name == touchesLegacy {
		return legacyName
	}
	return targetName
}
