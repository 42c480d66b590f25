package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/classwaves/rekey/phase"
)

// retryPause is how soon a renewal that failed is tried again; pollPause how often targets are looked
// at while no subscription carries the news.
const (
	retryPause = 250 * time.Millisecond
	pollPause  = time.Second
)

// run renews the lease until the context ends.
func (a *Agent) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-a.wake:
		}
		pause := a.Plan.Fleet.Renew
		if err := a.renew(ctx); err != nil {
			pause = retryPause
		} else {
			a.Engine.Readmit()
		}
		a.mu.Lock()
		left := a.expire()
		a.mu.Unlock()
		if left > 0 {
			pause = min(pause, left)
		}
		timer.Reset(pause)
	}
}

// renew does one renewal, and obeys what it brings.
func (a *Agent) renew(ctx context.Context) error {
	within := a.Plan.Fleet.Renew
	a.mu.Lock()
	self, gone := a.report(), a.gone
	a.gone = nil
	if left := a.expire(); left > 0 { // a server that hangs must not hold up the end of the lease
		within = min(within, left)
	}
	a.mu.Unlock()
	began := a.Now()
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	state, err := a.store.Renew(bounded, &self, gone)
	if errors.Is(err, ErrNoRecord) {
		return a.rejoin(ctx, state)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.gone = append(a.gone, gone...)
		a.why = err
		return err
	}
	if a.shut {
		a.Logger.Info("the lease is renewed again")
	}
	a.lease, a.why = NewLease(began, a.Plan.Fleet.Lease, a.Plan.Fleet.Margin), nil
	a.shut = false
	a.obey(ctx, state.Targets)
	a.tellShut()
	return nil
}

// report is the instance's record as it is now. The lock is held.
func (a *Agent) report() Instance {
	self := a.self
	self.Rules = make(map[string]RuleState, len(a.Plan.Rules))
	behind := ""
	if a.moving {
		behind = a.Engine.Behind()
	}
	for i, r := range a.Plan.Rules {
		reads, fallbacks := a.Engine.Used(i)
		s := RuleState{Hash: a.Plan.Hash(i), Phase: a.reached[i].Phase, Mark: a.reached[i].Mark, Epoch: a.reached[i].Epoch, Reads: reads, Fallbacks: fallbacks}
		switch {
		case a.broken[i] != "":
			s.Behind = a.broken[i]
		case a.reached[i].Mark != a.followed[i].Mark:
			s.Behind = behind
		}
		self.Rules[r.Name] = s
	}
	return self
}

// obey takes the engine to the targets that may be followed. The lock is held.
func (a *Agent) obey(ctx context.Context, targets map[string]Target) {
	news := false
	for i, r := range a.Plan.Rules {
		t, ok := targets[r.Name]
		a.broken[i] = a.unfit(i, t, ok)
		if a.broken[i] == "" && t.Mark.Compare(a.followed[i].Mark) > 0 {
			a.followed[i] = t
			news = true
		}
	}
	if news && !a.moving {
		a.startMoving(ctx)
	}
}

// unfit says why a target is not followed.
func (a *Agent) unfit(rule int, t Target, ok bool) string {
	had := a.followed[rule]
	switch {
	case !ok:
		return "its control record is gone: rekey restore-phase"
	case t.Hash != a.Plan.Hash(rule):
		return "this instance has other templates, databases or strategy for it than the fleet"
	case had.Epoch != "" && t.Epoch != had.Epoch:
		return "its control record is of another epoch: rekey restore-phase"
	case had.Epoch != "" && t.Mark.Compare(had.Mark) < 0:
		return "its control record was turned back: rekey restore-phase"
	case had.Epoch != "" && t.Mark == had.Mark && t.Phase != had.Phase:
		return "its control record is of another history, in which the same step led elsewhere: rekey restore-phase"
	}
	return ""
}

// startMoving begins to take the engine to what is followed. The lock is held.
func (a *Agent) startMoving(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	a.moving = true
	a.stopMoving = func() { cancel(); <-done }
	a.work.Go(func() {
		defer close(done)
		defer cancel()
		a.move(ctx)
	})
}

