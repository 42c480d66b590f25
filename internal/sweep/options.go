package sweep

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// Defaults for what [Options] leaves zero.
const (
	// DefaultPage is where measurements put the knee (BenchmarkPages): smaller pages take more of the server's time for a key,
	// larger ones only make its other clients wait longer.
	DefaultPage           = 500
	DefaultExamples       = 20
	DefaultReplicaTimeout = 10 * time.Second
)

// ErrOptions is a sweep that was asked for in a way that makes no sense.
var ErrOptions = errors.New("rekey: sweep options")

// Options is one sweep: a job, a rule, and the phase that the whole fleet is in.
type Options struct {
	// Client reaches the server that holds the keys, under their physical names: nothing may rewrite what it sends. The
	// sweep opens connections of its own with its options, so the client's hooks and its database do not matter.
	Client *redis.Client
	Plan   *plan.Plan
	// Rule is the name of one of the plan's rules.
	Rule string
	Kind Kind
	// Phase is the caller's word that every process is in this phase, and stays there until the sweep has ended.
	Phase phase.Phase
	// Mark names the target of the fleet's records that all instances have reached, by a word that changes with every step.
	// Who gives one holds the controller's lock. "": the phase is the operator's word.
	Mark string
	// Anew begins anew although an interrupted sweep could go on.
	Anew bool
	// Owner is who runs the sweep, for those who meet its lease; "": USER@HOST (pid).
	Owner string
	// Patience is how long a server that does not answer, or is not ready, is waited for in the middle of the sweep, which
	// then goes on; 0: not at all, the sweep ends with the error.
	Patience time.Duration
	// Execute makes purge and cleanup remove, and verify repair. Without it they only count. The other jobs always act.
	Execute bool
	// Repair makes verify mend what differs (with Execute) or say that it would.
	Repair bool
	// Sample makes verify look at some keys only: a part of them up to 1, about so many above. 0: at all.
	Sample float64
	// RemoveStrays makes cleanup, in phase sealed, remove legacy keys without a target as well. They are named first by a
	// run without it.
	RemoveStrays bool
	// BigKeys is what backfill, reverse and a repair do with a key whose copy would stall the server for BigStall or longer (0:
	// [DefaultBigStall]). With [BigNow] no key is weighed, which is a part of the work otherwise.
	BigKeys  BigKeys
	BigStall time.Duration
	// Trash makes cleanup rename what it would remove, and keep it for this long; 0: it is removed.
	Trash time.Duration
	// Undo makes cleanup bring back what is in the trash.
	Undo bool
	// ClaimSharedLegacy is the operator's word that the legacy names are all this environment's, although others have names
	// in the same database. Without it purge proves nothing there; see [Foreign].
	ClaimSharedLegacy bool
	// Overcommit is the operator's word that the server's memory will do for the copies of a backfill that do not seem to
	// fit. Without it such a backfill does not begin.
	Overcommit bool
	// MinIdle makes cleanup keep, and name, legacy keys that were used within this time; whole seconds. 0: not looked at.
	MinIdle time.Duration
	// TTLTolerance is how far apart the two expiry times of a key may be for verify; 0: to the millisecond.
	TTLTolerance time.Duration
	// Page is SCAN's COUNT; 0: [DefaultPage].
	Page int
	// Throttled keeps the sweep from being noticed, by what the server says of itself: [pace] decides.
	Throttled bool
	// Rate is how many keys of the rule are worked on in a second, at most; 0: no limit.
	Rate float64
	// Nice is how many times as long as it works the sweep sleeps.
	Nice float64
	// Examples is how many of the problems found are kept by name; 0: [DefaultExamples], less than 0: none.
	Examples int
	// ReplicaTimeout is how long connected replicas have to acknowledge the sweep; 0: [DefaultReplicaTimeout].
	ReplicaTimeout time.Duration
	// OnProgress is called after every page, and while the server does not answer; never twice at once, and not after Run has
	// returned. nil: not called.
	OnProgress func(Progress)
}

