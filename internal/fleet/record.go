package fleet

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/classwaves/rekey/phase"
)

// Format is the version of the records. An instance or a controller that meets a higher one than its
// own stops and says so.
const Format = 1

// Instance is what an instance says of itself in the record of the fleet.
type Instance struct {
	// Renewed is the time of the last renewal in microseconds, by the server's clock, which writes it.
	Renewed int64 `json:"renewed"`
	// Lease is how long after Renewed the instance may be taken for lost, in microseconds.
	Lease    int64     `json:"lease"`
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Host     string    `json:"host"`
	PID      int       `json:"pid"`
	Version  string    `json:"version"`
	Format   int       `json:"format"`
	Started  time.Time `json:"started"`
	Observer bool      `json:"observer,omitempty"` // it obeys flags, not the records
	// Rules are the rules that the instance knows, by name.
	Rules map[string]RuleState `json:"rules"`
}

// RuleState is what an instance says of one rule.
type RuleState struct {
	Hash string `json:"hash"` // of the rule as its plan has it
	// Phase is the phase that the instance has reached: no command of an earlier one is under way. Mark
	// says for which target that is.
	Phase phase.Phase `json:"phase,omitzero"`
	Mark  Mark        `json:"mark"`
	// Epoch is that of the target. Where the records are lost it is what [Target]s are restored with,
	// under a higher Mark: instances that live follow no other.
	Epoch string `json:"epoch"`
	// Behind says, where the target is not reached, what is still under way.
	Behind    string `json:"behind,omitempty"`
	Reads     uint64 `json:"reads"`
	Fallbacks uint64 `json:"fallbacks"`
	// Of an observer: how often its flags asked for a step whose gate had no verdict, and the rule stayed
	// where it was, or went all the same.
	Held    uint64 `json:"held,omitempty"`
	Ungated uint64 `json:"ungated,omitempty"`
}

// Beyond says whether an instance has followed what a target does not tell of: the records were turned back, or
// are of another history.
func (s RuleState) Beyond(t Target) bool {
	return s.Epoch != "" && (s.Epoch != t.Epoch || s.Mark.Compare(t.Mark) > 0 || s.Mark == t.Mark && s.Phase != t.Phase)
}

// Lost says whether the lease has run out at a time of the server's clock in microseconds.
func (i *Instance) Lost(now int64) bool { return now >= i.Renewed+i.Lease }

// Mark orders the targets of a rule: by the generation of the controller that set it, then by number.
type Mark struct {
	Gen int64 `json:"gen"`
	Seq int64 `json:"seq"`
}

// Compare is negative where m is older than other.
func (m Mark) Compare(other Mark) int {
	return cmp.Or(cmp.Compare(m.Gen, other.Gen), cmp.Compare(m.Seq, other.Seq))
}

// Target is the phase that the fleet is to reach in a rule.
type Target struct {
	Phase phase.Phase `json:"phase"`
	// Epoch is the life of the records: all targets have the same one until they are lost or restored.
	Epoch string `json:"epoch"`
	Mark
	Hash   string    `json:"hash"` // of the rule
	At     time.Time `json:"at"`   // when it was set, by the server's clock
	By     string    `json:"by,omitempty"`
	Frozen bool      `json:"frozen,omitempty"`
	Format int       `json:"format"`
}

// FormatError is a record of a newer version of rekey.
type FormatError struct {
	What string
	Have int
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("rekey: %s is of record format %d and this version knows %d; update this program first", e.What, e.Have, Format)
}

// decode reads a record and refuses a newer format.
func decode[T any](what, text string, format func(*T) int) (v T, err error) {
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return v, fmt.Errorf("rekey: %s cannot be read: %w", what, err)
	}
	if have := format(&v); have > Format {
		return v, &FormatError{what, have}
	}
	return v, nil
}

// ParseInstance reads an instance's record.
func ParseInstance(text string) (Instance, error) {
	return decode("the record of an instance", text, func(i *Instance) int { return i.Format })
}

// ParseTarget reads a rule's target.
func ParseTarget(rule, text string) (Target, error) {
	return decode("the target of rule "+rule, text, func(t *Target) int { return t.Format })
}
