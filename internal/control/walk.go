package control

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// walk takes each rule to its goal, all at once.
func (c *Controller) walk(ctx context.Context, goals []Goal) error {
	for _, g := range goals {
		if _, err := g.check(c.plan); err != nil {
			return err
		}
	}
	ctx, done := c.under(ctx)
	defer done()
	errs := make([]error, len(goals))
	var work sync.WaitGroup
	for i, g := range goals {
		work.Go(func() { errs[i] = c.walkRule(ctx, g) })
	}
	work.Wait()
	if err := c.lock.fenced(); err != nil {
		return err // which explains all others
	}
	return together(errs)
}

// under gives a context that ends with the caller's and with the lock.
func (c *Controller) under(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ctx, func() { cancel(context.Cause(c.ctx)) })
	return ctx, func() { stop(); cancel(context.Canceled) }
}

// together makes one error of those of all rules: what held rules up is one *[HeldError].
func together(errs []error) error {
	held := &HeldError{}
	var others []error
	for _, err := range errs {
		var h *HeldError
		switch {
		case err == nil:
		case errors.As(err, &h):
			held.Held = append(held.Held, h.Held...)
		case !slices.ContainsFunc(others, func(o error) bool { return o.Error() == err.Error() }):
			others = append(others, err)
		}
	}
	if len(held.Held) > 0 {
		others = append(others, held)
	}
	if len(others) == 1 {
		return others[0]
	}
	return errors.Join(others...)
}

// only keeps two methods from working on one rule at once.
func (c *Controller) only(rule string) (release func()) {
	c.working.Lock()
	one, ok := c.rules[rule]
	if !ok {
		one = new(sync.Mutex)
		c.rules[rule] = one
	}
	c.working.Unlock()
	one.Lock()
	return one.Unlock
}

// walkRule takes one rule to its goal. A server that does not answer for a while ends nothing: all that is
// needed to go on is read again.
func (c *Controller) walkRule(ctx context.Context, g Goal) error {
	defer c.only(g.Rule)()
	w := &walker{Controller: c, goal: g}
	w.rule, _ = c.plan.Index(g.Rule)
	var since time.Time // the server does not answer since
	for {
		done, err := w.forward(ctx)
		switch {
		case err == nil && done:
			return nil
		case err == nil:
			since = time.Time{}
			continue
		case context.Cause(ctx) != nil:
			return c.verdictOf(context.Cause(ctx))
		case !transient(err):
			return c.verdictOf(err)
		case since.IsZero():
			since = time.Now()
		}
		if time.Since(since) >= c.Patience {
			return err
		}
		c.tell(Event{Kind: Retrying, Rule: g.Rule, Text: err.Error()})
		if err := pause(ctx, c.Poll); err != nil {
			return c.verdictOf(err)
		}
	}
}

// verdictOf is the error to give: that the lock was lost explains all others.
func (c *Controller) verdictOf(err error) error {
	if lost := c.lock.fenced(); err != nil && lost != nil {
		return lost
	}
	return err
}

// passing are the first words of errors of a server that will answer again.
var passing = []string{"LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "BUSY", "TRYAGAIN", "UNBLOCKED"}

// transient says whether an error is one of the connection, of a server that is not ready, or of a sweep that ends.
func transient(err error) bool {
	if errors.As(err, new(*sweep.LeaseError)) {
		return true // somebody runs it by hand
	}
	var refused *sweep.ServerError
	if errors.As(err, &refused) && refused.Code == "" {
		return !errors.Is(err, context.Canceled)
	}
	var answered redis.Error
	if errors.As(err, &answered) {
		word, _, _ := strings.Cut(answered.Error(), " ")
		return slices.Contains(passing, word)
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, redis.ErrPoolTimeout) || isEOF(err)
}

// walker is the walk of one rule.
type walker struct {
	*Controller
	goal    Goal
	rule    int
	made    int       // steps
	soaking time.Time // since the walk has waited for quiet in this phase
	proofs  int       // how often gates were proven and did not hold afterwards
}

// next is the step that is to be made, as far as the records say. It is false where there is none.
func (w *walker) next(s *snapshot) (phase.Step, bool) {
	at := phase.Legacy
	if t, ok := s.targets[w.goal.Rule]; ok {
		at = t.Phase
	}
	if w.goal.Steps > 0 && w.made >= w.goal.Steps {
		return phase.Step{}, false
	}
	strategy := w.plan.Rules[w.rule].Strategy
	to, ok := phase.Next(strategy, at, w.goal.To)
	if !ok {
		return phase.Step{}, false
	}
	step, ok := phase.StepBetween(strategy, at, to)
	// The first step says whether the rule is on this side of its goal. Between settled and drain the way turns.
	return step, ok && (w.made > 0 || !w.goal.Way.wrong(step.Back))
}

// forward makes one step, or finds that there is none to make.
func (w *walker) forward(ctx context.Context) (done bool, err error) {
	s, err := w.look(ctx, time.Now())
	if err != nil {
		return false, err
	}
	step, more := w.next(s)
	if !more {
		_, err := w.settle(ctx, w.rule, settleArrived)
		if err == nil {
			err = w.replicated(ctx, w.goal.Rule) // no step follows whose own wait would cover the last one
		}
		if err == nil {
			w.tell(Event{Kind: Done, Rule: w.goal.Rule, From: s.targets[w.goal.Rule].Phase})
		}
		return err == nil, w.held(err, s.targets[w.goal.Rule].Phase, 0)
	}
	made, err := w.step(ctx, step)
	if made {
		w.made++
		w.soaking, w.proofs = time.Time{}, 0
	}
	return false, w.held(err, step.From, step.To)
}

// held names rule and step in an error of blockers, and tells it.
func (w *walker) held(err error, from, to phase.Phase) error {
	var by blockedError
	if !errors.As(err, &by) {
		return err
	}
	w.tell(Event{Kind: Stays, Rule: w.goal.Rule, From: from, To: to, Blockers: by})
	return &HeldError{[]Held{{Rule: w.goal.Rule, From: from, To: to, Blockers: by}}}
}

// blockedError is blockers on their way up to who knows the step.
type blockedError []Blocker

func (b blockedError) Error() string { return "rekey: " + b[0].Text }
