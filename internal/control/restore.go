package control

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/phase"
)

// restoreTries is how often the fleet may change while a target is restored.
const restoreTries = 10

// restore writes a rule's target anew. Living instances follow no record of another epoch and none with a lower
// mark, so it takes the epoch that they follow and a mark that is above all of theirs.
func (c *Controller) restore(ctx context.Context, name string, at phase.Phase) error {
	goal := Goal{Rule: name, To: at}
	rule, err := goal.check(c.plan)
	if err != nil {
		return err
	}
	ctx, done := c.under(ctx)
	defer done()
	defer c.only(name)()
	if err := c.hear(ctx); err != nil {
		return c.verdictOf(err)
	}
	for range restoreTries {
		c.forgetSeen(name)
		s, err := c.look(ctx, time.Now())
		if err != nil {
			return c.verdictOf(err)
		}
		if s.unburied > 0 {
			if _, err := c.bury(ctx, s); err != nil {
				return c.verdictOf(err)
			}
			continue
		}
		if err := c.mayRestore(s, rule, at); err != nil {
			return err
		}
		made, err := c.setTarget(ctx, s, rule, at, epochFor(s, name), entry{
			What: "restore-phase", From: s.targets[name].Phase, To: at, Evidence: map[string]any{"instances": len(s.instances)},
		})
		if err == nil && made {
			// A failover that loses the record would take the rule back to where it cannot be followed.
			err = c.replicated(ctx, name)
		}
		if err != nil || made {
			c.forgetSeen(name)
			return c.verdictOf(err)
		}
	}
	return fmt.Errorf("rekey: the fleet changed each time the phase of rule %s was to be restored; try again", name)
}

// hear waits until the instances that listen for changes are in the records again: where those are lost, each enters
// itself when it next looks, and says what it follows. After the time of a lease those who have not are hung, and
// refuse the rule when they go on.
func (c *Controller) hear(ctx context.Context) error {
	for until := time.Now().Add(c.plan.Fleet.Lease); time.Now().Before(until); {
		listeners, err := c.store.Wake(ctx)
		if err != nil {
			return err
		}
		instances, _, err := c.store.Instances(ctx)
		if err != nil {
			return err
		}
		for i := range instances {
			if !instances[i].Observer { // which follows flags, and listens for nothing
				listeners--
			}
		}
		if listeners <= 0 {
			return nil
		}
		if err := pause(ctx, c.Poll); err != nil {
			return err
		}
	}
	return nil
}

// forgetSeen drops what this controller has seen of a rule.
func (c *Controller) forgetSeen(rule string) {
	c.looking.Lock()
	defer c.looking.Unlock()
	delete(c.seen, rule)
	c.last = nil
}

// mayRestore refuses to restore a target that is sound, and one that the instances could not stand beside.
func (c *Controller) mayRestore(s *snapshot, rule int, at phase.Phase) error {
	r := c.plan.Rules[rule]
	if err := s.badTargets[r.Name]; err != nil {
		return err
	}
	held := blockers(s, r.Name, c.plan.Hash(rule), aside{noInstances: true})
	broken := slices.ContainsFunc(held, func(b Blocker) bool { return b.Reason == Records || b.Reason == OtherPlan })
	live := 0
	var stay []Blocker
	for i := range s.instances {
		one := &s.instances[i]
		state, knows := one.Rules[r.Name]
		if one.Lost(s.now) || !knows || one.Observer || state.Phase == 0 {
			continue
		}
		live++
		if !phase.Beside(r.Strategy, state.Phase, at) {
			stay = append(stay, Blocker{Reason: Records, Instance: one.ID, Name: title(one),
				Text: fmt.Sprintf("%s is in %s, which may not stand beside %s", title(one), state.Phase, at),
				Try:  fmt.Sprintf("rekey restore-phase %s --phase %s, or stop it", r.Name, state.Phase)})
		}
	}
	switch {
	case live > 0 && !broken:
		return usage("rule %s is at %s, and its instances follow that; rekey advance and rekey rollback change it", r.Name, s.targets[r.Name].Phase)
	case len(stay) > 0:
		return &HeldError{[]Held{{Rule: r.Name, From: s.targets[r.Name].Phase, To: at, Blockers: stay}}}
	}
	return nil
}

// epochFor is the epoch that most likely is followed: of the instance that has seen most of the rule, else of
// the records that there are.
func epochFor(s *snapshot, rule string) string {
	epoch, best := "", fleet.Mark{Gen: -1, Seq: -1}
	for i := range s.instances {
		one := &s.instances[i]
		if state := one.Rules[rule]; !one.Lost(s.now) && !one.Observer && state.Epoch != "" && state.Mark.Compare(best) > 0 {
			epoch, best = state.Epoch, state.Mark
		}
	}
	if epoch != "" {
		return epoch
	}
	if t, ok := s.targets[rule]; ok {
		return t.Epoch
	}
	for _, t := range s.targets {
		return t.Epoch // all targets have one
	}
	return rand.Text()
}
