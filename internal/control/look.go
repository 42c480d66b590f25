package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/classwaves/rekey/internal/fleet"
)

// look gives a snapshot that was begun after a time. Rules that wait at once share one.
func (c *Controller) look(ctx context.Context, notBefore time.Time) (*snapshot, error) {
	c.looking.Lock()
	defer c.looking.Unlock()
	if c.last != nil && !c.last.read.Before(notBefore) {
		return c.last, nil
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	s, err := takeSnapshot(ctx, c.store, c.plan)
	if err != nil {
		return nil, err
	}
	if err := c.notBehind(s); err != nil {
		return nil, err
	}
	s.met = c.last != nil && c.last.met || len(s.instances)+len(s.broken) > 0
	c.last = s
	return s, nil
}

// notBehind refuses records that are older than what this controller has seen itself, which it alone knows
// where there is no instance.
func (c *Controller) notBehind(s *snapshot) error {
	for rule, before := range c.seen {
		now, ok := s.targets[rule]
		if s.badTargets[rule] == nil && (!ok || now.Epoch != before.Epoch || now.Mark.Compare(before.Mark) < 0) {
			return fmt.Errorf("rule %s: %w", rule, fleet.ErrRestore)
		}
	}
	for rule, t := range s.targets {
		if _, ok := c.plan.Index(rule); ok {
			c.seen[rule] = t
		}
	}
	return nil
}

// pace is how long what is waited for may go unseen. What instances say at once, because a change has woken them, is looked for
// at once; what they say later they say when they renew. So a wait takes a quarter longer at most, and no more than half a
// renewal, and a large fleet's records are not read again and again for nothing.
func (c *Controller) pace(waited time.Duration) time.Duration {
	return min(max(c.Poll, waited/4), max(c.Poll, c.plan.Fleet.Renew/2))
}

// rest waits until the records are to be read again: for the pace, or until an instance has come or gone. It gives how old a
// snapshot may be then: rules that wait at once share one.
func (c *Controller) rest(ctx context.Context, s *snapshot, pace time.Duration) (notBefore time.Time, err error) {
	known := s.ids()
	slices.Sort(known)
	for until := time.Now().Add(pace); ; {
		left := time.Until(until)
		if err := pause(ctx, min(left, c.Poll)); err != nil {
			return time.Time{}, err
		}
		if left <= c.Poll {
			return time.Now().Add(-pace / 2), nil
		}
		ids, err := c.client.HKeys(ctx, c.store.Keys().Fleet()).Result()
		if slices.Sort(ids); err != nil || !slices.Equal(ids, known) {
			return time.Now(), nil // the look that follows meets the error again
		}
	}
}

// pause waits for a while, or until the context is done.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// tell reports an event.
func (c *Controller) tell(e Event) {
	e.At = time.Now()
	c.telling.Lock()
	defer c.telling.Unlock()
	c.Progress(e)
}
