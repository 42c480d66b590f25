package fleet

import "github.com/classwaves/rekey/plan"

// Keys are the names of a plan's control records. They are the contract between instances and
// controllers of any version.
type Keys struct{ prefix string }

// KeysOf gives the names for a plan.
func KeysOf(p *plan.Plan) Keys { return Keys{p.ControlPrefix()} }

// Fleet is a hash: an instance's id to its [Instance].
func (k Keys) Fleet() string { return k.prefix + "fleet" }

// Conns is a set: the connections that an instance was admitted with, as "run id of the server:CLIENT ID".
func (k Keys) Conns(instance string) string { return k.prefix + "conns:" + instance }

// Phase is a hash: a rule's name to its [Target].
func (k Keys) Phase() string { return k.prefix + "phase" }

// Lock holds who controls the fleet.
func (k Keys) Lock() string { return k.prefix + "lock" }

// Gen is a counter: the generation of the last controller. It never falls.
func (k Keys) Gen() string { return k.prefix + "gen" }

// Audit is a stream: what was done, by whom, and on which evidence.
func (k Keys) Audit() string { return k.prefix + "audit" }

// Events is the channel on which a change is announced.
func (k Keys) Events() string { return k.prefix + "events" }

// Sweep holds a sweep's checkpoint and verdict.
func (k Keys) Sweep(kind, rule string) string { return k.prefix + "sweep:" + kind + ":" + rule }
