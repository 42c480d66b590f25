package demo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// The ways. With the mirror strategy the rate limiter's keys, which are moved, go along.
var (
	mirrorWay = []stage{
		{phase.Legacy, phase.Legacy},
		{phase.Guard, phase.Hold},
		{phase.Dual, phase.Move},
		{phase.Settled, phase.Move},
		{phase.Sealed, phase.Move},
		{phase.Prefixed, phase.Prefixed},
	}
	moveWay = []stage{
		{phase.Legacy, phase.Legacy},
		{phase.Guard, phase.Hold},
		{phase.Dual, phase.Move},
		{phase.Prefixed, phase.Prefixed},
	}
)

// way is the stages from legacy names to the last; the way back is the same the other way.
func (d *demo) way() []stage {
	switch {
	case d.Naive:
		return naiveWay
	case d.Strategy == phase.Relocate:
		return moveWay
	default:
		return mirrorWay
	}
}

// both is the way there and back. The naive rollback ends with both flags on, as its plan says.
func (d *demo) both() []stage {
	there := d.way()
	back := slices.Clone(there[:len(there)-1])
	slices.Reverse(back)
	if d.Naive {
		back = back[:1]
	}
	return slices.Concat(there, back)
}

// walk takes the fleet there and back, one instance after the other, and stays for a while after each.
func (d *demo) walk(ctx context.Context) error {
	stages := d.both()
	slots := (len(stages)-1)*len(d.instances) + 1
	slot := func(n int) time.Time {
		return d.counts.begin.Add(d.Duration * time.Duration(n) / time.Duration(slots))
	}
	if err := d.stay(ctx, slot(1), slots); err != nil {
		return err
	}
	for i := 1; i < len(stages); i++ {
		from, to := stages[i-1], stages[i]
		if err := d.gates(ctx, from, to); err != nil {
			return err
		}
		for n, one := range d.instances {
			if err := one.enter(ctx, to); err != nil {
				return fmt.Errorf("rekey: demo: %s does not get from %v to %v: %w", one.name(), from.of(d.Strategy), to.of(d.Strategy), err)
			}
			d.Observer.Stepped(Step{
				At: d.since(), Instance: n, From: from.of(d.Strategy).String(), To: to.of(d.Strategy).String(),
				Index: slices.Index(d.way(), to), Last: n == len(d.instances)-1,
			})
			if err := d.stay(ctx, slot((i-1)*len(d.instances)+n+2), slots); err != nil {
				return err
			}
		}
		if i == len(d.way())-1 {
			if err := d.check(ctx, to.of(d.Strategy).String()); err != nil {
				return err
			}
		}
	}
	return d.leaveNothing(ctx, stages[len(stages)-1])
}

// leastOps is what each instance does at least before the walk goes on, so that a machine that is
// slow, or a walk that is short, still mixes phases.
const leastOps = 25

// How often counts are told, and how often it is looked whether it is time to go on.
const (
	tickPause = 100 * time.Millisecond
	lookPause = 2 * time.Millisecond
)

// stay lets the traffic run until a time, and until every instance has done something.
func (d *demo) stay(ctx context.Context, until time.Time, slots int) error {
	before := make([]int64, len(d.instances))
	for i, one := range d.instances {
		before[i] = one.ops()
	}
	busy := func() bool {
		for i, one := range d.instances {
			if one.ops()-before[i] < leastOps {
				return false
			}
		}
		return true
	}
	tick, look := time.NewTicker(tickPause), time.NewTicker(lookPause)
	defer tick.Stop()
	defer look.Stop()
	begin, from := time.Now(), d.part
	for time.Now().Before(until) || !busy() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			gone := min(float64(time.Since(begin))/float64(max(until.Sub(begin), 1)), 1)
			d.tick(from + gone/float64(slots))
		case <-look.C:
		}
	}
	d.tick(from + 1/float64(slots))
	return nil
}

// tick tells the counts; part is how much of the walk is done.
func (d *demo) tick(part float64) {
	d.part = min(part, 1)
	d.Observer.Ticked(Tick{
		At: d.since(), Part: d.part, Ops: d.counts.ops.Load(), Fallbacks: d.fallbacks(phase.Mirror, phase.Relocate), Moved: d.moved,
		Lost: d.counts.faults[lost].Load(), Stale: d.counts.faults[stale].Load(), Revived: d.counts.faults[revived].Load(),
	})
}

func (d *demo) since() time.Duration { return time.Since(d.counts.begin) }

// fallbacks counts those of all instances, on rules of the given strategies.
func (d *demo) fallbacks(strategies ...phase.Strategy) (n int64) {
	for _, i := range d.instances {
		s := i.stats()
		for _, strategy := range strategies {
			n += s.fallbacks[strategy]
		}
	}
	return n
}

