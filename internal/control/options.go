package control

import (
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// Defaults for what [Options] leaves zero.
const (
	DefaultTerm           = 5 * time.Second
	DefaultPatience       = time.Minute
	DefaultPoll           = 200 * time.Millisecond
	DefaultReplicaTimeout = 10 * time.Second
	DefaultParallel       = 2
)

// Options are how a fleet is to be controlled. The zero value is careful.
type Options struct {
	// Client reaches the database of the control records; nil: one is made of the plan's server, and closed
	// by Close. Sweeps use connections of their own with its options.
	Client *redis.Client
	// Owner is who asks, for the lock and the audit log; "": USER@HOST (pid).
	Owner string
	// TakeOver takes the lock from whoever holds it.
	TakeOver bool
	// NoInstances is the operator's word that it is right that there is no instance at all.
	NoInstances bool
	// Soak is how long no read may fall back before a step that asks for it; 0: as the plan says, less than
	// 0: no soak.
	Soak time.Duration
	// Forget names instances, by id or name, that the operator knows to be dead: their leases are not
	// waited for. Their connections are closed all the same.
	Forget []string
	// AllowStranger are users, client names, addresses and networks that may stay outside, beside the
	// plan's.
	AllowStranger []string
	// Monitor is how long an audit that belongs to a step listens to the server's commands; 0: it only looks
	// at the connections.
	Monitor time.Duration
	// SkipAsked are gates that are asked for by default and necessary for nothing.
	SkipAsked []phase.Gate
	// Purge removes leftovers of an earlier try where a gate wants none. Without it they hold the gate.
	Purge bool
	// RemoveStrays removes legacy keys without a target where a way back wants none.
	RemoveStrays bool
	// ClaimSharedLegacy is the operator's word that the legacy names are all this environment's.
	ClaimSharedLegacy bool
	// Overcommit is the operator's word that the server's memory will do for the copies of a backfill that do
	// not seem to fit.
	Overcommit bool
	// Patience is how long something that goes away by itself is waited for: an instance that has not
	// reached the target, a replica, a server that does not answer. Less than 0: not at all.
	Patience time.Duration
	// Term is how long the lock is held after its last renewal.
	Term time.Duration
	// Poll is how often the records are looked at while something is waited for.
	Poll time.Duration
	// ReplicaTimeout is how long one WAIT for the connected replicas takes at most.
	ReplicaTimeout time.Duration
	// Parallel is how many sweeps run at once.
	Parallel int
	// Progress is told what happens, by several goroutines one after the other; nil: nobody is.
	Progress func(Event)

	// before is asked before each write; an error is the end of the controller, as if it were killed there.
	before func(write string) error
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.Patience, DefaultPatience)
	set(&o.Term, DefaultTerm)
	set(&o.Poll, DefaultPoll)
	set(&o.ReplicaTimeout, DefaultReplicaTimeout)
	if o.Parallel <= 0 {
		o.Parallel = DefaultParallel
	}
	if o.Progress == nil {
		o.Progress = func(Event) {}
	}
	if o.before == nil {
		o.before = func(string) error { return nil }
	}
	return o
}

// EventKind is what an [Event] tells.
type EventKind string

const (
	// Waiting: for what Blockers say, which goes away by itself.
	Waiting EventKind = "waiting"
	// Reached: all instances have reached From.
	Reached EventKind = "reached"
	// Sweeping: Sweep says how far.
	Sweeping EventKind = "sweeping"
	// Proven: Gate holds.
	Proven EventKind = "proven"
	// Soaking: nobody falls back since a while; Text says for how long yet.
	Soaking EventKind = "soaking"
	// Stepped: the target is To.
	Stepped EventKind = "stepped"
	// Done: the rule is where it was to go.
	Done EventKind = "done"
	// Stays: the rule goes no further; Blockers say why.
	Stays EventKind = "stays"
	// Buried: a dead instance's record is removed and its connections are closed.
	Buried EventKind = "buried"
	// Retrying: the server did not answer; Text says what.
	Retrying EventKind = "retrying"
)

// Event is one thing that happened on the way.
type Event struct {
	Kind     EventKind       `json:"kind"`
	At       time.Time       `json:"at"` // by the controller's clock
	Rule     string          `json:"rule,omitempty"`
	From     phase.Phase     `json:"from,omitempty"`
	To       phase.Phase     `json:"to,omitempty"`
	Gate     string          `json:"gate,omitempty"`
	Instance string          `json:"instance,omitempty"`
	Sweep    *sweep.Progress `json:"sweep,omitempty"`
	Blockers []Blocker       `json:"blockers,omitempty"`
	Text     string          `json:"text,omitempty"`
}
