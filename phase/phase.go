// Package phase says what every instance may do with one rule's keys at a moment, and how a fleet gets from there to
// somewhere else. It is tables: the phases of both strategies, which two may be in use at the same time, the steps
// with the gates that must hold before them, and the seed's environment flags.
//
// What the phases do is in package rewrite; why the tables are as they are is in docs/protocol.md. Without any one of
// the gates, or with any two phases side by side that the tables do not allow, some history loses a write or
// reads an old value; the model test shows one for each.
//
// The package is pure.
package phase

import "fmt"

// Strategy is how a rule's keys are moved. The zero value is none.
type Strategy uint8

const (
	// Mirror keeps two copies of each key while the move lasts.
	Mirror Strategy = iota + 1
	// Relocate keeps exactly one copy of each key, under one name or the other. It is written "move".
	Relocate
)

var strategyNames = [...]string{Mirror: "mirror", Relocate: "move"}

func (s Strategy) String() string {
	if s < Mirror || s > Relocate {
		return fmt.Sprintf("strategy(%d)", uint8(s))
	}
	return strategyNames[s]
}

// ParseStrategy reads the name of a strategy.
func ParseStrategy(name string) (Strategy, error) {
	for s := Mirror; s <= Relocate; s++ {
		if strategyNames[s] == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("%q is no strategy; write mirror or move", name)
}

// Phase is what an instance does with a rule's keys. The zero value is none. L and P below are a key's legacy and
// target name.
type Phase uint8

const (
	// Legacy reads and writes L. Both strategies begin here; nothing is under way.
	Legacy Phase = iota + 1
	// Guard (mirror) reads and writes L and removes P at each write, so that no old copy waits there.
	Guard
	// Dual (mirror) copies whichever name is missing, reads P and writes both.
	Dual
	// Settled (mirror) reads P and writes both.
	Settled
	// Drain (mirror) copies L to a missing P, reads and writes P, and removes L at each write.
	Drain
	// Sealed (mirror) reads and writes P and removes L at each write.
	Sealed
	// Prefixed reads and writes P. Both strategies end here; nothing is under way.
	Prefixed
	// Hold (move) reads either name, and at a write brings P home to L.
	Hold
	// Move (move) reads either name, and at a write brings L over to P.
	Move
)

// Count is the number of values up to the last phase, the zero value included: the length of a table by phase.
const Count = int(Move) + 1

var phaseNames = [Count]string{
	Legacy: "legacy", Guard: "guard", Dual: "dual", Settled: "settled", Drain: "drain", Sealed: "sealed",
	Prefixed: "prefixed", Hold: "hold", Move: "move",
}

func (p Phase) String() string {
	if p < Legacy || p > Move {
		return fmt.Sprintf("phase(%d)", uint8(p))
	}
	return phaseNames[p]
}

// Parse reads the name of a phase. Its error does not begin with "rekey:", like those of the other Parse functions here: it
// is for the middle of a sentence that says where the name was written.
func Parse(name string) (Phase, error) {
	for p := Legacy; p <= Move; p++ {
		if phaseNames[p] == name {
			return p, nil
		}
	}
	return 0, fmt.Errorf("%q is no phase; the phases are legacy, guard, dual, settled, drain, sealed, prefixed, and with the move strategy legacy, hold, move, prefixed", name)
}

// Parked reports whether nothing is under way: no lease is needed to use a rule's keys.
func (p Phase) Parked() bool { return p == Legacy || p == Prefixed }

// MarshalText writes the phase's name.
func (p Phase) MarshalText() ([]byte, error) {
	if p < Legacy || p > Move {
		return nil, fmt.Errorf("%v is no phase", p)
	}
	return []byte(phaseNames[p]), nil
}

// UnmarshalText reads the phase's name.
func (p *Phase) UnmarshalText(text []byte) (err error) {
	*p, err = Parse(string(text))
	return err
}
