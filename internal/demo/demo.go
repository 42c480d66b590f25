package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/classwaves/rekey/plan"
)

// demo is one run.
type demo struct {
	Options
	server    *server
	plan      *plan.Plan
	keys      *keyspace
	instances []instance
	checkers  []*session // for reading the whole keyspace, one an instance
	workers   []*session
	counts    counts
	moved     int64 // by sweeps
	part      float64
}

// ErrDiverged is a write that was replayed on both names and answered differently. It must never
// happen.
var ErrDiverged = errors.New("rekey: demo: replayed writes were answered differently")

// Run runs a demo. The report is complete as far as the demo came, also beside an error: of the
// server, of the context when it was interrupted, or of a gate that did not hold. Violations are no
// error: [Report.Violated] tells.
func Run(ctx context.Context, o Options) (Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Report{}, err
	}
	d := &demo{Options: o}
	if d.server, err = openServer(ctx, o); err != nil {
		return Report{}, err
	}
	defer d.server.close()
	// The embedded server does not say whether it evicts. It does not.
	var evicts *bool
	if d.server.embedded != nil {
		evicts = new(bool)
	}
	if d.plan, err = rulePlan(o, d.server.base.DB, evicts); err != nil {
		return Report{}, err
	}
	d.keys = newKeyspace(o.KeysPrefix, o.Keys)
	err = d.open(ctx)
	if err == nil {
		err = d.run(ctx)
	}
	report := d.report()
	err = errors.Join(err, d.close())
	return report, errors.Join(err, d.server.remove(ctx, o.KeysPrefix, d.plan))
}

// open starts the instances and fills the keyspace.
func (d *demo) open(ctx context.Context) error {
	d.counts.begin = time.Now()
	for i := range d.Instances {
		one, err := d.instance(ctx, i)
		if err != nil {
			return d.server.unreachable(err)
		}
		d.instances = append(d.instances, one)
		session := func() *session {
			number := uint64(len(d.checkers) + len(d.workers))
			return newSession(one, rand.New(rand.NewPCG(d.Seed, number)), &d.counts, &d.server.clock)
		}
		d.checkers = append(d.checkers, session())
		for range workersPerInstance {
			d.workers = append(d.workers, session())
		}
	}
	if err := d.keys.fill(ctx, d.checkers); err != nil {
		return d.gone(ctx, err)
	}
	return nil
}

func (d *demo) instance(ctx context.Context, i int) (instance, error) {
	if d.Naive {
		return openNaive(i, d.Options, d.server, d.plan.Names())
	}
	return openRekeyed(ctx, i, d.Options, d.server, d.plan)
}

// run walks under traffic, then reads everything once more.
func (d *demo) run(ctx context.Context) error {
	d.counts.begin = time.Now()
	d.Observer.Started(d.setup())
	// A worker that fails ends the walk, and an end of the walk ends the workers.
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var workers sync.WaitGroup
	for _, s := range d.workers {
		workers.Go(func() {
			if err := s.work(working, d.keys); err != nil {
				stop(d.gone(ctx, err))
			}
		})
	}
	err := d.walk(working)
	stop(nil)
	workers.Wait()
	// What a worker met is the cause of what the walk met.
	if cause := context.Cause(working); err != nil && ctx.Err() == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if err == nil {
		err = d.check(ctx, "at the end")
	}
	d.tick(d.part)
	if err == nil {
		err = d.compared()
	}
	return err
}

// compared fails when rekey itself has seen a difference.
func (d *demo) compared() error {
	var divergences, refused int64
	for _, i := range d.instances {
		s := i.stats()
		divergences, refused = divergences+s.divergences, refused+s.refused
	}
	switch {
	case divergences > 0:
		return fmt.Errorf("%w: %d times", ErrDiverged, divergences)
	case refused > 0:
		return fmt.Errorf("rekey: demo: %d commands were refused, and the demo sends none that may be", refused)
	default:
		return nil
	}
}

// gone is an error of the traffic: the server does not answer any more, or not as it should.
func (d *demo) gone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("rekey: demo: the server (%s) failed after %d operations: %w", d.server, d.counts.ops.Load(), err)
}

func (d *demo) close() error {
	var err error
	for _, i := range d.instances {
		err = errors.Join(err, i.close())
	}
	return err
}

// setup is what the observer is told at the beginning.
func (d *demo) setup() Setup {
	s := Setup{
		Server: d.server.String(), Strategy: d.strategy(), Kinds: len(kinds), Keys: d.keys.keys,
		Seconds: d.Duration.Seconds(), Seed: d.Seed,
	}
	for i, one := range d.instances {
		s.Instances = append(s.Instances, one.name())
		s.Libraries = append(s.Libraries, library(i))
	}
	for _, at := range d.way() {
		s.Phases = append(s.Phases, at.of(d.Strategy).String())
	}
	return s
}

// strategy is how the keys move, in a word.
func (d *demo) strategy() string {
	if d.Naive {
		return "naive"
	}
	return d.Strategy.String()
}
