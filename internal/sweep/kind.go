package sweep

import (
	"fmt"
	"slices"
	"strings"

	"github.com/classwaves/rekey/phase"
)

// Kind is one of the jobs. The zero value is none.
type Kind uint8

const (
	// Purge removes target keys: leftovers of an earlier try, or of a walk back.
	Purge Kind = iota + 1
	// Backfill gives every legacy key its target copy.
	Backfill
	// Verify compares the two names of every key.
	Verify
	// Reverse gives every target key its legacy copy; with the move strategy it brings every key home.
	Reverse
	// Cleanup removes legacy keys whose target is there.
	Cleanup
	// Relocate moves every legacy key to its target name.
	Relocate
)

// kinds: the name, as the command line and the control keys write it, and the phases in which the job may run.
//
// Verify alone runs everywhere: it changes nothing unless it is told to repair.
var kinds = [...]struct {
	name   string
	phases map[phase.Strategy][]phase.Phase
}{
	Purge: {"purge", map[phase.Strategy][]phase.Phase{
		phase.Mirror:   {phase.Legacy, phase.Guard},
		phase.Relocate: {phase.Legacy},
	}},
	Backfill: {"backfill", map[phase.Strategy][]phase.Phase{
		phase.Mirror: {phase.Dual, phase.Drain},
	}},
	Verify: {"verify", map[phase.Strategy][]phase.Phase{
		phase.Mirror:   phase.Of(phase.Mirror),
		phase.Relocate: phase.Of(phase.Relocate),
	}},
	Reverse: {"reverse", map[phase.Strategy][]phase.Phase{
		phase.Mirror:   {phase.Dual},
		phase.Relocate: {phase.Hold},
	}},
	Cleanup: {"cleanup", map[phase.Strategy][]phase.Phase{
		phase.Mirror: {phase.Drain, phase.Sealed},
	}},
	Relocate: {"relocate", map[phase.Strategy][]phase.Phase{
		phase.Relocate: {phase.Move},
	}},
}

// repairPhases are where verify may repair: where both copies are written, so that the target's word can be kept.
var repairPhases = map[phase.Strategy][]phase.Phase{phase.Mirror: {phase.Dual, phase.Settled}}

func (k Kind) known() bool { return k > 0 && int(k) < len(kinds) }

func (k Kind) String() string {
	if !k.known() {
		return fmt.Sprintf("sweep(%d)", uint8(k))
	}
	return kinds[k].name
}

// ParseKind reads the name of a job.
func ParseKind(name string) (Kind, error) {
	var names []string
	for k := Purge; k.known(); k++ {
		if kinds[k].name == name {
			return k, nil
		}
		names = append(names, kinds[k].name)
	}
	return 0, fmt.Errorf("rekey: %q is no sweep; the sweeps are %s", name, strings.Join(names, ", "))
}

// MarshalText writes the job's name.
func (k Kind) MarshalText() ([]byte, error) {
	if !k.known() {
		return nil, fmt.Errorf("rekey: %v is no sweep", k)
	}
	return []byte(kinds[k].name), nil
}

// UnmarshalText reads the job's name.
func (k *Kind) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKind(string(text))
	return err
}

// Phases returns the phases in which the job may run on a rule of a strategy; none if it has nothing to do there.
func (k Kind) Phases(s phase.Strategy) []phase.Phase {
	if !k.known() {
		return nil
	}
	return slices.Clone(kinds[k].phases[s])
}

// Gates returns what the job can prove when the whole fleet is in phase p: the gates of the steps that lead away from p.
func (k Kind) Gates(s phase.Strategy, p phase.Phase) []phase.Gate {
	var out []phase.Gate
	for _, step := range phase.Steps(s) {
		if step.From != p {
			continue
		}
		for _, g := range slices.Concat(step.Gates, step.Asked) {
			if g.Sweep() == k.String() && !slices.Contains(out, g) {
				out = append(out, g)
			}
		}
	}
	return out
}

// PhaseError is a sweep that would be unsafe, or pointless, in the phase that the fleet is in.
type PhaseError struct {
	Job      string // the kind, or "verify --repair"
	Rule     string
	Strategy phase.Strategy
	Phase    phase.Phase
	Want     []phase.Phase // where the job may run; none: never with the strategy
}

func (e *PhaseError) Error() string {
	if len(e.Want) == 0 {
		return fmt.Sprintf("rekey: %s has nothing to do for rule %q: its strategy is %v", e.Job, e.Rule, e.Strategy)
	}
	var want []string
	for _, p := range e.Want {
		want = append(want, p.String())
	}
	return fmt.Sprintf("rekey: %s of rule %q (%v) is safe only when every process is in phase %s, and the phase given is %v; go there first",
		e.Job, e.Rule, e.Strategy, strings.Join(want, " or "), e.Phase)
}
