package chaostest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/history"
	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// careless says what an instance leaves out.
type careless struct {
	waits bool // it acknowledges a phase before earlier commands have ended
	shuts bool // it goes on when its lease has run out
}

// engine is an instance made of the parts of a real one, so that some can be left out. What the tests hold with
// nothing left out is that it would do otherwise.
type engine struct {
	careless
	rules *intercept.Rules
	agent *fleet.Agent
	conns chan *intercept.Conn // all that there are
}

var _ fleet.Engine = (*engine)(nil)

// newEngine joins the fleet.
func newEngine(t *testing.T, p *plan.Plan, c careless) *engine {
	t.Helper()
	e := &engine{careless: c, rules: &intercept.Rules{Set: p.Names(), Databases: p.Databases, Stats: intercept.NewStats(p.Names().Len())}, conns: make(chan *intercept.Conn, 100)}
	var first []phase.Phase
	var err error
	e.agent, first, err = fleet.JoinAgent(t.Context(), fleet.AgentConfig{Plan: p, Engine: e, Name: "careless"})
	if err != nil {
		t.Fatal(err)
	}
	e.rules.SetTable(&intercept.Table{Version: 1, Phases: first})
	e.agent.Start()
	t.Cleanup(func() { _ = e.agent.Close(fleet.StayRecorded) }) // the test may have cut it off
	return e
}

// dial opens a connection as [rekey.Rekey.Dialer] does.
func (e *engine) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	base, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := intercept.NewConn(base, e.rules, intercept.Hooks{Admit: func(id int64) error {
		_, err := e.agent.Admit(id)
		return err
	}})
	e.conns <- conn
	return conn.Net(), nil
}

// each calls a function for each connection that there ever was.
func (e *engine) each(do func(*intercept.Conn)) {
	for range len(e.conns) {
		conn := <-e.conns
		do(conn)
		e.conns <- conn
	}
}

