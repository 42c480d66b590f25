package sweep

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/phase"
)

// grace is how long the page at work may go on after the context is done.
const grace = 2 * time.Second

// run is one sweep under way.
type run struct {
	Options
	names    *keyname.Set
	rule     int
	strategy phase.Strategy

	token   string // in the record, over all attempts
	attempt int    // from 1
	leased  bool   // the attempt before had the lease: this one is fenced off where it is another's
	lease   *lease // nil: the server is full and keeps no record
	// unrecorded are the connections of the attempts that have ended without a lease: no record names them.
	unrecorded []int64
	sampler    *sampler
	at         checkpoint
	strays     int64 // legacy keys without a target that cleanup left
	left       bool  // a checkpoint was left to go on from

	awaiting time.Time // since when the server is waited for
	lastPage time.Time

	met  map[string]struct{} // names of the page at hand
	name []byte              // one of them

	result   Result
	reported map[reportedKey]struct{}
	progress Progress

	waits   waits      // of all connections but the sampler's
	telling sync.Mutex // guards what follows, and has one told after the other
	told    Progress   // last
}

// job is what a kind of sweep does: its walks over each database, and what they have proven when all are done.
type job interface {
	passes() []pass
	// prove says whether a gate holds, and if not, why and what to do.
	prove(g phase.Gate) (holds bool, reason string)
}

// Run makes one sweep over a rule's keys in every database of the plan. It refuses with a *[PhaseError] what is not safe
// in the phase given, and with a *[LeaseError] what somebody else does already. When the context is done it finishes the
// page at work and returns the context's error; the result says what was done, and the sweep goes on when it is started
// again (see [checkpoint] for when it may).
func Run(ctx context.Context, o Options) (Result, error) {
	r, err := prepare(o)
	if err != nil {
		return Result{}, err
	}
	defer r.watchSilence()()
	for {
		r.attempt++
		err = r.try(ctx)
		if err == nil || ctx.Err() != nil || r.Patience == 0 || r.lastPage.IsZero() || !passes(err) {
			break
		}
		if late := r.await(ctx, err); late != nil {
			if code(late) != "" {
				err = serverError("EXISTS", late) // what the server says by now is nearer to the cause than that it was silent
			}
			break // else err says why
		}
	}
	if ctx.Err() != nil && err != nil {
		err = &StoppedError{Kind: r.Kind, Rule: r.Rule, Matched: r.result.Matched, Changed: r.result.Changed, GoesOn: r.left, Err: context.Cause(ctx)}
	}
	return r.result, err
}

// try is one attempt at the sweep, on connections of its own.
func (r *run) try(ctx context.Context) error {
	held := newLease(controlKey(r.Plan, r.Kind, r.Rule), r.token, r.Owner)
	r.lease, r.left = held, false
	var links []*link
	for _, database := range r.Plan.Databases {
		links = append(links, newLink(r.Client, database, func(ctx context.Context, conn *redis.Conn) error {
			return held.enter(ctx, conn, database)
		}).watched(&r.waits))
	}
	closeAll := func() (err error) {
		for _, l := range links {
			err = errors.Join(err, l.close())
		}
		return err
	}
	work := context.WithoutCancel(ctx)
	over := lateStop(ctx, closeAll)
	err := r.sweep(ctx, work, links)
	r.sampler.end()
	r.sampler = nil
	held.end()
	if err != nil && held.isTaken() {
		// Without an answer something may be under way still; who goes on closes the connection.
		clean := !silent(err)
		if !clean { // nor may the record get one, for as long as the page had none
			defer time.AfterFunc(grace, func() { _ = closeAll() }).Stop()
		}
		left := held.release(work, clean)
		r.left = left == nil && r.result.Verdict.RunID != ""
	}
	if r.lease == nil {
		r.unrecorded = append(r.unrecorded, held.conns()...)
	}
	over()
	_ = closeAll() // nothing is buffered; after a late stop they are closed already
	return err
}

// lateStop closes the connections if the page at work has not ended a while after the context was done, as on a server
// that hangs. The function that it returns ends the watch.
func lateStop(ctx context.Context, closeAll func() error) (over func()) {
	ended, exited := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(exited)
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-ended:
		case <-timer.C:
			_ = closeAll() // the commands under way get the error
		}
	}()
	return func() { close(ended); <-exited }
}

