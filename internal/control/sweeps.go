package control

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// endWithin is how long the connections of a sweep may take to be written down, after the sweep has ended.
const endWithin = 5 * time.Second

// sweepRule runs one sweep under the lock. Each of its connections is admitted like an instance's: by a script
// that succeeds only while the lock is held. So whoever takes the lock knows them all and closes them, and a
// sweep that was overtaken moves no key any more: a backfill of before would bring back what was deleted.
func (c *Controller) sweepRule(ctx context.Context, o sweep.Options) (sweep.Result, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return sweep.Result{}, context.Cause(ctx)
	}
	o.Plan, o.Owner = c.plan, c.Owner
	if o.ReplicaTimeout == 0 {
		o.ReplicaTimeout = c.ReplicaTimeout
	}
	var result sweep.Result
	err := c.admitted(ctx, func(client *redis.Client) (err error) {
		o.Client = client
		result, err = sweep.Run(ctx, o)
		return err
	})
	return result, err
}

// admitted gives a sweep a client whose connections are admitted, and closes them on the server if the sweep has broken.
func (c *Controller) admitted(ctx context.Context, run func(*redis.Client) error) error {
	base := *c.client.Options()
	first := base.OnConnect
	var mu sync.Mutex
	var members []string
	base.OnConnect = func(ctx context.Context, cn *redis.Conn) error {
		if first != nil {
			if err := first(ctx, cn); err != nil {
				return err
			}
		}
		member, err := c.enter(ctx, cn)
		mu.Lock()
		defer mu.Unlock()
		if member != "" {
			members = append(members, member)
		}
		return err
	}
	client := redis.NewClient(&base)
	defer func() { _ = client.Close() }() // the sweep has connections of its own with its options
	err := run(client)

	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	mu.Lock()
	defer mu.Unlock()
	if err != nil {
		_ = c.condemn(ending, members) // it is tried again before the next step
		return err
	}
	return c.retire(ending, members)
}

// enter admits a connection of a sweep.
func (c *Controller) enter(ctx context.Context, cn *redis.Conn) (string, error) {
	id, err := cn.ClientID(ctx).Result()
	if err != nil {
		return "", fmt.Errorf("rekey: ask for the id of a sweep's connection: %w", err)
	}
	info, err := cn.Info(ctx, "server").Result()
	if err != nil {
		return "", fmt.Errorf("rekey: ask the server for its run id: %w", err)
	}
	member := parseIdentity(info).runID + ":" + strconv.FormatInt(id, 10)
	keys := c.store.Keys()
	_, _, err = c.lock.run(ctx, "enter", enterScript, c.client, []string{keys.Lock(), keys.Conns(sweepsID)}, member)
	return member, err
}

// retire forgets the connections of a sweep that has read all its replies.
func (c *Controller) retire(ctx context.Context, members []string) error {
	if len(members) == 0 {
		return nil
	}
	keys := c.store.Keys()
	args := make([]any, 0, len(members))
	for _, m := range members {
		args = append(args, m)
	}
	_, _, err := c.lock.run(ctx, "retire", closedScript, c.client, []string{keys.Lock(), keys.Conns(sweepsID)}, args...)
	return err
}

// markOf names a target for a sweep's checkpoint: every step makes another one, and none comes back.
func markOf(t fleet.Target) string { return fmt.Sprintf("%s/%d/%d", t.Epoch, t.Gen, t.Seq) }

// sweepFor is the sweep that proves a gate of the step away from a target that all instances have reached.
func (c *Controller) sweepFor(rule string, target fleet.Target, gate phase.Gate) (sweep.Options, error) {
	kind, err := sweep.ParseKind(gate.Sweep())
	if err != nil {
		return sweep.Options{}, err
	}
	at := target.Phase
	o := sweep.Options{Rule: rule, Kind: kind, Phase: at, Mark: markOf(target), Throttled: true, OnProgress: func(p sweep.Progress) {
		c.tell(Event{Kind: Sweeping, Rule: rule, From: at, Gate: gate.String(), Sweep: &p})
	}}
	o.Overcommit = c.Overcommit && kind == sweep.Backfill
	switch gate {
	case phase.NoTarget:
		o.Execute, o.ClaimSharedLegacy = c.Purge, c.ClaimSharedLegacy
	case phase.NoLegacy:
		// What goes has its target. A walk is asked for as a whole, and this is its end.
		o.Execute, o.RemoveStrays = true, c.RemoveStrays && at == phase.Sealed
	case phase.NoStray:
		// The legacy copies that are left spare the way back the work of making them again.
		o.Execute, o.RemoveStrays = c.RemoveStrays, c.RemoveStrays && at == phase.Sealed
	}
	return o, nil
}

// sweepAlone runs a sweep that an operator has asked for.
func (c *Controller) sweepAlone(ctx context.Context, o sweep.Options) (sweep.Result, error) {
	rule, ok := c.plan.Index(o.Rule)
	if !ok {
		return sweep.Result{}, usage("the plan has no rule %q; rekey status lists those that there are", o.Rule)
	}
	ctx, done := c.under(ctx)
	defer done()
	defer c.only(o.Rule)()
	s, err := c.settle(ctx, rule, settleAll)
	if err == nil {
		err = c.noteReached(ctx, s, rule)
	}
	if err != nil {
		return sweep.Result{}, c.verdictOf(advised(err))
	}
	o.Phase, o.Mark = s.targets[o.Rule].Phase, markOf(s.targets[o.Rule])
	result, err := c.sweepRule(ctx, o)
	return result, c.verdictOf(err)
}

// advised puts what to do behind what holds up a sweep by itself: no walk is there to say it.
func advised(err error) error {
	var by blockedError
	if !errors.As(err, &by) || by[0].Try == "" {
		return err
	}
	try := by[0].Try
	if by[0].Reason == NoInstance { // a sweep has no flag for it
		try = "start the applications, or rekey run --no-instances if it is right that there is none, which sweeps as it goes"
	}
	return fmt.Errorf("%w; %s", err, try)
}

// adopt makes an adoption that an operator has asked for.
func (c *Controller) adopt(ctx context.Context, o sweep.AdoptOptions) (result sweep.AdoptResult, err error) {
	ctx, done := c.under(ctx)
	defer done()
	defer c.only(o.Rule)()
	o.Plan = c.plan
	err = c.admitted(ctx, func(client *redis.Client) (err error) {
		o.Client = client
		result, err = sweep.Adopt(ctx, o)
		return err
	})
	return result, c.verdictOf(err)
}
