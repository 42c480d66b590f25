package sweep

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/classwaves/rekey/phase"
)

// checkpoint is how far a sweep has come, kept in its record so that one that was killed goes on instead of beginning anew.
// It holds no key's name.
//
// # Why going on is right
//
// What a sweep proves it proves of all names that exist from its beginning to its end, in one phase of the whole fleet. A
// sweep that goes on has the beginning of the first one (Started), so all of that must have held since then:
//
//   - A cursor of SCAN is a position in the hash table of one database in one run of one server: it returns what lies
//     behind it, and what lay before it was returned, whatever was resized meanwhile. After a restart the hash function is
//     another one, and after a failover the history of the data. So both ids of the server must be the same.
//   - The fleet must not have left the phase in between. Where a controller runs the sweep, the target's mark
//     ([Options.Mark]) changes with every step and never comes back. Where the phase is the operator's word, it is that of
//     the record that processes with flags make of entering a phase, and no other sweep may have run in another phase since;
//     and the word is taken for no longer than [assumedFor].
//   - The job must be the same one: rule, databases, and every option that changes what is done or what counts as wrong.
//
// Pages that were worked on after the last checkpoint are worked on again, which does what doing them once does. Their
// counts were not kept, so nothing is counted twice but what [run.found] has forgotten, which changes no verdict: a problem
// is carried, never dropped. On any doubt the sweep begins anew and says why.
type checkpoint struct {
	Under   conditions `json:"under"`
	Started time.Time  `json:"started"`
	Saved   time.Time  `json:"saved"` // by the server's clock
	// Walk counts the passes over all databases; Cursor is where the present one goes on, 0 at its beginning.
	Walk    int    `json:"walk"`
	Cursor  uint64 `json:"cursor"`
	Visited int64  `json:"visited"`
	Resumed int    `json:"resumed,omitempty"` // how often the sweep went on
	tally
}

// tally is what a sweep counts and what its gates are judged by.
type tally struct {
	Counts
	Problems map[Class]int64 `json:"problems,omitempty"`
	// Strays are legacy keys without a target that cleanup left.
	Strays int64 `json:"strays,omitempty"`
}

func (t tally) clone() tally {
	t.Problems = maps.Clone(t.Problems)
	return t
}

// assumedFor is how old a checkpoint may be whose phase is the operator's word alone.
const assumedFor = time.Hour

// conditions are what has to be the same where a sweep goes on.
type conditions struct {
	RuleHash  string      `json:"rule_hash"`
	Databases []int       `json:"databases"`
	Phase     phase.Phase `json:"phase"`
	Mark      string      `json:"mark,omitempty"`    // of the fleet's target; "": the phase is the operator's word
	Entered   string      `json:"entered,omitempty"` // the record of processes with flags
	Words     string      `json:"words"`             // the options that change what is done
	// RunID and ReplicationID are empty where the server does not say who it is; there nothing goes on.
	RunID         string `json:"run_id,omitempty"`
	ReplicationID string `json:"replication_id,omitempty"`
}

// doubt says why a sweep under the conditions now may not go on from a checkpoint; "" if it may.
func (c *checkpoint) doubt(now conditions, at time.Time) string {
	was := c.Under
	switch {
	case was.RuleHash != now.RuleHash || !slices.Equal(was.Databases, now.Databases):
		return "it was of another plan"
	case was.Phase != now.Phase:
		return fmt.Sprintf("it was in phase %v", was.Phase)
	case was.Words != now.Words:
		return "it was asked for with other words"
	case was.RunID == "" || was.ReplicationID == "":
		return "the server does not say who it is"
	case was.RunID != now.RunID:
		return "the server was restarted, or is another one"
	case was.ReplicationID != now.ReplicationID:
		return "there was a failover since"
	case was.Mark != now.Mark:
		return "the fleet has made a step since, or nobody watched it then"
	case was.Entered != now.Entered:
		return "a process has entered a phase since"
	case now.Mark == "" && at.Sub(c.Saved) > assumedFor:
		return fmt.Sprintf("it is older than %v, and only your word says that the phase was not left meanwhile", assumedFor)
	default:
		return ""
	}
}

// layout is that of the walks of all jobs. Where it changes, a position in the walks of another version means another one.
const layout = 2

// words are the options that change what a sweep does or finds wrong. How fast it goes and what it shows may differ, and what it
// would do with big keys where it copies none.
func (o Options) words() string {
	if o.Kind != Backfill && o.Kind != Reverse && !o.Repair {
		o.BigKeys, o.BigStall = BigSkip, 0
	}
	return fmt.Sprint(layout, o.Execute, o.Repair, o.RemoveStrays, o.ClaimSharedLegacy, o.MinIdle, o.TTLTolerance, o.Trash, o.Undo, o.BigKeys, o.BigStall, o.Sample)
}
