package intercept

import (
	"fmt"
	"sync/atomic"
)

// Reason is why a command was answered with an error of rekey's own. The set is small and closed, so
// that counters by reason are bounded; the error itself says more.
type Reason uint8

const (
	// ReasonReach: the command names keys by pattern, in another database or not at all, and a rule
	// that it could touch is on its way.
	ReasonReach Reason = iota
	// ReasonUnknown: nobody could tell which keys the command names.
	ReasonUnknown
	// ReasonTransaction: the command cannot be sent inside MULTI, or between WATCH and MULTI.
	ReasonTransaction
	// ReasonServer: the server refuses this user MULTI, without which the phase is not safe.
	ReasonServer
	// ReasonClosed: the instance may send nothing under the rule at the moment.
	ReasonClosed

	// Reasons is how many there are.
	Reasons = int(ReasonClosed) + 1
)

var reasonNames = [Reasons]string{"reach", "unknown", "transaction", "server", "closed"}

// String is the reason in one word, as the metrics write it.
func (r Reason) String() string {
	if int(r) < Reasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Refusals counts refused commands by reason.
type Refusals struct{ by [Reasons]atomic.Uint64 }

// By is how many were refused for one reason.
func (r *Refusals) By(reason Reason) uint64 { return r.by[reason].Load() }

// Load is how many were refused for any reason.
func (r *Refusals) Load() (n uint64) {
	for i := range r.by {
		n += r.by[i].Load()
	}
	return n
}
