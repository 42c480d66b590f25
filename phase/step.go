package phase

import "slices"

// Step is one change of the whole fleet from one phase to another.
type Step struct {
	Strategy Strategy
	From, To Phase
	// Back says that the step leads towards legacy.
	Back bool
	// Gates are necessary: without any one of them a value can be lost or an old one read.
	Gates []Gate
	// Asked are asked for by default as well. They show that all is well; the step is safe without them.
	Asked []Gate
	// Audit says that an audit for programs that do not go through rekey belongs to the step's gate.
	Audit bool
}

// steps is every step there is. Two phases that may not stand beside each other have no step between them, for while
// it is made some instances are in one and some in the other.
var steps = []Step{
	{Mirror, Legacy, Guard, false, nil, nil, false},
	{Mirror, Guard, Dual, false, []Gate{NoTarget}, nil, true},
	{Mirror, Dual, Settled, false, []Gate{Copied}, []Gate{Verified, Quiet}, false},
	{Mirror, Dual, Drain, false, nil, nil, false},
	{Mirror, Dual, Sealed, false, []Gate{Copied}, []Gate{Verified, Quiet}, true},
	{Mirror, Settled, Sealed, false, nil, nil, true},
	{Mirror, Drain, Sealed, false, []Gate{Copied}, []Gate{Verified, Quiet}, true},
	{Mirror, Drain, Prefixed, false, []Gate{NoLegacy}, nil, false},
	{Mirror, Sealed, Prefixed, false, []Gate{NoLegacy}, nil, false},

	{Mirror, Prefixed, Sealed, true, nil, nil, true},
	{Mirror, Prefixed, Drain, true, nil, nil, true},
	{Mirror, Sealed, Drain, true, []Gate{NoStray}, nil, true},
	{Mirror, Sealed, Settled, true, []Gate{NoStray}, nil, true},
	{Mirror, Sealed, Dual, true, []Gate{NoStray}, nil, true},
	{Mirror, Drain, Dual, true, nil, nil, true},
	{Mirror, Settled, Dual, true, nil, nil, true},
	{Mirror, Dual, Guard, true, []Gate{Reversed}, nil, true},
	{Mirror, Guard, Legacy, true, nil, nil, true},

	{Relocate, Legacy, Hold, false, []Gate{NoTarget}, nil, false},
	// In move a stranger that writes L makes a second copy, as it does from dual on with the mirror strategy.
	{Relocate, Hold, Move, false, nil, nil, true},
	{Relocate, Move, Prefixed, false, []Gate{Relocated}, nil, false},

	{Relocate, Prefixed, Move, true, nil, nil, true},
	{Relocate, Move, Hold, true, nil, nil, true},
	{Relocate, Hold, Legacy, true, []Gate{Returned}, nil, true},
}

// Steps returns every step of a strategy, forwards and back.
func Steps(s Strategy) []Step {
	var out []Step
	for _, step := range steps {
		if step.Strategy == s {
			out = append(out, step.clone())
		}
	}
	return out
}

// StepBetween returns the step between two phases. It is false where there is none.
func StepBetween(s Strategy, from, to Phase) (Step, bool) {
	for _, step := range steps {
		if step.Strategy == s && step.From == from && step.To == to {
			return step.clone(), true
		}
	}
	return Step{}, false
}

func (s Step) clone() Step {
	s.Gates, s.Asked = slices.Clone(s.Gates), slices.Clone(s.Asked)
	return s
}

// Next returns the phase after from on the way to goal. The way is the strategy's walk; a way that begins or ends at drain
// goes through drain where the walk has settled. It is false at the goal, and where a phase is none of the strategy's.
func Next(s Strategy, from, goal Phase) (Phase, bool) {
	if from == goal || !s.Has(from) || !s.Has(goal) {
		return 0, false
	}
	way := walks[s]
	switch {
	case from == Settled && goal == Drain, from == Drain && goal == Settled:
		return Dual, true // the two may not stand beside each other
	case from == Drain || goal == Drain:
		way = drainWalk
	}
	at, to := slices.Index(way, from), slices.Index(way, goal)
	if at < to {
		return way[at+1], true
	}
	return way[at-1], true
}

var drainWalk = []Phase{Legacy, Guard, Dual, Drain, Sealed, Prefixed}
