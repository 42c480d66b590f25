package keyname

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// Conflict is how two rules of a set stand in each other's way.
type Conflict uint8

const (
	// BothLegacy: one key would be a legacy name of both rules.
	BothLegacy Conflict = iota + 1
	// BothTarget: one key would be a target name of both rules.
	BothTarget
	// TargetIsLegacy: a target name of rule A would be a legacy name of rule B.
	TargetIsLegacy
	// UnderControl: rule A's names are control keys, all of them.
	UnderControl
)

func (c Conflict) String() string {
	switch c {
	case BothLegacy:
		return "one key matches both legacy templates"
	case BothTarget:
		return "one key matches both targets"
	case TargetIsLegacy:
		return "a target name of the first is a legacy name of the second"
	case UnderControl:
		return "its names are control keys, which no rule may touch"
	default:
		return fmt.Sprintf("conflict %d", uint8(c))
	}
}

// OverlapError is a set in which a name does not tell its rule.
type OverlapError struct {
	A, B    string // the rules; B is empty for UnderControl
	Kind    Conflict
	Example []byte // a name that shows it
}

func (e *OverlapError) Error() string {
	if e.Kind == UnderControl {
		return fmt.Sprintf("rule %q: %s, for example %q", e.A, e.Kind, e.Example)
	}
	return fmt.Sprintf("rules %q and %q: %s, for example %q", e.A, e.B, e.Kind, e.Example)
}

// Set is the rules of a plan: it says which rule a name belongs to, and in which role. It does not change after [NewSet]
// and is safe for concurrent use.
type Set struct {
	pairs    []*Pair
	control  []byte
	reserved []*Template
	// guarded[i]: some name of pair i, legacy or target, is a control name or reserved, so Find looks at both names.
	guarded []bool
	index   node
}

// NewSet refuses pairs of which two could claim one name (*[OverlapError]). Names that begin with control belong to no
// pair, and neither do the names of the reserved templates (the control names of other environments); nor do
// names whose counterpart is such a name.
func NewSet(pairs []*Pair, control []byte, reserved ...*Template) (*Set, error) {
	if len(control) == 0 {
		return nil, errors.New("a set of rules needs a control prefix: without one every name would be a control name")
	}
	s := &Set{pairs: pairs, control: bytes.Clone(control), reserved: reserved, guarded: make([]bool, len(pairs))}
	for i, p := range pairs {
		// Only those of the pairs before whose literals begin alike can meet it: all with all, ten thousand rules
		// would be fifty million comparisons of four automata each.
		near := s.index.near(nil, p.legacy.Prefix())
		near = s.index.near(near, p.target.Prefix())
		slices.Sort(near)
		for _, q := range slices.Compact(near) {
			if err := disjoint(pairs[q], p); err != nil {
				return nil, err
			}
		}
		for _, name := range []*Template{p.legacy, p.target} {
			if prefix := name.Prefix(); bytes.HasPrefix(prefix, control) {
				example, _ := Overlap(name, name)
				return nil, &OverlapError{A: p.name, Kind: UnderControl, Example: example}
			}
			s.guarded[i] = s.guarded[i] || s.mayReserve(name)
		}
		s.index.add(entry{pair: i, names: p.target, target: true})
		s.index.add(entry{pair: i, names: p.legacy})
	}
	return s, nil
}

func disjoint(a, b *Pair) error {
	for _, c := range []struct {
		first, second *Pair
		one, other    *Template
		kind          Conflict
	}{
		{a, b, a.legacy, b.legacy, BothLegacy},
		{a, b, a.target, b.target, BothTarget},
		{a, b, a.target, b.legacy, TargetIsLegacy},
		{b, a, b.target, a.legacy, TargetIsLegacy},
	} {
		if example, ok := Overlap(c.one, c.other); ok {
			return &OverlapError{A: c.first.name, B: c.second.name, Kind: c.kind, Example: example}
		}
	}
	return nil
}

// mayReserve reports whether some name of the template is reserved.
func (s *Set) mayReserve(t *Template) bool {
	under := appendLiteral(nil, string(s.control))
	under = append(under, cell{bytes: allBytes, repeat: true})
	for _, c := range t.chains() {
		if _, ok := meet(c, under); ok {
			return true
		}
		if _, ok := meet(c, under[:len(under)-1]); ok {
			return true
		}
	}
	for _, r := range s.reserved {
		if _, ok := Overlap(t, r); ok {
			return true
		}
	}
	return false
}

// Len returns the number of pairs.
func (s *Set) Len() int { return len(s.pairs) }

// Pair returns the i-th pair, as Find counts them.
func (s *Set) Pair(i int) *Pair { return s.pairs[i] }

// Control returns the prefix of the control names.
func (s *Set) Control() []byte { return bytes.Clone(s.control) }

// Find returns the rule that a name belongs to, or -1, and whether it is the rule's target name. A name that matches a
// target is never taken for a legacy name. It does not allocate, but for names over some hundred bytes of a rule
// that must look at the counterpart too: a catch-all that moves more than a prefix, or one that could meet control names.
func (s *Set) Find(name []byte) (rule int, target bool) {
	if bytes.HasPrefix(name, s.control) {
		return -1, false
	}
	legacy, at := -1, 0
	for n := &s.index; n != nil; n = n.child(name, &at) {
		for i := range n.entries {
			e := &n.entries[i]
			switch {
			case !e.target && legacy >= 0 || !e.names.Match(name):
			case !e.target:
				legacy = e.pair
			case s.admitsTarget(e.pair, name):
				return e.pair, true
			default:
				return -1, false
			}
		}
	}
	if legacy >= 0 && !s.admitsLegacy(legacy, name) {
		return -1, false
	}
	return legacy, false
}

// counterpartLen is the room for a counterpart on the stack.
const counterpartLen = 512

// admitsLegacy reports whether a name that matches the rule's legacy template, and no target, may be moved.
func (s *Set) admitsLegacy(rule int, name []byte) bool {
	p := s.pairs[rule]
	if p.catchAll && p.ownTarget(name) {
		return false
	}
	if !s.guarded[rule] {
		return true
	}
	var room [counterpartLen]byte
	target, ok := p.AppendTarget(room[:0], name)
	return ok && !s.isReserved(name) && !s.isReserved(target)
}

// admitsTarget reports whether a name that matches the rule's target is the counterpart of a legacy name that may be moved.
func (s *Set) admitsTarget(rule int, name []byte) bool {
	p := s.pairs[rule]
	if !p.catchAll && !s.guarded[rule] {
		return true
	}
	var room [counterpartLen]byte
	legacy, ok := p.legacyOf(room[:0], name)
	if !ok || p.catchAll && p.ownTarget(legacy) {
		return false
	}
	return !s.guarded[rule] || !s.isReserved(name) && !s.isReserved(legacy)
}

// isReserved reports whether a name is a control name of this or another environment.
func (s *Set) isReserved(name []byte) bool {
	if bytes.HasPrefix(name, s.control) {
		return true
	}
	for _, t := range s.reserved {
		if t.Match(name) {
			return true
		}
	}
	return false
}
