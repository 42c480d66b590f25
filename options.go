package rekey

import (
	"log/slog"

	"github.com/classwaves/rekey/phase"
)

// Option is an option of [Open].
type Option func(*options)

type options struct {
	sources int // how many of the four ways were given
	pinned  map[string]phase.Phase
	flags   func(string) (string, bool)
	source  Source
	fleet   *FleetConfig
	logger  *slog.Logger
}

// WithPhases pins the phase of each rule, by the rule's name. Rules that it does not name are at
// legacy.
func WithPhases(phases map[string]phase.Phase) Option {
	return func(o *options) {
		o.sources++
		o.pinned = phases
		if phases == nil {
			o.pinned = map[string]phase.Phase{}
		}
	}
}

// WithFlags chooses the phase of each rule by the flags of the environment that the rule's flags:
// names, CW_CACHE_PREFIX_ENABLED and its like; lookup is [os.LookupEnv] or has its form. A rule
// without flags is at legacy. The flags are read by Open and again by [Rekey.ReloadFlags].
//
// With CW_CACHE_GATED=1 a step waits for its gate's verdict. Open takes the process to have come from legacy, so
// it judges no step towards legacy: one that is made by starting the process with other flags is not held back.
// Run the command that proves the step's gate before, such as rekey reverse before dual goes back to guard.
//
// The process shows itself in the fleet's records as an observer, where the plan names a server that can be
// reached: rekey status tells which phases it is in, and whether they may stand beside those of others. It
// needs no record, waits for none and follows none.
func WithFlags(lookup func(string) (string, bool)) Option {
	return func(o *options) {
		o.sources++
		o.flags = lookup
	}
}

// WithSource takes the phases from a source, now and at every change.
func WithSource(s Source) Option {
	return func(o *options) {
		o.sources++
		o.source = s
	}
}

// WithFleet joins the fleet that the records in the plan's server describe, and takes the phases from
// there: an operator moves them with rekey advance, run and rollback. While a rule moves, commands on
// its keys need a lease that the instance renews; without it they are answered with an error that begins
// with "rekey: lease lost". Nothing of a rule that is parked depends on the records.
func WithFleet(c FleetConfig) Option {
	return func(o *options) {
		o.sources++
		o.fleet = &c
	}
}

// WithLogger gives what the instance says of itself, rarely, to a logger. Without it nothing is
// logged. Names and values of keys are never logged.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) { o.logger = l }
}
