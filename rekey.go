package rekey

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// Rekey is one instance: a process that reads and writes keys through a plan. It is safe for
// concurrent use.
type Rekey struct {
	plan   *plan.Plan
	rules  *intercept.Rules
	log    *slog.Logger
	lookup func(string) (string, bool)
	gated  []ruleGate
	conns  conns

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	changing sync.Mutex // held by the one change of phases at a time

	mu     sync.Mutex
	wanted []phase.Phase
}

// ruleGate counts what flags asked of a rule before its gate was proven.
type ruleGate struct{ held, ungated atomic.Uint64 }

// Open makes an instance that follows the plan, with its phases from exactly one of [WithPhases],
// [WithFlags] and [WithSource]. The instance opens no connection by itself. Close it when the
// clients that use its dialers are closed.
func Open(ctx context.Context, p *plan.Plan, opts ...Option) (*Rekey, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if o.sources != 1 {
		return nil, ErrOptions
	}
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	names := p.Names()
	r := &Rekey{
		plan: p, log: o.logger, lookup: o.flags,
		rules:  &intercept.Rules{Set: names, Databases: p.Databases, Evicts: p.Server.Evicts, Stats: intercept.NewStats(names.Len())},
		gated:  make([]ruleGate, names.Len()),
		wanted: slices.Repeat([]phase.Phase{phase.Legacy}, names.Len()),
	}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := r.start(ctx, &o); err != nil {
		r.cancel()
		return nil, err
	}
	return r, nil
}

// start takes the first phases and follows the source of later ones.
func (r *Rekey) start(ctx context.Context, o *options) error {
	var first map[string]phase.Phase
	var changed <-chan struct{}
	var err error
	switch {
	case o.pinned != nil:
		first = o.pinned
	case o.flags != nil:
		first, err = r.flagPhases()
	case o.source != nil:
		first, changed, err = o.source.Phases(ctx)
	default:
		return ErrOptions // a nil source, or no lookup
	}
	if err != nil {
		return prefixed(err)
	}
	phases, err := r.check(first)
	if err != nil {
		return err
	}
	r.wanted = phases
	r.rules.SetTable(&intercept.Table{Version: 1, Phases: phases})
	if changed != nil {
		r.work.Go(func() { r.follow(o.source, changed) })
	}
	return nil
}

// prefixed makes an error of another package one of rekey's.
func prefixed(err error) error {
	if s := err.Error(); len(s) >= 6 && s[:6] == "rekey:" {
		return err
	}
	return fmt.Errorf("rekey: %w", err)
}

// check turns phases by name into phases by rule.
func (r *Rekey) check(phases map[string]phase.Phase) ([]phase.Phase, error) {
	out := slices.Repeat([]phase.Phase{phase.Legacy}, len(r.plan.Rules))
	for name, p := range phases {
		i, ok := r.plan.Index(name)
		if !ok {
			return nil, &PhaseError{Rule: name, Phase: p, Reason: "the plan has no such rule"}
		}
		if s := r.plan.Rules[i].Strategy; !s.Has(p) {
			return nil, &PhaseError{Rule: name, Phase: p, Reason: fmt.Sprintf("strategy %s has no such phase", s)}
		}
		out[i] = p
	}
	return out, nil
}

// follow obeys a source until it ends or the instance is closed.
func (r *Rekey) follow(source Source, changed <-chan struct{}) {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-changed:
		}
		phases, next, err := source.Phases(r.ctx)
		if err == nil {
			err = r.change(r.ctx, phases)
		}
		if err != nil && r.ctx.Err() == nil {
			r.log.Error("phases are followed no longer", "error", err)
		}
		if err != nil {
			return
		}
		changed = next
	}
}

// change takes the instance to other phases. Two phases of one rule that may not stand side by side
// are not so inside an instance either: a longer way is walked step by step, each begun when no
// command of the one before it is under way.
func (r *Rekey) change(ctx context.Context, phases map[string]phase.Phase) error {
	goal, err := r.check(phases)
	if err != nil {
		return err
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	r.mu.Lock()
	r.wanted = goal
	r.mu.Unlock()
	for {
		now := r.rules.Table()
		next := slices.Clone(now.Phases)
		for i := range next {
			s := r.plan.Rules[i].Strategy
			if phase.Beside(s, next[i], goal[i]) {
				next[i] = goal[i]
			} else if p, ok := phase.Next(s, next[i], goal[i]); ok {
				next[i] = p
			}
		}
		if slices.Equal(next, now.Phases) {
			return nil
		}
		if err := r.WaitReached(ctx); err != nil {
			return err
		}
		r.set(&intercept.Table{Version: now.Version + 1, Phases: next})
	}
}

// set replaces the table and tells the open connections.
func (r *Rekey) set(t *intercept.Table) {
	r.rules.SetTable(t)
	for conn, open := range r.conns.all() {
		id, waiting := conn.PhasesChanged()
		if !waiting {
			continue
		}
		_, login := conn.Identity()
		r.work.Go(func() {
			if err := unblock(r.ctx, open, login, id); err != nil && r.ctx.Err() == nil {
				r.log.Warn("a blocking command of an earlier phase goes on until its own end", "error", err)
			}
		})
	}
}

// Phases returns what the instance does with each rule's keys now, by the rule's name. Commands of
// an earlier phase may still be under way; see [Rekey.WaitReached].
func (r *Rekey) Phases() map[string]phase.Phase {
	table := r.rules.Table()
	out := make(map[string]phase.Phase, len(r.plan.Rules))
	for i, rule := range r.plan.Rules {
		out[rule.Name] = table.Phase(i)
	}
	return out
}

// How long WaitReached waits between two looks at the connections, and after a server has not let a
// closed connection be cut off.
const (
	reachPause = 2 * time.Millisecond
	cutPause   = 250 * time.Millisecond
)

// WaitReached waits until no command that was sent under earlier phases is under way: its reply has
// come, its MULTI or WATCH has ended. A connection that was closed with replies outstanding counts
// until the server has answered that it is gone (CLIENT KILL). When ctx ends first it returns a
// *[ReachError].
func (r *Rekey) WaitReached(ctx context.Context) error {
	version := r.rules.Table().Version
	var cutErr error
	for {
		pause := reachPause
		live, stray := r.conns.behind(version)
		for _, s := range stray {
			if err := s.cutOff(ctx); err != nil {
				cutErr, pause = err, cutPause
				continue
			}
			r.conns.forget(s)
		}
		if live == 0 && len(stray) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return &ReachError{Conns: live, Closed: len(stray), Err: firstOf(cutErr, ctx.Err())}
		case <-r.ctx.Done():
			return ErrClosed
		case <-time.After(pause):
		}
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Close closes the connections of the instance's dialers and waits for its goroutines. It may be
// called more than once.
func (r *Rekey) Close() error {
	r.cancel()
	r.conns.shut()
	r.work.Wait()
	return nil
}
