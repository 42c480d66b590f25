package rekey

import (
	"context"
	"fmt"
	"slices"

	"github.com/classwaves/rekey/phase"
)

// flagPhases reads the phase of each rule from the environment.
func (r *Rekey) flagPhases() ([]phase.Phase, error) {
	out := make(map[string]phase.Phase)
	for _, rule := range r.plan.Rules {
		if rule.Flags == phase.FlagsNone {
			continue
		}
		p, err := phase.FromFlags(rule.Flags, r.lookup)
		if err != nil {
			return nil, &FlagsError{Rule: rule.Name, Err: err}
		}
		out[rule.Name] = p
	}
	return r.check(out)
}

// firstFlags are the phases that a process with flags begins in.
func (r *Rekey) firstFlags(ctx context.Context) (first []phase.Phase, held bool, err error) {
	goal, err := r.flagPhases()
	if err != nil {
		return nil, false, err
	}
	first, held, err = r.gatePhases(ctx, nil, goal)
	if err != nil {
		return nil, false, err
	}
	r.wanted = goal
	r.entered(ctx, first)
	return first, held, nil
}

// ReloadFlags reads the flags again, from the lookup that [WithFlags] gave, and takes the instance to
// the phases that they choose. It returns when the last change was made; [Rekey.WaitReached] tells
// when it is in force. An environment that chooses no phase changes nothing. With CW_CACHE_GATED=1 a
// rule whose gate is not proven stays where it is and follows when it is; [Stats] counts it as held.
func (r *Rekey) ReloadFlags(ctx context.Context) error {
	if r.lookup == nil {
		return ErrNotFlags
	}
	if err := r.lockFlags(ctx); err != nil {
		return err
	}
	defer r.unlockFlags()
	held, err := r.obeyFlags(ctx)
	if err == nil && held {
		r.startWaiting()
	}
	return err
}

// lockFlags has the flags to the caller alone, from the reading to all that follows from it: flags that were
// read before others must not be obeyed behind them. Whoever has them may wait for the application's
// commands for as long as its context lasts, so the wait for him is one that a context ends.
func (r *Rekey) lockFlags(ctx context.Context) error {
	if r.ctx.Err() != nil { // of a select with two ways any may be taken
		return ErrClosed
	}
	select {
	case r.obeying <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("rekey: flags that were read before are still being obeyed: %w", ctx.Err())
	case <-r.ctx.Done():
		return ErrClosed
	}
}

func (r *Rekey) unlockFlags() { <-r.obeying }

// obeyFlags takes the instance to what the flags choose, as far as the gates let it. The flags are locked.
func (r *Rekey) obeyFlags(ctx context.Context) (held bool, err error) {
	goal, err := r.flagPhases()
	if err != nil {
		return false, err
	}
	if err := r.record(ctx); err != nil { // what an earlier call could not
		return false, err
	}
	before := r.rules.Table().Phases
	allowed, held, err := r.gatePhases(ctx, before, goal)
	if err != nil {
		return false, err
	}
	err = r.changeTo(ctx, allowed, goal)
	for i, p := range r.rules.Table().Phases {
		if p != before[i] {
			r.recorded[i] = 0 // also where the way back comes before the record
		}
	}
	if err != nil {
		return held, err
	}
	return held, r.record(ctx)
}

// record records what the instance has come to and has not recorded. Nothing of the earlier phase may come after
// the record.
func (r *Rekey) record(ctx context.Context) error {
	now := r.rules.Table().Phases
	if slices.Equal(r.recorded, now) {
		return nil
	}
	if err := r.waitReached(ctx); err != nil {
		return err
	}
	r.entered(ctx, now)
	r.tellObserver()
	return nil
}

// startWaiting begins to look for the verdicts that hold rules back, unless it goes on already. The flags are
// locked, or nobody else knows of the instance yet.
func (r *Rekey) startWaiting() {
	if !r.waiting {
		r.waiting = true
		r.work.Go(r.waitForGates)
	}
}
