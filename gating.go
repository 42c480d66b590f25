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
// Open, where what the process did before is not known. held says that the flags are to be looked at again.
func (r *Rekey) gatePhases(ctx context.Context, now, goal []phase.Phase) (allowed []phase.Phase, held bool, err error) {
	gated, err := phase.Gated(r.lookup)
	if err != nil {
		return nil, false, prefixed(err)
	}
	ctx, cancel := context.WithTimeout(ctx, evidenceTimeout)
	defer cancel()
	allowed = slices.Clone(goal)
	for i := range goal {
		var stop phase.Phase
		var unproven error
		if now == nil {
			stop, unproven = r.begin(ctx, i, goal[i])
		} else {
			stop, unproven = r.reachable(ctx, i, now[i], goal[i])
		}
		r.unseen[i] = gated && failed(unproven) && (now == nil || r.unseen[i])
		if unproven == nil {
			continue
		}
		if gated {
			allowed[i] = stop
			held = true
		}
		waits := allowed[i] != goal[i]
		if waits {
			r.gated[i].held.Add(1)
		} else {
			r.gated[i].ungated.Add(1)
		}
		r.sayUnproven(i, stop, goal[i], unproven, waits)
	}
	return allowed, held, nil
}

// gatedSteps are the steps with a gate on the way between two phases of a rule.
func (r *Rekey) gatedSteps(rule int, from, goal phase.Phase) (steps []phase.Step) {
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
	return steps
}

// reachable is how far a rule may go on the way to the goal, and what the step beyond lacks. A proof counts from
// when the last process came to the step's first phase, and this one is such a process: it has to stand there, and
// to be recorded, before it looks. Nothing is proven of what it wrote until then.
func (r *Rekey) reachable(ctx context.Context, rule int, from, goal phase.Phase) (phase.Phase, error) {
	steps := r.gatedSteps(rule, from, goal)
	if step, ok := phase.StepBetween(r.plan.Rules[rule].Strategy, from, goal); ok {
		steps = nil
		if len(step.Gates) > 0 {
			steps = []phase.Step{step} // it has gates of its own: drain to prefixed does not go by way of sealed
		}
	}
	for _, step := range steps {
		if step.From != from {
			return step.From, &unprovenError{step, step.Gates}
		}
		if r.recorded[rule] != from && !r.unseen[rule] && r.evidence != nil {
			return from, errUnrecorded
		}
		if err := r.unproven(ctx, rule, step, undoneIn(step)); err != nil {
			return from, err
		}
	}
	return goal, nil
}

// undoneIn are the phases whose entering a proof of a step has to come after: the step's first one, in which the whole fleet
// has to be. A parked first phase is not recorded; there it is every phase beyond the step's second, which is what could have
// undone the proof.
func undoneIn(step phase.Step) []phase.Phase {
	if !step.From.Parked() {
		return []phase.Phase{step.From}
	}
	return slices.DeleteFunc(phase.Of(step.Strategy), func(p phase.Phase) bool { return p == step.From || p == step.To })
}

// undoneBefore is undoneIn for a process that has just started, whose fleet may have gone back since the proof: every phase up
// to the step's first one counts. Where that is parked the others may be at the goal already.
func undoneBefore(step phase.Step, goal phase.Phase) []phase.Phase {
	if step.From.Parked() {
		if goal != step.To {
			return nil
		}
		return undoneIn(step)
	}
	all := phase.Of(step.Strategy)
	return all[:slices.Index(all, step.From)+1]
}

