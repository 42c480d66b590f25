package difftest

import (
	"fmt"
	"slices"

	"github.com/classwaves/rekey/phase"
)

// pair is two phases of a strategy in which two instances are at the same time, or one phase
// twice.
type pair struct {
	strategy phase.Strategy
	phases   [2]phase.Phase
}

func (p pair) String() string {
	if p.phases[0] == p.phases[1] {
		return fmt.Sprintf("%v/%v", p.strategy, p.phases[0])
	}
	return fmt.Sprintf("%v/%v+%v", p.strategy, p.phases[0], p.phases[1])
}

// pairs are all phases and all pairs that may stand side by side, of both strategies.
func pairs() (all []pair) {
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		of := phase.Of(s)
		for i, a := range of {
			for _, b := range of[i:] {
				if phase.Beside(s, a, b) {
					all = append(all, pair{s, [2]phase.Phase{a, b}})
				}
			}
		}
	}
	return all
}

func (p pair) has(phases ...phase.Phase) bool {
	return slices.Contains(phases, p.phases[0]) || slices.Contains(phases, p.phases[1])
}

func (p pair) only(phases ...phase.Phase) bool {
	return slices.Contains(phases, p.phases[0]) && slices.Contains(phases, p.phases[1])
}

// placement is where the value of a logical key lies.
type placement uint8

const (
	underLegacy placement = 1 << iota
	underTarget
	underBoth = underLegacy | underTarget
)

// placements are where a key may lie when the phases begin, as the gates in front of them leave
// it.
func (p pair) placements() []placement {
	switch {
	case p.only(phase.Legacy):
		return []placement{underLegacy}
	case p.strategy == phase.Relocate:
		switch {
		case p.has(phase.Legacy):
			return []placement{underLegacy}
		case p.has(phase.Prefixed):
			return []placement{underTarget}
		}
		return []placement{underLegacy, underTarget}
	case p.has(phase.Legacy, phase.Guard): // no target key that is alone
		return []placement{underLegacy, underBoth}
	case p.has(phase.Prefixed): // no legacy key
		return []placement{underTarget}
	case p.has(phase.Settled, phase.Sealed) && !(p.has(phase.Settled) && p.has(phase.Drain)): // every key has its target copy
		return []placement{underTarget, underBoth}
	default: // dual, drain
		return []placement{underLegacy, underTarget, underBoth}
	}
}

// sees is the name under which a phase finds a key of which these copies exist.
func sees(p phase.Phase, copies placement) placement {
	switch p {
	case phase.Legacy, phase.Guard:
		return copies & underLegacy
	case phase.Settled, phase.Sealed, phase.Prefixed:
		return copies & underTarget
	}
	if copies&underTarget != 0 {
		return underTarget
	}
	return copies & underLegacy
}

// copiesNothing says that the phases never copy a key, so that types that cannot be copied may be
// there.
func (p pair) copiesNothing() bool {
	return p.strategy == phase.Relocate || p.only(phase.Legacy, phase.Prefixed)
}

// mayHoldBoth says that a key may have two copies.
func (p pair) mayHoldBoth() bool { return slices.Contains(p.placements(), underBoth) }

// keepsBoth says that a key that has two copies when the phases begin has them ever after.
func (p pair) keepsBoth() bool { return p.only(phase.Dual, phase.Settled) }
