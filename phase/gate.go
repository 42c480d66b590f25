package phase

import "fmt"

// Gate is what must be proven before a fleet may make a step, by a sweep that begins when the whole fleet is in the step's
// first phase. The zero value is none.
type Gate uint8

const (
	// NoTarget: no target key exists; a leftover of an earlier try is stale.
	NoTarget Gate = iota + 1
	// Copied: every logical key has its target copy.
	Copied
	// NoLegacy: no legacy key exists (mirror).
	NoLegacy
	// NoStray: no legacy key is without its target.
	NoStray
	// Reversed: every target key has its legacy copy (mirror).
	Reversed
	// Relocated: no legacy key exists, for each was moved to its target (move).
	Relocated
	// Returned: no target key exists, for each was brought home (move).
	Returned
	// Verified: the two names of no key differ.
	Verified
	// Quiet: no read in the whole fleet fell back to a legacy key for the soak time.
	Quiet
)

// gates: the name, the sweep that proves it ("" for what the instances count themselves), and what it proves.
var gates = [...]struct{ name, sweep, proves string }{
	NoTarget:  {"no-target", "purge", "no target key exists"},
	Copied:    {"copied", "backfill", "every logical key has its target copy"},
	NoLegacy:  {"no-legacy", "cleanup", "no legacy key exists"},
	NoStray:   {"no-stray", "cleanup", "no legacy key is without its target"},
	Reversed:  {"reversed", "reverse", "every target key has its legacy copy"},
	Relocated: {"relocated", "relocate", "no legacy key exists: each was moved to its target"},
	Returned:  {"returned", "reverse", "no target key exists: each was brought home"},
	Verified:  {"verified", "verify", "the two names of no key differ"},
	Quiet:     {"quiet", "", "no read fell back to a legacy key for the soak time"},
}

func (g Gate) known() bool { return g > 0 && int(g) < len(gates) }

func (g Gate) String() string {
	if !g.known() {
		return fmt.Sprintf("gate(%d)", uint8(g))
	}
	return gates[g].name
}

// ParseGate reads the name of a gate.
func ParseGate(name string) (Gate, error) {
	for g := NoTarget; g.known(); g++ {
		if gates[g].name == name {
			return g, nil
		}
	}
	return 0, fmt.Errorf("%q is no gate", name)
}

// Sweep returns the sweep command that proves the gate, or "" for [Quiet], which is counted and not swept.
func (g Gate) Sweep() string {
	if !g.known() {
		return ""
	}
	return gates[g].sweep
}

// Proves returns what holds when the gate does, as a sentence without a full stop.
func (g Gate) Proves() string {
	if !g.known() {
		return g.String()
	}
	return gates[g].proves
}