// begin is where a process that has just started begins a rule, and what the step beyond lacks. It counts the way
// from legacy, and there only the last step with a gate: the earlier ones were made when their proofs were there,
// or by others.
//
// Where a look fails nothing is known of the fleet but the goal: it is there, or waits for the proof in the first phase
// of the last step with a gate. So that phase is the one to begin in, if it may stand beside the goal; what lies
// further back may not. If it may not (goals drain and move), the step that ends at the goal has no gate, and the
// goal may stand beside all that lead there.
func (r *Rekey) begin(ctx context.Context, rule int, goal phase.Phase) (stop phase.Phase, first error) {
	stop = goal
	for _, step := range slices.Backward(r.gatedStepsTo(ctx, rule, goal)) {
		err := r.unproven(ctx, rule, step, undoneBefore(step, goal))
		if err == nil {
			break
		}
		if first == nil {
			first = err
		}
		if failed(err) && !phase.Beside(step.Strategy, step.From, goal) {
			break
		}
		stop = step.From
		if failed(err) {
			break
		}
	}
	return stop, first
}

// gatedStepsTo are the steps with a gate on the way from legacy to a goal. To prefixed there are two ways, and the fleet is on
// that of the phase which a process entered last: in sealed a key that only its legacy name has is not seen, in drain it is.
// Where that cannot be read it is taken for drain, which misses no key whichever way the fleet is on.
func (r *Rekey) gatedStepsTo(ctx context.Context, rule int, goal phase.Phase) []phase.Step {
	direct, ok := phase.StepBetween(r.plan.Rules[rule].Strategy, phase.Drain, goal)
	if ok && len(direct.Gates) > 0 && goal == phase.Prefixed && r.evidence != nil {
		if last, _, err := r.evidence.LastEntered(ctx, rule, []phase.Phase{phase.Drain, phase.Sealed}); err != nil || last == phase.Drain {
			return append(r.gatedSteps(rule, phase.Legacy, phase.Drain), direct)
		}
	}
	return r.gatedSteps(rule, phase.Legacy, goal)
}

// failed says that a look for a verdict failed, which says nothing of the verdict. That a plan names no server is
// known to the whole fleet, and that nothing is ever proven then.
func failed(err error) bool {
	return err != nil && !errors.As(err, new(*unprovenError)) && !errors.Is(err, fleet.ErrNoServer)
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

// unproven says why a step's gates do not hold, nil if they do: by sweeps that began after the last process entered any of some
// phases.
func (r *Rekey) unproven(ctx context.Context, rule int, step phase.Step, after []phase.Phase) error {
	if r.evidence == nil {
		return fleet.ErrNoServer
	}
	missing, err := r.evidence.Proven(ctx, rule, step, after)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return &unprovenError{step, missing}
	}
	return nil
}

// sayUnproven tells the operator, once for each goal of a rule and each stop on the way, which command would prove the
// step.
func (r *Rekey) sayUnproven(rule int, stop, goal phase.Phase, reason error, held bool) {
	saying := uint32(stop)<<8 | uint32(goal)
	if r.gated[rule].said.Swap(saying) == saying {
		return
	}
	what := "the flags ask for a phase whose gate is not proven; it is taken all the same"
	if held {
		what = "the flags ask for a phase whose gate is not proven; the rule goes no further until it is"
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
// recorded with the next phases. A phase in which the process has begun because it could not look is recorded when it
// has looked: the verdict would be older than the record else, and the process held until there is another.
func (r *Rekey) entered(ctx context.Context, now []phase.Phase) {
	if r.evidence == nil {
		copy(r.recorded, now)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, evidenceTimeout)
	defer cancel()
	said := r.unrecorded
	r.unrecorded = false
	for i, p := range now {
		if r.recorded[i] == p || r.unseen[i] {
			continue
		}
		if r.plan.Rules[i].Flags != phase.FlagsNone {
			if err := r.evidence.Entered(ctx, r.plan.Rules[i].Name, p); err != nil {
				if !said {
					r.log.Warn("the phase is not recorded, so a gate may be taken for proven too early", "rule", r.plan.Rules[i].Name, "error", err)
				}
				r.unrecorded = true
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
	r.waiting = held || err != nil || !slices.Equal(r.recorded, r.rules.Table().Phases)
	return r.waiting
}
