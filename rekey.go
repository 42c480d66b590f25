package rekey

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/fleet"
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

	evidence *fleet.Evidence // nil where phases do not come from flags, or the plan names no server

	obeying  chan struct{} // a lock with room for the one who obeys flags, see lockFlags; it guards what follows
	waiting  bool          // held rules are looked after
	recorded []phase.Phase // as the fleet's records tell of this process; 0 where they do not
	unseen   []bool        // rules of whose verdicts nothing could be read since the process started

	unrecorded bool // something could not be recorded the last time, and that was said

	agent *fleet.Agent // nil without a fleet

	observer *fleet.Observer // tells the fleet of a process that obeys flags; nil as evidence is

	changing sync.Mutex // held by the one change of phases at a time
	tables   sync.Mutex // held while the table is read to be replaced

	mu         sync.Mutex
	wanted     []phase.Phase
	news       <-chan struct{} // closed when the source has told something that is not obeyed yet; nil without one
	unfollowed error           // why the source is followed no longer
}

// ruleGate counts what flags asked of a rule before its gate was proven.
type ruleGate struct {
	held, ungated atomic.Uint64
	said          atomic.Uint32 // the stop and the goal of which the operator was told
}

// Open makes an instance that follows the plan, with its phases from exactly one of [WithPhases],
// [WithFlags], [WithSource] and [WithFleet]. With flags and with a fleet it has connections of its own to the plan's
// server, for the fleet's records; without them it opens none by itself. ctx is for Open alone: its end later does
// not end the instance. Close it when the clients that use its dialers are closed.
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
		rules: &intercept.Rules{
			Set: names, Databases: p.Databases, Evicts: p.Server.Evicts, Sentinels: len(p.Server.Sentinel) > 0,
			Stats: intercept.NewStats(names.Len()),
		},
		gated:  make([]ruleGate, names.Len()),
		wanted: slices.Repeat([]phase.Phase{phase.Legacy}, names.Len()), recorded: make([]phase.Phase, names.Len()),
		unseen:  make([]bool, names.Len()),
		obeying: make(chan struct{}, 1),
	}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.conns.crowded = func() { r.work.Go(r.clearStray) }
	if err := r.start(ctx, &o); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// start takes the first phases and follows the source of later ones.
func (r *Rekey) start(ctx context.Context, o *options) error {
	var first []phase.Phase
	var changed <-chan struct{}
	var held bool
	var err error
	switch {
	case o.pinned != nil:
		first, err = r.check(o.pinned)
		r.wanted = first
	case o.flags != nil:
		if r.evidence, err = fleet.OpenEvidence(r.plan); err != nil && !errors.Is(err, fleet.ErrNoServer) {
			return &RecordsError{err}
		}
		first, held, err = r.firstFlags(ctx)
	case o.fleet != nil:
		first, err = r.joinFleet(ctx, o.fleet)
	case o.source != nil:
		var named map[string]phase.Phase
		if named, changed, err = o.source.Phases(ctx); err == nil {
			first, err = r.check(named)
			r.wanted, r.news = first, changed
		}
	default:
		return ErrOptions // a nil source, or no lookup
	}
	if err != nil {
		return prefixed(err)
	}
	r.rules.SetTable(&intercept.Table{Version: 1, Phases: first})
	if r.agent != nil {
		r.agent.Start()
	}
	if r.evidence != nil {
		if err := r.showObserver(); err != nil {
			return err
		}
	}
	if held {
		r.startWaiting()
	}
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
		var goal []phase.Phase
		if err == nil {
			goal, err = r.check(phases)
		}
		if err == nil {
			err = r.changeTo(r.ctx, goal, goal)
		}
		if r.ctx.Err() != nil {
			return
		}
		r.mu.Lock()
		r.news, r.unfollowed = next, err
		r.mu.Unlock()
		if err != nil {
			r.log.Error("phases are followed no longer", "error", err)
			return
		}
		changed = next
	}
}

// changeTo takes the instance to other phases; wanted is what its source asked for. Two phases of one
// rule that may not stand side by side are not so inside an instance either: a longer way is walked
// step by step, each begun when no command of the one before it is under way.
func (r *Rekey) changeTo(ctx context.Context, goal, wanted []phase.Phase) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	r.mu.Lock()
	r.wanted = wanted
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
		if err := r.waitReached(ctx); err != nil {
			return err
		}
		r.set(next)
	}
}

