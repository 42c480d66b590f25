package control

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"
)

// settling says what is waited for.
type settling uint8

const (
	// settleAll: all that a step needs before its gates.
	settleAll settling = iota
	// settleArrived: only that all who follow the target have reached it.
	settleArrived
)

// settle waits until nothing holds up a step of a rule but its gates, and does what there is to do for it:
// it buries the dead and makes the first record. Its error is a [blockedError] for what does not go away.
func (c *Controller) settle(ctx context.Context, rule int, how settling) (*snapshot, error) {
	name, hash := c.plan.Rules[rule].Name, c.plan.Hash(rule)
	if err := c.condemn(ctx, nil); err != nil { // what a sweep has left that broke
		return nil, err
	}
	began := time.Now()
	until := began.Add(c.Patience)
	told := ""
	for notBefore := began; ; {
		s, err := c.look(ctx, notBefore)
		if err != nil {
			return nil, err
		}
		all := blockers(s, name, hash, c.aside())
		if how == settleArrived {
			all = slices.DeleteFunc(all, func(b Blocker) bool { return !b.Passes && b.Reason != Records })
		}
		if len(all) == 0 {
			if told != "" {
				c.tell(Event{Kind: Reached, Rule: name, From: s.targets[name].Phase})
			}
			return s, nil
		}
		if stay := permanent(all); len(stay) > 0 {
			return nil, blockedError(stay)
		}
		if _, ok := s.targets[name]; !ok {
			if how == settleArrived {
				return s, nil // nothing was ever begun
			}
			if err := c.found(ctx, rule); err != nil {
				return nil, err
			}
			notBefore = time.Now() // what was known before is of no use
			continue
		}
		if some, err := c.bury(ctx, s); err != nil {
			return nil, err
		} else if some {
			notBefore = time.Now() // as above
			continue
		}
		if text := texts(all); text != told {
			c.tell(Event{Kind: Waiting, Rule: name, From: s.targets[name].Phase, Blockers: all})
			told = text
		}
		if !time.Now().Before(until) {
			return nil, blockedError(all)
		}
		if notBefore, err = c.rest(ctx, s, min(c.pace(time.Since(began)), time.Until(until))); err != nil {
			return nil, err
		}
	}
}

func texts(all []Blocker) (out string) {
	for _, b := range all {
		out += string(b.Reason) + b.Instance + "\n"
	}
	return out
}

// aside is what the operator has said, with the instances that he means.
func (c *Controller) aside() aside { return aside{noInstances: c.NoInstances, forget: c.forget} }

// found makes the first record of a rule that has never been anywhere but at legacy: no target name of it is
// there, and no instance has followed another record.
func (c *Controller) found(ctx context.Context, rule int) error {
	name := c.plan.Rules[rule].Name
	target := c.plan.Names().Pair(rule).Target()
	for _, database := range c.plan.Databases {
		some, err := c.store.AnyName(ctx, database, target.Glob(), target.Match)
		if err != nil {
			return err
		}
		if some {
			return blockedError{recordsBlocker(name, "it has target names and no control record")}
		}
	}
	_, err := c.store.Found(ctx, rand.Text(), map[string]string{name: c.plan.Hash(rule)}, c.Owner)
	return err
}

// noteReached writes down that all instances were seen to have reached a rule's target, if that is not
// written yet.
func (c *Controller) noteReached(ctx context.Context, s *snapshot, rule int) error {
	name := c.plan.Rules[rule].Name
	target := s.targets[name]
	if _, ok := s.reached(c.store.Keys(), name, target); ok {
		return nil
	}
	return c.put(ctx, "reached", c.store.Keys().Sweep(reachedKind, name),
		reachedRecord{Epoch: target.Epoch, Mark: target.Mark, RunID: s.server.runID}, 0)
}

// replicated waits until the connected replicas have all that was written so far: the last step, and what its
// sweeps did. Otherwise a failover would turn it back.
func (c *Controller) replicated(ctx context.Context, rule string) error {
	until := time.Now().Add(c.Patience)
	for {
		have, want, err := c.wait(ctx)
		if err != nil || have >= want {
			return err
		}
		b := Blocker{Reason: Replicas, Passes: true, Text: fmt.Sprintf("%d of %d connected replicas have acknowledged what was written", have, want),
			Try: "wait until they have caught up, or disconnect those that cannot"}
		if !time.Now().Before(until) {
			return blockedError{b}
		}
		c.tell(Event{Kind: Waiting, Rule: rule, Blockers: []Blocker{b}})
		if err := pause(ctx, c.Poll); err != nil {
			return err
		}
	}
}

// wait asks the replicas once. WAIT speaks of the writes of its own connection, so this one writes first: all
// that was answered before, on whatever connection, comes before it.
func (c *Controller) wait(ctx context.Context) (have, want int, err error) {
	conn := c.client.Conn()
	defer conn.Close() // back to the pool; all was answered
	if _, _, err := c.lock.run(ctx, "replicate", renewScript, conn, []string{c.store.Keys().Lock()}, c.Term.Microseconds()); err != nil {
		return 0, 0, err
	}
	info, err := conn.Info(ctx, "replication").Result()
	if err != nil {
		return 0, 0, fmt.Errorf("rekey: ask the server for its replicas: %w", err)
	}
	if want = parseIdentity(info).replicas; want == 0 {
		return 0, 0, nil
	}
	n, err := conn.Do(ctx, "WAIT", want, c.ReplicaTimeout.Milliseconds()).Int()
	if err != nil {
		return 0, 0, fmt.Errorf("rekey: wait for the replicas: %w", err)
	}
	return n, want, nil
}