// prepare checks the options against the plan and the phases.
func prepare(o Options) (*run, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	rule, ok := o.Plan.Index(o.Rule)
	if !ok {
		return nil, fmt.Errorf("%w: the plan has no rule %q", ErrOptions, o.Rule)
	}
	r := &run{
		Options: o, token: rand.Text(), names: o.Plan.Names(), rule: rule, strategy: o.Plan.Rules[rule].Strategy,
		met: make(map[string]struct{}), reported: make(map[reportedKey]struct{}),
	}
	refuse := func(job string, want []phase.Phase) error {
		return &PhaseError{Job: job, Rule: o.Rule, Strategy: r.strategy, Phase: o.Phase, Want: want}
	}
	switch want := o.Kind.Phases(r.strategy); {
	case !slices.Contains(want, o.Phase):
		return nil, refuse(o.Kind.String(), want)
	case o.Repair && !slices.Contains(repairPhases[r.strategy], o.Phase):
		return nil, refuse("verify --repair", repairPhases[r.strategy])
	case o.RemoveStrays && o.Phase != phase.Sealed:
		// In drain a legacy key without a target is the only copy there is.
		return nil, refuse("cleanup of strays", []phase.Phase{phase.Sealed})
	}
	r.result.Problems = make(map[Class]int64)
	r.progress = Progress{Kind: o.Kind, Rule: o.Rule}
	r.told = r.progress
	return r, nil
}

// job makes the job of the run's kind.
func (r *run) job() job {
	switch r.Kind {
	case Purge:
		return &purge{run: r}
	case Backfill:
		return &backfill{run: r}
	case Verify:
		return newVerify(r)
	case Reverse:
		return newReverse(r)
	case Cleanup:
		if r.Undo {
			return newUndo(r)
		}
		return &cleanup{run: r}
	case Relocate:
		return &relocate{r}
	default:
		panic("sweep: " + r.Kind.String()) // withDefaults has refused it
	}
}

// sweep is the whole of an attempt: the old verdict goes, every database is walked, the new verdict is stored.
func (r *run) sweep(ctx, work context.Context, links []*link) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	control := links[0] // the control keys live in the plan's first database
	if err := r.begin(ctx, control); err != nil {
		return err
	}
	if r.lease != nil {
		r.lease.keep(work)
	}
	j := r.job()
	if p, ok := j.(interface {
		prepare(ctx context.Context, l *link) error
	}); ok {
		if err := p.prepare(work, control); err != nil {
			return err
		}
	}
	if p, ok := j.(interface {
		look(ctx context.Context, links []*link) error
	}); ok {
		if err := p.look(work, links); err != nil {
			return err
		}
	}
	if err := r.sample(ctx, links); err != nil {
		return err
	}
	passes := j.passes()
	r.progress.Passes = len(passes) * len(links)
	for walk := r.at.Walk; walk < r.progress.Passes; walk++ {
		l, p := links[walk/len(passes)], passes[walk%len(passes)]
		keys, err := l.client.DBSize(work).Result()
		if err != nil {
			return serverError("DBSIZE", err)
		}
		r.progress.Database, r.progress.Visited, r.progress.Keys = l.database, min(r.at.Visited, keys), keys
		r.progress.Pass = walk + 1
		if err := r.walk(ctx, work, l, p, r.at.Cursor); err != nil {
			return err
		}
		r.reached(walk+1, 0, 0)
	}
	if p, ok := j.(interface {
		ended(ctx context.Context, control *link) error
	}); ok {
		if err := p.ended(work, control); err != nil {
			return err
		}
	}
	for _, g := range r.Kind.Gates(r.strategy, r.Phase) {
		holds, reason := j.prove(g)
		r.result.Verdict.Gates = append(r.result.Verdict.Gates, GateVerdict{Gate: g, Holds: holds, Reason: reason})
	}
	return r.finish(work, control)
}

// sample begins to look at the server and at the knobs.
func (r *run) sample(ctx context.Context, links []*link) (err error) {
	var total int64
	for _, l := range links {
		n, err := l.client.DBSize(ctx).Result()
		if err != nil {
			return serverError("DBSIZE", err)
		}
		total += n
	}
	r.sampler, err = r.newSampler(ctx, links[0], total)
	return err
}

// held notes why the sweep is about to sleep, or that it is not.
func (r *run) held(class, text string, sleeps time.Duration) {
	r.progress.Reason = text
	if sleeps == 0 || class == "" {
		return
	}
	if r.result.Held == nil {
		r.result.Held = make(map[string]time.Duration)
	}
	r.result.Held[class] += sleeps
	if sleeps >= pausedPoll {
		r.report()
	}
}

