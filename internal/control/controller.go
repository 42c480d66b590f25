package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// Controller holds the lock and makes steps. Its methods may be called by several goroutines at once, for
// different rules.
type Controller struct {
	Options
	plan   *plan.Plan
	client *redis.Client
	own    bool // the client is ours to close
	store  *fleet.Store
	lock   *lock
	gate   gateRules

	ctx  context.Context // ends when the lock is lost; its cause says to whom
	stop context.CancelCauseFunc

	slots  chan struct{} // of sweeps
	forget []string      // ids of the instances that the operator has named

	telling sync.Mutex // one event after the other
	burying sync.Mutex // one burial at a time; it guards late too
	late    []string   // connections of broken sweeps that are not written down yet

	looking sync.Mutex // one snapshot at a time; it guards what follows
	last    *snapshot
	seen    map[string]fleet.Target

	working sync.Mutex
	rules   map[string]*sync.Mutex // one method at a time for each rule

	closing sync.Once
	closed  error
}

// Open takes the lock. The error is a *[LockedError] where somebody else has it. Close gives it up.
func Open(ctx context.Context, p *plan.Plan, o Options) (*Controller, error) {
	o = o.withDefaults()
	if o.Owner == "" {
		o.Owner = owner()
	}
	c := &Controller{
		Options: o, plan: p, client: o.Client, slots: make(chan struct{}, o.Parallel),
		seen: make(map[string]fleet.Target), rules: make(map[string]*sync.Mutex),
	}
	if c.client == nil {
		server, err := fleet.Options(p.Server)
		if err != nil {
			return nil, err
		}
		c.client, c.own = fleet.Client(server, p.Databases[0]), true
	}
	c.store = fleet.NewStore(p, c.client)
	c.gate = o.gateRules(p, c.store.Keys())
	c.ctx, c.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	var err error
	if c.lock, err = acquire(ctx, c.store, o, func(err error) { c.stop(err) }); err != nil {
		c.stop(err)
		c.closeClient()
		return nil, err
	}
	if err := c.begin(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// begin closes what a controller of before may have left under way.
func (c *Controller) begin(ctx context.Context) error {
	if err := c.resolveForgotten(ctx); err != nil {
		return err
	}
	c.burying.Lock()
	defer c.burying.Unlock()
	return c.closeUnburied(ctx)
}

func owner() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s@%s (pid %d)", name, host, os.Getpid())
}

func (c *Controller) closeClient() {
	if c.own {
		_ = c.client.Close() // nothing is buffered
	}
}

// Close gives the lock up. Methods that are under way must have returned.
func (c *Controller) Close() error {
	c.closing.Do(func() {
		c.stop(context.Canceled)
		c.closed = c.lock.end(true)
		c.closeClient()
	})
	return c.closed
}

// Holder is this controller as others see it in the lock.
func (c *Controller) Holder() Holder { return c.lock.holder }

// Store is the control records' store.
func (c *Controller) Store() *fleet.Store { return c.store }

// Advance makes one step forward with each of some rules (none: all), to a phase (0: the next of the walk).
func (c *Controller) Advance(ctx context.Context, rules []string, to phase.Phase) error {
	goals, err := Forward(c.plan, rules, to)
	if err != nil {
		return err
	}
	for i := range goals {
		goals[i].Steps = 1
	}
	return c.Walk(ctx, goals)
}

// Run takes some rules (none: all) forward until a phase (0: prefixed).
func (c *Controller) Run(ctx context.Context, rules []string, until phase.Phase) error {
	goals, err := Forward(c.plan, rules, until)
	if err != nil {
		return err
	}
	return c.Walk(ctx, goals)
}

// Rollback takes some rules (none: all) back to a phase (0: legacy).
func (c *Controller) Rollback(ctx context.Context, rules []string, to phase.Phase) error {
	goals, err := Backward(c.plan, rules, to)
	if err != nil {
		return err
	}
	return c.Walk(ctx, goals)
}

// Walk takes each rule to its goal, all at once. A rule that is held up does not hold up the others; what
// held rules up is one *[HeldError] in the end.
func (c *Controller) Walk(ctx context.Context, goals []Goal) error {
	return c.walk(ctx, goals)
}

// Sweep runs one sweep outside a walk while the lock is held, so that no step is made beside it. Its Client,
// Plan and Phase are filled in; the error is a *[HeldError] where the fleet has not reached one phase.
func (c *Controller) Sweep(ctx context.Context, o sweep.Options) (sweep.Result, error) {
	return c.sweepAlone(ctx, o)
}

// Adopt makes an adoption while the lock is held, so that nobody walks the rule, or adopts it with other words, beside it.
// Its Client and Plan are filled in. Whose processes are stopped, and what the records say of the rule, is the caller's to ask.
func (c *Controller) Adopt(ctx context.Context, o sweep.AdoptOptions) (sweep.AdoptResult, error) {
	return c.adopt(ctx, o)
}

// RestorePhase writes a rule's target anew where its record is gone or was turned back: phase is where the
// operator knows the fleet to be.
func (c *Controller) RestorePhase(ctx context.Context, rule string, at phase.Phase) error {
	return c.restore(ctx, rule, at)
}
