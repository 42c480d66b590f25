package rekey

import (
	"slices"
	"time"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/phase"
)

// Stats is a copy of an instance's counters. All counts are since Open and only rise.
type Stats struct {
	// Rules has the counters of each rule by its name.
	Rules map[string]RuleStats
	// KeysCalls counts the application's own KEYS commands. rekey sends none.
	KeysCalls uint64
	// Refused counts commands that were answered with an error of rekey's own and belong to no
	// rule. RefusedFor has them by reason; see [RuleStats].
	Refused    uint64
	RefusedFor map[string]uint64
	// Conns is how many connections are open.
	Conns int
	// Added is how long rekey itself held up what passed its connections: one in sixteen writes of the application
	// and reads of the server's replies, at random.
	Added Histogram
	// LeaseAge is how long ago the renewal of the lease in force was begun; 0 without a fleet.
	LeaseAge time.Duration
}

// Histogram counts durations by their size: how long rekey held bytes up, to rewrite commands and to fold replies.
// What the server takes for the other name of a key is not in it.
type Histogram struct {
	Bounds []time.Duration // upper bounds of the buckets
	Counts []uint64        // of each bucket, and of one more behind them
	Sum    time.Duration
}

// RuleStats is what happened to one rule's keys.
type RuleStats struct {
	Strategy phase.Strategy
	// Phase is what the instance does with the rule's keys now. Wanted is what its source of phases
	// asks for; it differs while a change is under way and while a gate holds the rule back.
	Phase, Wanted phase.Phase
	// Acknowledged is the phase that the fleet was told to be reached: no command of an earlier one is
	// under way. 0 without a fleet.
	Acknowledged phase.Phase
	// Commands counts the application's commands by class: read, replay, overwrite, effect, recopy,
	// count.
	Commands map[string]uint64
	// Fallbacks counts reads in dual and drain whose value was found only under the legacy name, and
	// in move the keys that were brought to the target name.
	Fallbacks uint64
	// Replays and Recopies count writes by how the other copy was kept equal: by sending the command
	// on both names, or by copying the whole value.
	Replays, Recopies uint64
	// Uncopied counts commands that were answered without what the phase adds to them, because the
	// server refused it: full memory, a replica, a right that the user lacks.
	Uncopied uint64
	// Divergences counts replayed writes whose two replies differed. It must stay 0.
	Divergences uint64
	// Refused counts commands that were answered with an error of rekey's own. RefusedFor has them by
	// reason, every reason always: reach (the command names keys by pattern or in another database
	// while the rule is on its way), unknown (nobody could tell its keys), transaction (impossible
	// inside MULTI, or between WATCH and MULTI), server (the server refuses this user MULTI), closed
	// (the instance may send nothing under the rule now).
	Refused    uint64
	RefusedFor map[string]uint64
	// Added is how long rekey itself held up commands by class, each together with its reply, of the commands in
	// one of sixteen writes. Blocking commands are not in it, nor is what waits for a reply of the server's first.
	Added map[string]Histogram
	// Held counts the times that the flags asked for a step whose gate has no verdict and the rule
	// stayed where it was; Ungated, that it went all the same.
	Held, Ungated uint64
}

// Stats returns a copy of the counters.
func (r *Rekey) Stats() Stats {
	s := Stats{
		Rules:     make(map[string]RuleStats, len(r.plan.Rules)),
		KeysCalls: r.rules.Stats.Keys.Load(),
		Conns:     r.conns.open(),
	}
	s.Refused, s.RefusedFor = refused(&r.rules.Stats.Refused)
	s.Added = histogram(&r.rules.Stats.Added)
	table := r.rules.Table()
	r.mu.Lock()
	wanted := r.wanted
	r.mu.Unlock()
	acknowledged := make([]phase.Phase, len(r.plan.Rules))
	if r.agent != nil {
		s.LeaseAge, acknowledged = r.agent.LeaseAge(), r.agent.Acknowledged()
	}
	for i, rule := range r.plan.Rules {
		c := &r.rules.Stats.Rules[i]
		out := RuleStats{
			Strategy: rule.Strategy, Phase: table.Phase(i), Wanted: wanted[i], Acknowledged: acknowledged[i],
			Commands: make(map[string]uint64), Added: make(map[string]Histogram),
			Fallbacks: c.Fallbacks.Load(), Replays: c.Replays.Load(), Recopies: c.Recopies.Load(),
			Uncopied: c.Uncopied.Load(), Divergences: c.Divergences.Load(),
			Held: r.gated[i].held.Load(), Ungated: r.gated[i].ungated.Load(),
		}
		out.Refused, out.RefusedFor = refused(&c.Refused)
		for class := range c.Commands {
			if n := c.Commands[class].Load(); n > 0 {
				out.Commands[command.Class(class).String()] = n
			}
		}
		for class := range c.Added {
			if h := histogram(&c.Added[class]); slices.Max(h.Counts) > 0 {
				out.Added[command.Class(class).String()] = h
			}
		}
		s.Rules[rule.Name] = out
	}
	return s
}

func histogram(l *intercept.Latency) (h Histogram) {
	h.Bounds = slices.Clone(intercept.AddedBounds[:])
	h.Counts, h.Sum = l.Counts()
	return h
}

// refused copies counts by reason; the total is their sum at one moment.
func refused(c *intercept.Refusals) (total uint64, by map[string]uint64) {
	by = make(map[string]uint64, intercept.Reasons)
	for i := range intercept.Reasons {
		n := c.By(intercept.Reason(i))
		by[intercept.Reason(i).String()] = n
		total += n
	}
	return total, by
}
