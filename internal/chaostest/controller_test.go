package chaostest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// controlOptions are those of an operator in a hurry, who knows that leftovers are leftovers, and that a walk which
// turns round in dual on its way back meets keys without a legacy copy.
func controlOptions() control.Options {
	return control.Options{
		TakeOver: true, Purge: true, Soak: -1, SkipAsked: []phase.Gate{phase.Verified}, Term: 2 * time.Second, Poll: 50 * time.Millisecond, Patience: 10 * time.Second,
	}
}

// runController is a process that walks all rules up and down, again and again.
func runController(j *job, done <-chan struct{}) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { <-done; stop() }()
	p, err := plan.Load(j.Plan)
	if err != nil {
		return err
	}
	log, err := openLog(j.Log)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(j.Seed, 0))
	var written error
	write := func(l line) { written = errors.Join(written, log.write(l)) }
	o := controlOptions()
	o.Owner = j.Name
	o.Progress = func(e control.Event) {
		if e.Kind == control.Stepped {
			write(line{Step: fmt.Sprintf("%s from %s to %s", e.Rule, e.From, e.To)})
		}
	}
	for ctx.Err() == nil {
		if err := walkOnce(ctx, p, o, rng); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, time.Now().Format(time.StampMilli), err)
			write(line{Error: err.Error()})
			time.Sleep(errorPause)
		}
		if written != nil {
			return written
		}
	}
	return nil
}

// walkOnce walks each rule to where it goes next.
func walkOnce(ctx context.Context, p *plan.Plan, o control.Options, rng *rand.Rand) error {
	c, err := control.Open(ctx, p, o)
	if err != nil {
		return err
	}
	targets, err := c.Store().Targets(ctx)
	if err == nil {
		var goals []control.Goal
		for _, r := range p.Rules {
			goals = append(goals, control.Goal{Rule: r.Name, To: goalFrom(rng, r.Strategy, targets[r.Name].Phase)})
		}
		err = c.Walk(ctx, goals)
	}
	return errors.Join(err, c.Close())
}

// goalFrom is the other end of a rule's walk, or anything for one that is on its way.
func goalFrom(rng *rand.Rand, s phase.Strategy, at phase.Phase) phase.Phase {
	switch at {
	case phase.Prefixed:
		return phase.Legacy
	case phase.Legacy, 0:
		return phase.Prefixed
	}
	walk := phase.Walk(s)
	return walk[[]int{0, len(walk) - 1, rng.IntN(len(walk))}[rng.IntN(3)]]
}