// reached notes how far the sweep is: all before this was worked on, and the server has answered all of it.
func (r *run) reached(walk int, cursor uint64, visited int64) {
	r.at.Walk, r.at.Cursor, r.at.Visited = walk, cursor, visited
	r.lastPage = time.Now()
	r.at.tally = tally{r.result.Counts, r.result.Problems, r.strays}.clone()
	if r.lease != nil {
		r.lease.save(r.at)
	}
}

// reportedKey is a problem that was counted, so that a name which SCAN gives twice is counted once.
type reportedKey struct {
	class    Class
	database int
	legacy   string
}

// maxReported bounds the memory for that; beyond it a name may be counted twice, which changes no verdict.
const maxReported = 10_000

// found counts a problem and keeps it if there is room. It is false for one that was counted before.
func (r *run) found(class Class, l *link, k key, detail string) bool {
	k.legacy, k.target = strings.Clone(k.legacy), strings.Clone(k.target) // not the whole page with them
	id := reportedKey{class, l.database, k.legacy}
	if _, ok := r.reported[id]; ok {
		return false
	}
	if len(r.reported) < maxReported {
		r.reported[id] = struct{}{}
	}
	r.result.Problems[class]++
	p := Problem{Class: class, Database: l.database, Legacy: k.legacy, Target: k.target, Detail: detail}
	if len(r.result.Examples) < r.Examples && !slices.Contains(r.result.Examples, p) { // it may be a page that is done again
		r.result.Examples = append(r.result.Examples, p)
	}
	return true
}

// note keeps a sentence for the operator, once.
func (r *run) note(text string) {
	if !slices.Contains(r.result.Notes, text) {
		r.result.Notes = append(r.result.Notes, text)
	}
}

func (r *run) report() {
	p := r.progress
	p.Counts, p.Problems = r.result.Counts, r.result.Found()
	r.tell(func(told *Progress) { *told = p })
}

// tell gives the operator what was told last, with a change.
func (r *run) tell(change func(*Progress)) {
	if r.OnProgress == nil {
		return
	}
	r.telling.Lock()
	defer r.telling.Unlock()
	change(&r.told)
	r.OnProgress(r.told)
}

// start sends one command for every key. The end that it returns gives each answer, a number, to the job. What take returns
// ends the sweep; an error of the server is its to judge.
func (r *run) start(ctx context.Context, l *link, keys []key, words func(key) command, take func(key, int64, error) error) (end func() error, err error) {
	commands := make([]command, 0, len(keys))
	for _, k := range keys {
		commands = append(commands, words(k))
	}
	return ask(ctx, l, commands, func(i int, a answer) error {
		return take(keys[i], a.n, serverError(commands[i].name(), a.err))
	})
}

// startAll sends one command about the names of all keys. The end that it returns gives the answer, a number, to the job.
func (r *run) startAll(ctx context.Context, l *link, word string, keys []key, name func(key) string, take func(n int64) error) (end func() error, err error) {
	if len(keys) == 0 {
		return func() error { return take(0) }, nil
	}
	all := make(command, 0, 1+len(keys))
	all = append(all, word)
	for _, k := range keys {
		all = append(all, name(k))
	}
	return ask(ctx, l, []command{all}, func(_ int, a answer) error {
		if err := serverError(word, a.err); err != nil {
			return err
		}
		return take(a.n)
	})
}

// ask sends commands on the connection that carries pages. The end that it returns gives their answers to take.
func ask(ctx context.Context, l *link, commands []command, take func(i int, a answer) error) (end func() error, err error) {
	if len(commands) == 0 {
		return done, nil
	}
	w, err := l.wire(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.send(commands); err != nil {
		return nil, err
	}
	return func() error { return w.each(commands, take) }, nil
}

// done is the end of a page that is asked nothing.
func done() error { return nil }

// each does both at once. While the next page is on the connection that carries pages, it takes another one.
func (r *run) each(ctx context.Context, l *link, keys []key, words func(key) command, take func(key, int64, error) error) error {
	w, err := l.wire(ctx)
	if err != nil {
		return err
	}
	if w.owing == 0 {
		end, err := r.start(ctx, l, keys, words, take)
		if err != nil {
			return err
		}
		return end()
	}
	commands := make([]command, 0, len(keys))
	for _, k := range keys {
		commands = append(commands, words(k))
	}
	replies, err := pipeline(ctx, l.client, commands)
	if err != nil {
		return err
	}
	for i, reply := range replies {
		n, err := integer(commands[i], reply)
		if err := take(keys[i], n, err); err != nil {
			return err
		}
	}
	return nil
}