// set replaces the phases and tells the open connections.
func (r *Rekey) set(phases []phase.Phase) {
	r.tables.Lock()
	now := r.rules.Table()
	t := &intercept.Table{Version: now.Version + 1, Phases: phases, Closed: now.Closed}
	r.rules.SetTable(t)
	r.tables.Unlock()
	for conn, open := range r.conns.all() {
		r.forget(conn)
		r.work.Go(func() {
			r.interrupt(conn, open)
			r.forgetLate(conn, t.Version)
		})
	}
}

// forget tells the client whose cache a connection fills to empty it.
func (r *Rekey) forget(conn *intercept.Conn) {
	redirect := conn.PhasesChanged()
	if redirect == 0 {
		return
	}
	for other := range r.conns.all() {
		if id, _ := other.Identity(); id == redirect {
			other.Forget()
		}
	}
}

// forgetLate does so once more when the connection's last command of an earlier phase was answered:
// its reply may have gone into the cache after that was emptied.
func (r *Rekey) forgetLate(conn *intercept.Conn, version uint64) {
	late := false
	for r.conns.has(conn) && conn.Oldest() < version {
		late = true
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(reachPause):
		}
	}
	if late {
		r.forget(conn)
	}
}

// interrupt ends a blocking command that waits on the server under phases of before, so that it
// goes on under those of now. The command may still be on its way: then the server has nothing to
// end yet and is asked again.
func (r *Rekey) interrupt(conn *intercept.Conn, open opener) {
	for {
		id, waiting := conn.Interrupt()
		if !waiting {
			return
		}
		_, login := conn.Identity()
		ended, err := unblock(r.ctx, open, login, id, "TIMEOUT")
		conn.Interrupted(ended || err != nil)
		if err != nil && r.ctx.Err() == nil {
			r.log.Warn("a blocking command of an earlier phase goes on until its own end", "error", err)
		}
		if ended || err != nil {
			return
		}
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(reachPause):
		}
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

// WaitReached waits until the instance has followed what its [Source] has told, and no command that was sent under earlier
// phases is under way: its reply has come, its MULTI or WATCH has ended. A connection that was closed with replies
// outstanding counts until the server has answered that it is gone (CLIENT KILL). When ctx ends first it returns a
// *[ReachError], and [ErrNotFollowed] where the source is followed no longer.
func (r *Rekey) WaitReached(ctx context.Context) error {
	for {
		r.mu.Lock()
		news, unfollowed := r.news, r.unfollowed
		r.mu.Unlock()
		if unfollowed != nil {
			return fmt.Errorf("%w: %w", ErrNotFollowed, unfollowed)
		}
		select {
		case <-news:
		default:
			return r.waitReached(ctx)
		}
		select {
		case <-ctx.Done():
			live, stray := r.conns.behind(r.rules.Table().Version)
			return &ReachError{Conns: live, Closed: len(stray), Err: ctx.Err()}
		case <-r.ctx.Done():
			return ErrClosed
		case <-time.After(reachPause):
		}
	}
}

// waitReached waits until nothing of earlier phases is under way.
func (r *Rekey) waitReached(ctx context.Context) error {
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

// clearStray cuts closed connections off that nobody has waited for yet.
func (r *Rekey) clearStray() {
	_, stray := r.conns.behind(intercept.Never)
	var stuck []*strayConn
	for _, s := range stray {
		switch err := s.cutOff(r.ctx); {
		case err == nil:
			r.conns.forget(s)
			continue
		case lasting(err):
			stuck = append(stuck, s)
			continue
		}
		break // the server is away: who waits for these connections, or the next one that is closed, tries again
	}
	r.conns.settled(stuck)
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
	left := r.leaveFleet()
	r.cancel()
	r.conns.shut()
	r.work.Wait()
	if r.observer != nil {
		left = errors.Join(left, r.observer.Close())
	}
	if r.evidence == nil {
		return left
	}
	if err := r.evidence.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
		return errors.Join(left, fmt.Errorf("rekey: close: %w", err))
	}
	return left
}