// withDefaults returns the options with what was left zero, or says what is wrong with them.
func (o Options) withDefaults() (Options, error) {
	fail := func(reason string) (Options, error) { return o, fmt.Errorf("%w: %s", ErrOptions, reason) }
	switch {
	case o.Client == nil || o.Plan == nil:
		return fail("no client or no plan")
	case !o.Kind.known():
		return fail(o.Kind.String() + " is no sweep")
	case o.Page < 0 || o.MinIdle < 0 || o.TTLTolerance < 0 || o.ReplicaTimeout < 0 || o.Patience < 0 || o.BigStall < 0:
		return fail("a page, a duration or a tolerance is less than 0")
	case !Amount(o.Rate) || !Amount(o.Nice):
		return fail("a rate or a ratio of sleep is less than 0, or has no end")
	case !Amount(o.Sample):
		return fail("a sample is a part of the keys up to 1, or a number of them")
	case o.Sample != 0 && o.Kind != Verify:
		return fail("only verify takes a sample")
	case o.Repair && o.Kind != Verify:
		return fail("only verify repairs")
	case (o.Trash != 0 || o.Undo) && o.Kind != Cleanup:
		return fail("only cleanup has a trash")
	case o.Trash < 0 || o.Undo && (o.Trash != 0 || o.RemoveStrays || o.MinIdle != 0):
		return fail("undo stands alone, and a trash keeps for a time")
	case o.RemoveStrays && o.Kind != Cleanup:
		return fail("only cleanup removes strays")
	case o.ClaimSharedLegacy && o.Kind != Purge:
		return fail("only purge, before the first step with a gate, claims legacy names")
	case o.Overcommit && o.Kind != Backfill:
		return fail("only backfill makes copies that may not fit")
	}
	if o.Page == 0 {
		o.Page = DefaultPage
	}
	if o.Examples == 0 {
		o.Examples = DefaultExamples
	}
	if o.Owner == "" {
		o.Owner = owner()
	}
	if o.ReplicaTimeout == 0 {
		o.ReplicaTimeout = DefaultReplicaTimeout
	}
	return o, nil
}

// Amount reports whether a number says how much of something there is: it is no less than 0, and neither NaN nor without an
// end, which flags may be.
func Amount(f float64) bool { return f >= 0 && f <= math.MaxFloat64 }

// Progress is how far a sweep has come.
type Progress struct {
	Kind     Kind
	Rule     string
	Database int
	// Pass of Passes is a walk over a whole database; each database of the plan has its own.
	Pass, Passes int
	// Visited is how many of the Keys of the present pass's database SCAN has gone over, about: both are estimates.
	Visited, Keys int64
	Counts
	// Problems is how many were found, of all classes.
	Problems int64
	// Reason is what holds the sweep back at the moment; "": nothing but the server's speed.
	Reason string
}

// Counts is what a sweep has done.
type Counts struct {
	Seen    int64 `json:"seen"`    // names that SCAN returned; one may come twice
	Matched int64 `json:"matched"` // names of the rule among them
	Changed int64 `json:"changed"` // keys copied, moved, removed or mended
}

// Class is what is wrong with a key.
type Class string

const (
	// Missing: a legacy key without its target, where there should be one.
	Missing Class = "missing"
	// Type: the two names hold different types.
	Type Class = "type"
	// Value: the two names hold different values.
	Value Class = "value"
	// TTL: the two names expire at different times.
	TTL Class = "ttl"
	// Orphan: a target key without its legacy copy, where there should be one.
	Orphan Class = "orphan"
	// Double: both names exist, with a strategy that keeps one.
	Double Class = "double"
	// Leftover: a target key where there should be none.
	Leftover Class = "leftover"
	// Remaining: a legacy key that cleanup would remove.
	Remaining Class = "remaining"
	// Big: a key whose copy would stall the server, which was left.
	Big Class = "big"
	// Discarded: a key in the trash that cannot be brought back.
	Discarded Class = "discarded"
	// Busy: a legacy key that was used a short time ago, when nobody should use it.
	Busy Class = "busy"
	// Uncopyable: a key of a type that the server cannot copy.
	Uncopyable Class = "uncopyable"
	// Unsettled: a key that changed each time it was compared.
	Unsettled Class = "unsettled"
)

// Problem is one key with something wrong. Its names are for the operator's eyes: they identify sessions and go into no
// log and no verdict.
type Problem struct {
	Class          Class
	Database       int
	Legacy, Target string
	Detail         string // without values
}

// Result is what a sweep found and did. After an error it says how far the sweep came.
type Result struct {
	Counts
	Problems map[Class]int64
	Examples []Problem
	// Repairs are the keys that verify has mended, as many as Examples are kept, with what was done; Changed counts them all.
	Repairs []Problem
	// Sample is what a verify of some keys says of all; nil: all were looked at.
	Sample *Sample
	// Held is for how long the sweep slept, by reason: latency, cpu, fork, memory, replica, buffers, rate, nice, knob.
	Held map[string]time.Duration
	// Notes are sentences that the operator should read.
	Notes []string
	// Verdict is what was proven. It is stored if the sweep came to its end; Stored says so.
	Verdict Verdict
	Stored  bool
}

// Found returns how many problems were found, of all classes.
func (r *Result) Found() (n int64) {
	for _, count := range r.Problems {
		n += count
	}
	return n
}