func (e *engine) Follow(ctx context.Context, phases []phase.Phase) error {
	now := e.rules.Table()
	t := &intercept.Table{Version: now.Version + 1, Phases: phases, Closed: now.Closed}
	e.rules.SetTable(t)
	e.each(func(c *intercept.Conn) { c.PhasesChanged() })
	for e.waits {
		behind := false
		e.each(func(c *intercept.Conn) { behind = behind || c.Oldest() < t.Version })
		if !behind {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

func (e *engine) Shut(reasons []string) {
	if now := e.rules.Table(); now != nil && e.shuts {
		e.rules.SetTable(&intercept.Table{Version: now.Version, Phases: now.Phases, Closed: reasons})
	}
}

func (e *engine) Reset(_ context.Context, phases []phase.Phase, reason error) error {
	e.each(func(c *intercept.Conn) { c.Cut(reason) })
	e.rules.SetTable(&intercept.Table{Version: e.rules.Table().Version + 1, Phases: phases})
	return nil
}

func (e *engine) Used(int) (reads, fallbacks uint64) { return 0, 0 }
func (e *engine) Behind() string                     { return "" }
func (e *engine) Readmit()                           {}

// scene is one key that two instances use: one over links of its own, made of parts, and a real one.
type scene struct {
	t       *testing.T
	w       *world
	rec     *history.Recorder
	data    *redistest.Link // of the first one's application
	records *redistest.Link // of its agent
	engine  *engine
	one     *redis.Client // over the first
	two     *redis.Client // over the real one
	forget  bool          // connections of the dead are not closed
}

const sceneKey = "mirror:key"

func newScene(t *testing.T, c careless) *scene {
	t.Helper()
	w := newWorld(t, 0, 0)
	s := &scene{t: t, w: w, rec: history.NewRecorder(0),
		data: redistest.SlowLink(t, w.server.Addr()), records: redistest.SlowLink(t, w.server.Addr())}
	far, err := plan.Load(w.writePlan("far", s.records.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	s.engine = newEngine(t, far, c)
	s.one = redis.NewClient(&redis.Options{Addr: s.data.Addr(), Dialer: s.engine.dial, MaxRetries: -1, PoolSize: 1, ReadTimeout: time.Minute})
	r, err := rekey.Open(t.Context(), w.plan, rekey.WithFleet(rekey.FleetConfig{Name: "careful"}))
	if err != nil {
		t.Fatal(err)
	}
	s.two = redis.NewClient(&redis.Options{Addr: w.server.Addr(), Dialer: r.Dialer(nil), MaxRetries: -1})
	t.Cleanup(func() { _ = s.one.Close(); _ = s.two.Close(); _ = r.Close() }) // the tests have looked at what counts
	s.set(s.one, "first")
	return s
}

// do does an operation and records it.
func (s *scene) do(c *redis.Client, words ...string) (string, error) {
	var value string
	_, err := s.rec.Client().Do(history.Op{Name: words[0], Key: words[1], Args: words[2:]}, func() (history.Reply, error) {
		v, err := c.Do(s.t.Context(), anys(words)...).Result()
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		if err != nil && outcomeOf(err) == notRun {
			err = fmt.Errorf("%w: %w", history.ErrNotRun, err)
		}
		value = fmt.Sprint(v)
		return replyOf(v), err
	})
	return value, err
}

func (s *scene) set(c *redis.Client, value string) {
	s.t.Helper()
	if _, err := s.do(c, "SET", sceneKey, value); err != nil {
		s.t.Fatal(err)
	}
}

// forgetful is a controller's client whose server closes nobody's connection.
type forgetful struct{}

func (forgetful) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (forgetful) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (forgetful) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, c := range cmds {
			if args := c.Args(); len(args) > 1 && args[0] == "client" && args[1] == "kill" {
				return nil // as if it had been there and were closed
			}
		}
		return next(ctx, cmds)
	}
}

// controller takes the rule of the key on; it tells of what it waits for.
func (s *scene) controller(waiting func(control.Event)) *control.Controller {
	s.t.Helper()
	o := controlOptions()
	server, err := fleet.Options(s.w.plan.Server)
	if err != nil {
		s.t.Fatal(err)
	}
	o.Client = fleet.Client(server, 0)
	s.t.Cleanup(func() { _ = o.Client.Close() }) // all was answered
	if s.forget {
		o.Client.AddHook(forgetful{})
	}
	o.Patience, o.Progress = time.Minute, func(e control.Event) {
		if e.Kind == control.Waiting && waiting != nil {
			waiting(e)
		}
	}
	c, err := control.Open(s.t.Context(), s.w.plan, o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() }) // the test is over
	return c
}

func (s *scene) run(c *control.Controller, to phase.Phase) {
	s.t.Helper()
	if err := c.Run(s.t.Context(), []string{"mirror"}, to); err != nil {
		s.t.Fatal(err)
	}
}

// write begins a write that stays on its way to the server.
func (s *scene) write() (ended <-chan error) {
	s.t.Helper()
	if _, err := s.do(s.one, "GET", sceneKey); err != nil { // what the engine asks the server in a new phase is asked
		s.t.Fatal(err)
	}
	s.data.Stall(redistest.ToServer)
	done := make(chan error, 1)
	go func() {
		_, err := s.do(s.one, "SET", sceneKey, "late")
		done <- err
	}()
	redistest.WaitFor(s.t, time.Minute, func() bool { return s.data.Pending(redistest.ToServer) > 0 })
	return done
}

// judge reads the key once more.
func (s *scene) judge() (linearizable bool) {
	s.t.Helper()
	if _, err := s.do(s.two, "GET", sceneKey); err != nil {
		s.t.Fatal(err)
	}
	ok, err := history.Linearizable(history.Register, s.rec)
	if err != nil {
		s.t.Fatal(err)
	}
	return ok
}

// found fails the test unless the history is what it is to be.
func (s *scene) found(broken bool) {
	s.t.Helper()
	if ok := s.judge(); ok == broken {
		s.t.Errorf("the history is linearizable: %v, want %v", ok, !broken)
	}
}

// TestAcknowledgements: an instance has reached a phase when its last command of an earlier one has ended. One
// that says so at once lets the fleet go on to where that command takes away what others have written.
func TestAcknowledgements(t *testing.T) {
	for _, broken := range []bool{false, true} {
		t.Run(fmt.Sprintf("at once %v", broken), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, careless{waits: !broken, shuts: true})
			heldUp := make(chan struct{}, 1)
			c := s.controller(func(e control.Event) {
				for _, b := range e.Blockers {
					if b.Reason == control.Behind && e.From == phase.Dual {
						select {
						case heldUp <- struct{}{}:
						default:
						}
					}
				}
			})
			s.run(c, phase.Guard)
			ended := s.write() // SET L, UNLINK P
			if broken {
				s.run(c, phase.Settled)
				s.set(s.two, "newer")
				s.data.Resume(redistest.ToServer)
				<-ended
			} else {
				walked := make(chan error, 1)
				go func() { walked <- c.Run(t.Context(), []string{"mirror"}, phase.Settled) }()
				<-heldUp
				s.set(s.two, "newer")
				s.data.Resume(redistest.ToServer)
				if err := errors.Join(<-ended, <-walked); err != nil {
					t.Fatal(err)
				}
			}
			s.found(broken)
		})
	}
}

