package control_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

func TestMain(m *testing.M) { redistest.Main(m) }

const (
	// testLease is longer than a busy machine lets an instance wait for its turn.
	testLease = 20 * time.Second
	// shortLease is for those whose end a test waits for.
	shortLease = 200 * time.Millisecond
	testRenew  = 10 * time.Millisecond
	// within is how long anything may take in a test before it counts as hanging.
	within = 30 * time.Second
)

const testPlan = `
version: 1
environment: test
soak: 0s
rules:
  - {name: sessions, legacy: "session:{id}", target: "cw:{env}:session:{id}", strategy: mirror}
  - {name: limits, legacy: "limit:{id}", target: "cw:{env}:limit:{id}", strategy: move}
`

func parse(t testing.TB, text string) *plan.Plan {
	t.Helper()
	p, err := plan.Parse("rekey.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// world is a server with a plan, some keys and a fleet.
type world struct {
	t      testing.TB
	plan   *plan.Plan
	server *redistest.Server
	client *redis.Client // named as rekey's own are
	store  *fleet.Store
	*referee
}

// newWorld makes one on a clean server.
func newWorld(t testing.TB, text string) *world {
	t.Helper()
	return worldOn(t, redistest.Shared(t), text)
}

func worldOn(t testing.TB, server *redistest.Server, text string) *world {
	t.Helper()
	p := parse(t, text)
	u, err := plan.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	o, err := fleet.Options(plan.Server{URL: u})
	if err != nil {
		t.Fatal(err)
	}
	client := fleet.Client(o, 0)
	t.Cleanup(func() { _ = client.Close() }) // nothing is buffered
	return &world{t: t, plan: p, server: server, client: client, store: fleet.NewStore(p, client), referee: newReferee(t, p)}
}

// options are quick ones.
func (w *world) options() control.Options {
	return control.Options{
		Client: w.client, Owner: "tester", Soak: -1, Patience: within, Poll: 5 * time.Millisecond, Term: 2 * time.Second,
		ReplicaTimeout: 100 * time.Millisecond,
	}
}

// open opens a controller.
func (w *world) open(o control.Options) *control.Controller {
	w.t.Helper()
	c, err := control.Open(w.t.Context(), w.plan, o)
	if err != nil {
		w.t.Fatalf("open a controller: %v", err)
	}
	w.t.Cleanup(func() { _ = c.Close() }) // the test may have closed it, or taken over
	return c
}

// run opens a controller, takes the rules forward and closes it.
func (w *world) run(until phase.Phase, rules ...string) {
	w.t.Helper()
	w.runWith(w.options(), until, rules...)
}

func (w *world) runWith(o control.Options, until phase.Phase, rules ...string) {
	w.t.Helper()
	c := w.open(o)
	if err := c.Run(w.t.Context(), rules, until); err != nil {
		w.t.Fatalf("run until %v: %v", until, err)
	}
	if err := c.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// fill writes some keys under their legacy names.
func (w *world) fill(n int) {
	w.t.Helper()
	for i := range n {
		for _, name := range []string{"session", "limit"} {
			if err := w.client.Set(w.t.Context(), fmt.Sprintf("%s:%d", name, i), i, 0).Err(); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// do sends one command.
func (w *world) do(args ...any) {
	w.t.Helper()
	if err := w.client.Do(w.t.Context(), args...).Err(); err != nil {
		w.t.Fatalf("%v: %v", args, err)
	}
}

// phase is the target's phase of a rule; 0 without a record.
func (w *world) phase(rule string) phase.Phase { return w.target(rule).Phase }

func (w *world) target(rule string) fleet.Target {
	w.t.Helper()
	targets, err := w.store.Targets(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return targets[rule]
}

func (w *world) status() control.Status {
	w.t.Helper()
	s, err := control.Read(context.Background(), w.store, w.plan)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// exists counts the names that a pattern matches.
func (w *world) exists(pattern string) int {
	w.t.Helper()
	names, err := w.client.Keys(context.Background(), pattern).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return len(names)
}

// referee looks at the phases of all instances at once: no rule may ever be in two that may not stand beside
// each other.
type referee struct {
	t    testing.TB
	plan *plan.Plan

	mu    sync.Mutex
	at    map[string]map[string]phase.Phase // rule, instance
	foul  string
	ended bool // a provoked foul was seen: no more are counted
}

func newReferee(t testing.TB, p *plan.Plan) *referee {
	r := &referee{t: t, plan: p, at: make(map[string]map[string]phase.Phase)}
	t.Cleanup(func() {
		if foul := r.fouls(); foul != "" {
			t.Error(foul)
		}
	})
	return r
}

func (r *referee) fouls() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.foul
}

// awaitFoul waits for the foul that a test has provoked, and ends the game: every further instance that follows
// to the same phase would commit it once more, at a moment of its own.
func (r *referee) awaitFoul() {
	r.t.Helper()
	redistest.WaitFor(r.t, within, func() bool { return r.fouls() != "" })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.foul, r.ended = "", true
}

func (r *referee) enters(who, rule string, p phase.Phase) {
	i, ok := r.plan.Index(rule)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at[rule] == nil {
		r.at[rule] = make(map[string]phase.Phase)
	}
	r.at[rule][who] = p
	for other, q := range r.at[rule] {
		if !r.ended && !phase.Beside(r.plan.Rules[i].Strategy, p, q) {
			r.foul = fmt.Sprintf("rule %s: %s enters %v while %s is in %v", rule, who, p, other, q)
		}
	}
}

func (r *referee) leaves(who string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, all := range r.at {
		delete(all, who)
	}
}

// sim is an instance as a controller sees it: it joins, renews, and obeys.
type sim struct {
	w    *world
	name string
	stop context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	self    fleet.Instance
	deaf    bool // it renews and does not follow
	stopped bool // it does not even renew
	id      string
	renewed int
}

// simOption changes a simulated instance before it joins.
type simOption func(*sim)

func record(change func(*fleet.Instance)) simOption { return func(s *sim) { change(&s.self) } }

// join starts an instance and waits until it has reported.
func (w *world) join(name string, opts ...simOption) *sim {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s := &sim{w: w, name: name, stop: stop, done: make(chan struct{}), id: name + "-1"}
	s.self = fleet.Instance{
		Lease: testLease.Microseconds(), Name: name, Host: "testhost", PID: 1, Format: fleet.Format,
		Rules: make(map[string]fleet.RuleState),
	}
	for i, r := range w.plan.Rules {
		s.self.Rules[r.Name] = fleet.RuleState{Hash: w.plan.Hash(i), Mark: fleet.Mark{Gen: -1, Seq: -1}}
	}
	for _, o := range opts {
		o(s)
	}
	s.self.ID = s.id
	state, err := w.store.Join(ctx, &s.self)
	if err != nil {
		w.t.Fatalf("join: %v", err)
	}
	s.found(ctx, state.Targets)
	go s.live(ctx)
	w.t.Cleanup(s.kill)
	redistest.WaitFor(w.t, within, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.renewed > 1
	})
	return s
}

// found makes the first records, as a real instance does.
func (s *sim) found(ctx context.Context, targets map[string]fleet.Target) {
	hashes := make(map[string]string)
	for i, r := range s.w.plan.Rules {
		if _, ok := targets[r.Name]; !ok && s.self.Rules[r.Name].Hash != "" {
			hashes[r.Name] = s.w.plan.Hash(i)
		}
	}
	if len(hashes) == 0 || s.self.Observer {
		return
	}
	if _, err := s.w.store.Found(ctx, "epoch-1", hashes, s.name); err != nil {
		s.w.t.Errorf("found: %v", err)
	}
}

func (s *sim) live(ctx context.Context) {
	defer close(s.done)
	for ctx.Err() == nil {
		s.renew(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(testRenew):
		}
	}
}

func (s *sim) renew(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	state, err := s.w.store.Renew(ctx, &s.self, nil)
	if errors.Is(err, fleet.ErrNoRecord) {
		// Taken for dead: its connections are closed, so nothing of it is under way.
		s.w.leaves(s.id)
		s.id += "'"
		s.self.ID = s.id
		state, err = s.w.store.Join(ctx, &s.self)
	}
	if err != nil {
		return // the next one may do
	}
	s.renewed++
	if !s.deaf {
		s.follow(state.Targets)
	}
}

func (s *sim) follow(targets map[string]fleet.Target) {
	if s.self.Observer {
		return
	}
	for rule, t := range targets {
		have, knows := s.self.Rules[rule]
		if !knows || t.Hash != have.Hash || have.Epoch != "" && (t.Epoch != have.Epoch || t.Mark.Compare(have.Mark) <= 0) {
			continue
		}
		s.w.enters(s.id, rule, t.Phase)
		have.Phase, have.Mark, have.Epoch = t.Phase, t.Mark, t.Epoch
		s.self.Rules[rule] = have
	}
}

// deafen lets it renew and not follow.
func (s *sim) deafen() { s.mu.Lock(); s.deaf = true; s.mu.Unlock() }

// hears lets a deaf instance follow again.
func (s *sim) hears() { s.mu.Lock(); s.deaf = false; s.mu.Unlock() }

// pauses stops renewing, as a process that is stopped does, and its lease runs out soon; continues goes on.
func (s *sim) pauses() {
	s.leases(shortLease)
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
}

func (s *sim) continues() {
	s.mu.Lock()
	s.stopped = false
	s.mu.Unlock()
	s.leases(testLease)
}

// leases renews with another lease.
func (s *sim) leases(d time.Duration) {
	s.mu.Lock()
	s.self.Lease = d.Microseconds()
	s.mu.Unlock()
	s.renew(context.Background())
}

// says what is still under way.
func (s *sim) says(rule, behind string) {
	s.mu.Lock()
	state := s.self.Rules[rule]
	state.Behind = behind
	s.self.Rules[rule] = state
	s.mu.Unlock()
	s.renew(context.Background())
}

// kill ends it without a word.
func (s *sim) kill() {
	s.stop()
	<-s.done
	s.w.leaves(s.id)
}

// dies is kill, and its lease runs out soon.
func (s *sim) dies() {
	s.stop()
	<-s.done
	s.leases(shortLease)
	s.w.leaves(s.id)
}

// connect opens a real connection that the instance has admitted.
func (s *sim) connect() *redis.Conn {
	s.w.t.Helper()
	ctx := s.w.t.Context()
	client := s.w.server.Client(func(o *redis.Options) { o.MaxRetries = -1; o.PoolSize = 1 })
	conn := client.Conn()
	id, err := conn.ClientID(ctx).Result()
	if err != nil {
		s.w.t.Fatal(err)
	}
	if _, err := s.w.store.Admit(ctx, s.id, id, false); err != nil {
		s.w.t.Fatal(err)
	}
	return conn
}

// blocked gives the blockers of a *[control.HeldError] on one rule.
func blocked(t testing.TB, err error) []control.Blocker {
	t.Helper()
	var held *control.HeldError
	if !errors.As(err, &held) {
		t.Fatalf("got error %v, want one that says what holds the step up", err)
	}
	return held.Held[0].Blockers
}

// mustBlock wants a blocker of a reason whose text and advice have some words.
func mustBlock(t testing.TB, all []control.Blocker, reason control.Reason, words ...string) {
	t.Helper()
	for _, b := range all {
		missing := func(word string) bool { return !strings.Contains(b.Text+"; "+b.Try, word) }
		if b.Reason == reason && !slices.ContainsFunc(words, missing) {
			return
		}
	}
	t.Errorf("got blockers %+v, want one of %s that says %q", all, reason, words)
}

// wantWords wants an error that says some words.
func wantWords(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("got no error, want one that says %q", words)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error %q does not say %q", err, word)
		}
	}
	if !strings.HasPrefix(err.Error(), "rekey: ") {
		t.Errorf("the error %q does not begin with rekey:", err)
	}
}

func asUser(name, password string) func(*redis.Options) {
	return func(o *redis.Options) { o.Username, o.Password = name, password }
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