// check reads every key under the traffic and compares it.
func (d *demo) check(ctx context.Context, where string) error {
	wrong := d.counts.wrong()
	if err := d.keys.check(ctx, d.checkers); err != nil {
		return d.gone(ctx, err)
	}
	d.Observer.Checked(Check{At: d.since(), Keys: d.keys.keys, Where: where, Wrong: d.counts.wrong() - wrong})
	return nil
}

// gates proves what must hold before the step, by the sweeps that the phase table names.
func (d *demo) gates(ctx context.Context, from, to stage) error {
	if d.Naive {
		return nil // it has none
	}
	for _, strategy := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		a, b := from.of(strategy), to.of(strategy)
		if a == b || len(d.rules(strategy)) == 0 {
			continue
		}
		step, ok := phase.StepBetween(strategy, a, b)
		if !ok {
			return fmt.Errorf("rekey: demo: there is no step from %v to %v", a, b)
		}
		for _, gate := range slices.Concat(step.Gates, step.Asked) {
			if err := d.prove(ctx, strategy, a, gate); err != nil {
				return err
			}
		}
	}
	return nil
}

// prove runs a gate's sweep over all rules of a strategy.
func (d *demo) prove(ctx context.Context, strategy phase.Strategy, at phase.Phase, gate phase.Gate) error {
	if gate == phase.Quiet {
		return d.soak(ctx)
	}
	kind, err := sweep.ParseKind(gate.Sweep())
	if err != nil {
		return err
	}
	rules := d.rules(strategy)
	// Cleanup removes before the step to prefixed and only looks before a step back.
	execute := gate == phase.NoLegacy
	told := Sweep{Kind: kind.String(), Proves: gate.Proves(), Rules: rules}
	for i, rule := range rules {
		result, err := d.sweep(ctx, sweep.Options{Rule: rule, Kind: kind, Phase: at, Execute: execute}, told, float64(i)/float64(len(rules)))
		if err != nil {
			return err
		}
		told.Matched += result.Matched
		told.Changed += result.Changed
		if holds, reason := result.Verdict.Holds(gate); !holds {
			return fmt.Errorf("rekey: demo: %s of rule %s: it is not so that %s: %s", kind, rule, gate.Proves(), reason)
		}
	}
	told.Part, told.Done, told.At = 1, true, d.since()
	d.Observer.Swept(told)
	return nil
}

// rules are the names of some strategies' rules.
func (d *demo) rules(strategies ...phase.Strategy) []string {
	var names []string
	for _, rule := range d.plan.Rules {
		if slices.Contains(strategies, rule.Strategy) {
			names = append(names, rule.Name)
		}
	}
	return names
}

// sweep runs one sweep over one rule and tells how far it is.
func (d *demo) sweep(ctx context.Context, o sweep.Options, told Sweep, part float64) (sweep.Result, error) {
	o.Client, o.Plan, o.TTLTolerance = d.server.admin, d.plan, d.server.ttlTolerance()
	o.OnProgress = func(p sweep.Progress) {
		now := told
		now.At, now.Part = d.since(), part
		now.Matched += p.Matched
		now.Changed += p.Changed
		d.Observer.Swept(now)
	}
	result, err := sweep.Run(ctx, o)
	switch o.Kind {
	case sweep.Backfill, sweep.Reverse, sweep.Relocate:
		d.moved += result.Changed
	}
	return result, err
}

// soak waits for a moment without a fallback in the whole fleet. After a backfill the first one is.
func (d *demo) soak(ctx context.Context) error {
	slots := (len(d.both())-1)*len(d.instances) + 1
	moment := d.Duration / time.Duration(slots) / 2
	before := d.fallbacks(phase.Mirror)
	if err := d.stay(ctx, time.Now().Add(moment), 1<<20); err != nil {
		return err
	}
	if n := d.fallbacks(phase.Mirror) - before; n > 0 {
		return fmt.Errorf("rekey: demo: after the backfill %d reads still fell back to a legacy key", n)
	}
	return nil
}

// leaveNothing removes what the next try would stumble over, and proves it: the guard's writes leave
// target keys only of what nobody wrote.
func (d *demo) leaveNothing(ctx context.Context, at stage) error {
	if d.Naive {
		return nil
	}
	told := Sweep{Kind: sweep.Purge.String(), Proves: phase.NoTarget.Proves(), Rules: d.rules(phase.Mirror, phase.Relocate)}
	for i, rule := range d.plan.Rules {
		o := sweep.Options{Rule: rule.Name, Kind: sweep.Purge, Phase: at.of(rule.Strategy), Execute: true}
		result, err := d.sweep(ctx, o, told, float64(i)/float64(len(d.plan.Rules)))
		if err != nil {
			return err
		}
		told.Matched += result.Matched
		told.Changed += result.Changed
	}
	told.Part, told.Done, told.At = 1, true, d.since()
	d.Observer.Swept(told)
	return nil
}
