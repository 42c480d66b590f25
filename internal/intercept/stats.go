package intercept

import (
	"sync/atomic"

	"github.com/classwaves/rekey/internal/command"
)

// classes is the number of command classes.
const classes = int(command.ClassSession) + 1

// ruledClasses are those before them, and the classes of commands on keys of a rule.
const ruledClasses = int(command.ClassCount) + 1

// RuleStats counts what happened to one rule's keys. All fields only rise.
type RuleStats struct {
	// Commands counts the application's commands by class.
	Commands [classes]atomic.Uint64
	// Reads counts the reads among them.
	Fallbacks atomic.Uint64
	// Replays and Recopies count writes by how the other copy was kept.
	Replays, Recopies atomic.Uint64
	// Uncopied counts commands that were answered without what the phase adds,
	// because the server refused it.
	Uncopied atomic.Uint64
	// Divergences counts replayed writes whose two replies differed.
	Divergences atomic.Uint64
	// Refused counts commands that were answered with an error of rekey's own.
	Refused Refusals
	// Added is how long commands and their replies were held up, by class, of one in [AddedEach] writes.
	Added [ruledClasses]Latency
}

// Stats are the counters of one instance.
type Stats struct {
	Rules []RuleStats
	// Keys counts KEYS commands of applications.
	Keys atomic.Uint64
	// Refused counts refused commands that belong to no rule.
	Refused Refusals
	// Added is the time that sessions took, of one in [AddedEach] calls.
	Added Latency
}

// NewStats makes the counters for a number of rules.
func NewStats(rules int) *Stats { return &Stats{Rules: make([]RuleStats, rules)} }

func (s *Stats) refused(rule int, reason Reason) {
	if rule < 0 {
		s.Refused.by[reason].Add(1)
		return
	}
	s.Rules[rule].Refused.by[reason].Add(1)
}
