package rekey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/phase"
)

// Flags are obeyed at once: they are the operator's word. But a step with a gate is looked up first:
// without the gate's verdict the step is counted and said once, and with CW_CACHE_GATED=1 it is not
// made before the verdict is there.

const (
	evidenceTimeout = 2 * time.Second
	heldPause       = time.Second // between two looks for a verdict that holds a rule back
)

// gatePhases turns the phases that the flags choose into those that may be taken now. now is nil in
// Open, where what the process did before is not known: the way from legacy is looked at then.
func (r *Rekey) gatePhases(ctx context.Context, now, goal []phase.Phase) (allowed []phase.Phase, held bool, err error) {
	gated, err := phase.Gated(r.lookup)
	if err != nil {
		return nil, false, prefixed(err)
	}
	ctx, cancel := context.WithTimeout(ctx, evidenceTimeout)
	defer cancel()
	allowed = slices.Clone(goal)
	for i := range goal {
		from := phase.Legacy
		if now != nil {
			from = now[i]
		}
		stop, unproven := r.reachable(ctx, i, from, goal[i], now == nil)
		if unproven == nil {
			continue
		}
		if gated {
			allowed[i] = stop
			held = true
			r.gated[i].held.Add(1)
		} else {
			r.gated[i].ungated.Add(1)
		}
		r.sayUnproven(i, goal[i], unproven, gated)
	}
	return allowed, held, nil
}

// reachable is how far on the way to the goal every step with a gate has its proof, and what the first
// one that has none lacks. A process that has just started counts only the last step with a gate: the
// earlier ones were made when their proofs were there, or by others.
func (r *Rekey) reachable(ctx context.Context, rule int, from, goal phase.Phase, starting bool) (phase.Phase, error) {
	var steps []phase.Step
	strategy := r.plan.Rules[rule].Strategy
	for at := from; at != goal; {
		next, ok := phase.Next(strategy, at, goal)
		if !ok {
			break
		}
		if step, ok := phase.StepBetween(strategy, at, next); ok && len(step.Gates) > 0 {
			steps = append(steps, step)
		}
		at = next
	}
	if !starting {
		if len(steps) > 0 && r.recorded[rule] != from && r.evidence != nil {
			return steps[0].From, errUnrecorded
		}
		for _, step := range steps {
			if err := r.unproven(ctx, rule, step); err != nil {
				return step.From, err
			}
		}
		return goal, nil
	}
	var first error
	for _, step := range slices.Backward(steps) {
		err := r.unproven(ctx, rule, step)
		if err == nil {
			return goal, first
		}
		goal = step.From
		if first == nil {
			first = err
		}
	}
	return goal, first
}

// unprovenError is a step whose gates nothing proves.
type unprovenError struct {
	step    phase.Step
	missing []phase.Gate
}

func (e *unprovenError) Error() string {
	var proofs []string
	for _, g := range e.missing {
		proofs = append(proofs, g.Proves())
	}
	return fmt.Sprintf("no verdict says that %s", strings.Join(proofs, ", and that "))
}

// errUnrecorded is a step out of a phase that the instance came to without being able to record it: verdicts of
// before would be taken for proofs.
var errUnrecorded = errors.New("rekey: the phase that the step begins in could not be recorded")

// unproven says why a step's gates do not hold, nil if they do.
func (r *Rekey) unproven(ctx context.Context, rule int, step phase.Step) error {
	if r.evidence == nil {
		return fleet.ErrNoServer
	}
	missing, err := r.evidence.Proven(ctx, rule, step)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return &unprovenError{step, missing}
	}
	return nil
}

// sayUnproven tells the operator, once for each goal of a rule, which command would prove the step.
func (r *Rekey) sayUnproven(rule int, goal phase.Phase, reason error, held bool) {
	if r.gated[rule].said.Swap(uint32(goal)) == uint32(goal) {
		return
	}
	what := "the flags ask for a phase whose gate is not proven; it is taken all the same"
	if held {
		what = "the flags ask for a phase whose gate is not proven; the rule stays where it is until it is"
	}
	name := r.plan.Rules[rule].Name
	attrs := []any{"rule", name, "phase", goal.String(), "reason", reason}
	var missing *unprovenError
	if errors.As(reason, &missing) {
		for _, g := range missing.missing {
			attrs = append(attrs, "run", fmt.Sprintf("rekey %s %s --assume-phase %s", g.Sweep(), name, missing.step.From))
		}
	}
	r.log.Warn(what, attrs...)
}

// entered records the phases that the instance is in, for the gates of others. What could not be recorded is
// recorded with the next phases.
func (r *Rekey) entered(ctx context.Context, now []phase.Phase) {
	if r.evidence == nil {
		copy(r.recorded, now)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, evidenceTimeout)
	defer cancel()
	for i, p := range now {
		if r.recorded[i] == p {
			continue
		}
		if r.plan.Rules[i].Flags != phase.FlagsNone {
			if err := r.evidence.Entered(ctx, r.plan.Rules[i].Name, p); err != nil {
				r.log.Warn("the phase is not recorded, so a gate may be taken for proven too early", "rule", r.plan.Rules[i].Name, "error", err)
				continue
			}
		}
		r.recorded[i] = p
	}
}

// waitForGates takes held rules on when their verdicts are there.
func (r *Rekey) waitForGates() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(heldPause):
		}
		if !r.stillHeld() {
			return
		}
	}
}

// stillHeld obeys the flags once more and says whether that is to be done again.
func (r *Rekey) stillHeld() bool {
	if err := r.lockFlags(r.ctx); err != nil {
		return false
	}
	defer r.unlockFlags()
	held, err := r.obeyFlags(r.ctx)
	if err != nil && r.ctx.Err() == nil {
		r.log.Warn("the flags are not obeyed now", "error", err)
	}
	r.waiting = held || err != nil
	return r.waiting
}