// move takes the engine to what is followed, and again as long as that changes meanwhile.
func (a *Agent) move(ctx context.Context) {
	for {
		a.mu.Lock()
		goal := slices.Clone(a.followed)
		a.mu.Unlock()
		if err := a.Engine.Follow(ctx, phasesOf(goal)); err != nil {
			if ctx.Err() == nil {
				a.Logger.Error("a phase was not reached; it is tried again", "error", err)
			}
			select {
			case <-ctx.Done():
				a.mu.Lock()
				a.moving = false
				a.mu.Unlock()
				return
			case <-time.After(retryPause):
			}
			continue
		}
		a.mu.Lock()
		a.reached = goal
		done := sameMarks(goal, a.followed)
		a.moving = !done
		a.mu.Unlock()
		a.wakeUp() // to say so
		if done {
			return
		}
	}
}

func phasesOf(targets []Target) []phase.Phase {
	out := make([]phase.Phase, len(targets))
	for i, t := range targets {
		out[i] = t.Phase
	}
	return out
}

// expire shuts the rules that are not parked when the lease has run out, and gives how much of it is left. The lock is held.
func (a *Agent) expire() (left time.Duration) {
	left = a.lease.Remaining(a.Now())
	if left <= 0 && !a.shut {
		a.shut = true
		a.Logger.Warn("the lease is lost; commands of rules that are not parked are refused until it is renewed", "error", a.why)
		a.tellShut()
	}
	return left
}

// tellShut tells the engine which rules' commands are refused, and why. The lock is held.
func (a *Agent) tellShut() {
	reasons := make([]string, len(a.Plan.Rules))
	for i, r := range a.Plan.Rules {
		parked := a.followed[i].Phase.Parked() && a.reached[i].Phase.Parked()
		switch {
		case parked:
		case a.shut:
			reasons[i] = fmt.Sprintf("rekey: lease lost: this instance could not renew its lease for %s, so commands of rule %s are refused until it can",
				a.lease.Age(a.Now()).Round(time.Millisecond), r.Name)
		case a.broken[i] != "":
			reasons[i] = fmt.Sprintf("rekey: lease lost: rule %s: %s", r.Name, a.broken[i])
		}
	}
	a.Engine.Shut(reasons)
}

// rejoin enters the fleet again after the instance's record was removed: somebody took it for dead and
// closed its connections, or the records are lost. What is not known any more is not used.
func (a *Agent) rejoin(ctx context.Context, state State) error {
	a.mu.Lock()
	a.shut = true
	a.why = ErrNoRecord
	a.tellShut()
	stop := a.stopMoving
	a.mu.Unlock()
	if stop != nil {
		stop() // or it would go on to a phase of before
	}
	a.Logger.Warn("this instance was taken for dead, or the control records are lost; it closes its connections and joins again")
	if err := a.reset(ctx, a.fitting(state.Targets)); err != nil {
		return err
	}
	// The id is the agent's own only when all is done: before that no connection is admitted under it, and where
	// something fails the next renewal finds no record and joins again.
	a.mu.Lock()
	self := a.report()
	a.mu.Unlock()
	self.ID = newID()
	began := a.Now()
	joined, err := a.store.Join(ctx, &self)
	if err != nil {
		return err
	}
	// From here on the fleet waits for this instance. While it had no record any number of steps may have been made.
	goal := a.fitting(joined.Targets)
	if !sameMarks(goal, a.followed) { // only this goroutine changes it now: nothing is moving
		if err := a.reset(ctx, goal); err != nil {
			return err
		}
		a.wakeUp() // to report what was reached
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.self.ID = self.ID
	a.lease = NewLease(began, a.Plan.Fleet.Lease, a.Plan.Fleet.Margin)
	a.shut, a.why = a.lease.Remaining(a.Now()) <= 0, nil // if that took too long, the next renewal tells
	a.obey(ctx, joined.Targets)
	a.tellShut()
	return nil
}

// fitting is what is followed, with those of some targets that may be.
func (a *Agent) fitting(targets map[string]Target) []Target {
	a.mu.Lock()
	defer a.mu.Unlock()
	goal := slices.Clone(a.followed)
	for i, r := range a.Plan.Rules {
		t, ok := targets[r.Name]
		if a.broken[i] = a.unfit(i, t, ok); a.broken[i] == "" {
			goal[i] = t
		}
	}
	return goal
}

// reset takes the engine to a goal, however far away it is.
func (a *Agent) reset(ctx context.Context, goal []Target) error {
	if err := a.Engine.Reset(ctx, phasesOf(goal), ErrLeaseLost); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.followed, a.reached = goal, slices.Clone(goal)
	return nil
}

func sameMarks(a, b []Target) bool {
	return slices.EqualFunc(a, b, func(x, y Target) bool { return x.Mark == y.Mark })
}
