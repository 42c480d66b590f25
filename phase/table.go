package phase

import "slices"

// phases are each strategy's, in their order.
var phases = [...][]Phase{
	Mirror:   {Legacy, Guard, Dual, Settled, Drain, Sealed, Prefixed},
	Relocate: {Legacy, Hold, Move, Prefixed},
}

// walks are what a fleet goes through from end to end. Drain is for those who skip the backfill.
var walks = [...][]Phase{
	Mirror:   {Legacy, Guard, Dual, Settled, Sealed, Prefixed},
	Relocate: {Legacy, Hold, Move, Prefixed},
}

// beside are the two phases that instances of one fleet may be in at the same time.
var beside = [...][][2]Phase{
	Mirror: {
		{Legacy, Guard},
		{Guard, Dual},
		{Dual, Settled},
		{Dual, Drain},
		{Dual, Sealed},
		{Settled, Sealed},
		{Drain, Sealed},
		{Drain, Prefixed},
		{Sealed, Prefixed},
	},
	Relocate: {
		{Legacy, Hold},
		{Hold, Move},
		{Move, Prefixed},
	},
}

// Of returns all phases of a strategy.
func Of(s Strategy) []Phase {
	if !s.known() {
		return nil
	}
	return slices.Clone(phases[s])
}

// Walk returns the phases that a fleet goes through from legacy to prefixed. The way back is the same the other way.
func Walk(s Strategy) []Phase {
	if !s.known() {
		return nil
	}
	return slices.Clone(walks[s])
}

// Has reports whether a phase belongs to the strategy.
func (s Strategy) Has(p Phase) bool { return s.known() && slices.Contains(phases[s], p) }

// Beside reports whether instances of one fleet may be in phases a and b at the same time. A phase may stand beside
// itself.
func Beside(s Strategy, a, b Phase) bool {
	if !s.Has(a) || !s.Has(b) {
		return false
	}
	return a == b || slices.Contains(beside[s], [2]Phase{a, b}) || slices.Contains(beside[s], [2]Phase{b, a})
}

func (s Strategy) known() bool { return s == Mirror || s == Relocate }