// TestFencing: nobody goes past a dead instance before its connections are closed on the server. What it sent
// last would run in a phase that it knows nothing of.
func TestFencing(t *testing.T) {
	for _, broken := range []bool{false, true} {
		t.Run(fmt.Sprintf("without %v", broken), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, careless{waits: true, shuts: true})
			s.forget = broken
			c := s.controller(nil)
			s.run(c, phase.Guard)
			ended := s.write()
			s.records.Refuse() // it is as good as dead
			s.records.Cut()
			s.run(c, phase.Settled)
			s.set(s.two, "newer")
			s.data.Resume(redistest.ToServer)
			err := <-ended
			if (err == nil) != broken {
				t.Errorf("the dead one's write: %v", err)
			}
			s.found(broken)
		})
	}
}

// TestLeaseCheck: an instance that cannot renew its lease refuses what it is asked for, before anybody can take
// the lease for lost. So nothing is sent that somebody would have to close: with a server that closes nobody's
// connection the history of an instance that is cut off is right with the check, and not without.
func TestLeaseCheck(t *testing.T) {
	for _, broken := range []bool{false, true} {
		t.Run(fmt.Sprintf("without %v", broken), func(t *testing.T) {
			t.Parallel()
			s := newScene(t, careless{waits: true, shuts: !broken})
			s.forget = true
			c := s.controller(nil)
			s.run(c, phase.Guard)
			s.records.Refuse()
			s.records.Cut()
			s.run(c, phase.Settled) // which waits for the end of the lease
			s.set(s.two, "newer")
			_, err := s.do(s.one, "SET", sceneKey, "after its lease")
			if (err == nil) != broken {
				t.Errorf("a write after the lease: %v", err)
			}
			s.found(broken)
		})
	}
}

// TestGates: a verdict that no sweep has earned takes the fleet past a gate. What the sweep would have removed or
// copied is seen.
func TestGates(t *testing.T) {
	for _, tt := range []struct {
		gate phase.Gate
		from phase.Phase
		to   phase.Phase
		left string // under the target name, by an earlier try
	}{
		{phase.NoTarget, phase.Guard, phase.Dual, "stale"},
		{phase.Copied, phase.Dual, phase.Settled, ""},
	} {
		for _, broken := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s removed %v", tt.gate, broken), func(t *testing.T) {
				t.Parallel()
				s := newScene(t, careless{waits: true, shuts: true})
				c := s.controller(nil)
				s.run(c, tt.from)
				bare := c.Store().Client()
				if tt.left != "" {
					if err := bare.Set(t.Context(), "cw:test:"+sceneKey, tt.left, 0).Err(); err != nil {
						t.Fatal(err)
					}
				}
				if broken {
					forge(t, bare, s.w.plan, tt.gate, tt.from)
				}
				s.run(c, tt.to)
				s.found(broken)
			})
		}
	}
}

// forge writes a verdict down.
func forge(t *testing.T, bare *redis.Client, p *plan.Plan, gate phase.Gate, at phase.Phase) {
	t.Helper()
	ctx := t.Context()
	kind, err := sweep.ParseKind(gate.Sweep())
	if err != nil {
		t.Fatal(err)
	}
	info, err := bare.InfoMap(ctx, "server", "replication").Result()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"verdict": sweep.Verdict{
		Kind: kind, Rule: "mirror", RuleHash: p.Hash(0), Phase: at, Gates: []sweep.GateVerdict{{Gate: gate, Holds: true}},
		Started: time.Now().Add(time.Hour), RunID: info["Server"]["run_id"], ReplicationID: info["Replication"]["master_replid"],
	}})
	if err != nil {
		t.Fatal(err)
	}
	key := fleet.KeysOf(p).Sweep(gate.Sweep(), "mirror")
	if err := bare.Set(ctx, key, text, 0).Err(); err != nil {
		t.Fatal(err)
	}
}
