package rekey_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// environment is flags that a test changes.
type environment struct {
	mu    sync.Mutex
	flags map[string]string
}

func (e *environment) lookup(name string) (string, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v, ok := e.flags[name]
	return v, ok
}

func (e *environment) set(settings ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.flags == nil {
		e.flags = make(map[string]string)
	}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		e.flags[name] = value
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func planOn(t *testing.T, server *redistest.Server) *plan.Plan {
	t.Helper()
	return loadPlan(t, "server: {url: \""+server.URL()+"\"}\n"+testPlan)
}

func runSweep(t *testing.T, server *redistest.Server, p *plan.Plan, kind sweep.Kind, in phase.Phase) sweep.Result {
	t.Helper()
	return runSweepOn(t, server, p, "sessions", kind, in)
}

func runSweepOn(t *testing.T, server *redistest.Server, p *plan.Plan, rule string, kind sweep.Kind, in phase.Phase) sweep.Result {
	t.Helper()
	result, err := sweep.Run(t.Context(), sweep.Options{
		Client: server.Client(), Plan: p, Rule: rule, Kind: kind, Phase: in, Execute: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// TestGatedFlags: with CW_CACHE_GATED=1 a process stays where it is until the gate's verdict is there,
// says once which command proves it, and goes on by itself.
func TestGatedFlags(t *testing.T) {
	server := redistest.Shared(t)
	p := planOn(t, server)
	var log lockedBuffer
	var env environment
	env.set("CW_CACHE_DUAL_WRITE=1", "CW_CACHE_GATED=1")
	r, err := rekey.Open(t.Context(), p, rekey.WithFlags(env.lookup), rekey.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	must(t, err)
	defer func() { must(t, r.Close()) }()

	must(t, server.Client().Set(t.Context(), "cw:test:secure_session:left", "behind", 0).Err())
	env.set("CW_CACHE_PREFIX_ENABLED=1")
	must(t, r.ReloadFlags(t.Context()))
	must(t, r.ReloadFlags(t.Context()))
	s := r.Stats().Rules["sessions"]
	if s.Phase != phase.Guard || s.Wanted != phase.Dual || s.Held != 2 || s.Ungated != 0 {
		t.Fatalf("phase %s, wanted %s, held %d, ungated %d; want guard, dual, 2, 0", s.Phase, s.Wanted, s.Held, s.Ungated)
	}
	if got := strings.Count(log.String(), "rekey purge sessions --assume-phase guard"); got != 1 {
		t.Errorf("the command that proves the gate was said %d times, want once:\n%s", got, log.String())
	}

	if got := runSweep(t, server, p, sweep.Purge, phase.Guard); got.Changed != 1 {
		t.Fatalf("purge removed %d, want 1", got.Changed)
	}
	reached(t, r, map[string]phase.Phase{"sessions": phase.Dual})

	// A verdict that is older than the last process's coming to the phase proves nothing.
	runSweep(t, server, p, sweep.Backfill, phase.Dual)
	late, err := rekey.Open(t.Context(), p, rekey.WithFlags(env.lookup))
	must(t, err)
	defer func() { must(t, late.Close()) }()
	env.set("CW_CACHE_LEGACY_READ=0")
	must(t, r.ReloadFlags(t.Context()))
	if got := r.Phases()["sessions"]; got != phase.Dual {
		t.Fatalf("phase %s by a verdict from before the last process came, want dual", got)
	}
	runSweep(t, server, p, sweep.Backfill, phase.Dual)
	reached(t, r, map[string]phase.Phase{"sessions": phase.Settled})
}

// TestUngatedFlags: without CW_CACHE_GATED flags are obeyed at once, and the step is counted.
func TestUngatedFlags(t *testing.T) {
	server := redistest.Shared(t)
	var env environment
	env.set("CW_CACHE_PREFIX_ENABLED=1", "CW_CACHE_DUAL_WRITE=1")
	r, err := rekey.Open(t.Context(), planOn(t, server), rekey.WithFlags(env.lookup))
	must(t, err)
	defer func() { must(t, r.Close()) }()
	s := r.Stats().Rules["sessions"]
	if s.Phase != phase.Dual || s.Held != 0 || s.Ungated != 1 {
		t.Errorf("phase %s, held %d, ungated %d; want dual, 0, 1", s.Phase, s.Held, s.Ungated)
	}
}

type gatedGoal struct {
	rule     string
	strategy phase.Strategy
	flags    phase.Flags
	goal     phase.Phase
	in       phase.Phase
	proof    sweep.Kind
}

// begin opens a process with the flags of the goal, which must come to a phase that may stand beside it.
func (g gatedGoal) begin(t *testing.T, p *plan.Plan) (r *rekey.Rekey, at phase.Phase) {
	t.Helper()
	var env environment
	env.setPhase(t, g.flags, g.goal)
	r, err := rekey.Open(t.Context(), p, rekey.WithFlags(env.lookup))
	must(t, err)
	t.Cleanup(func() { must(t, r.Close()) })
	if at = r.Phases()[g.rule]; !phase.Beside(g.strategy, at, g.goal) {
		t.Fatalf("it begins in %s, which may not stand beside %s", at, g.goal)
	}
	return r, at
}

// goals are the phases that flags choose for a rule of the test's plan, with the sweep that proves the last step with a
// gate before each: that step's first phase is where the sweep runs.
var goals = []gatedGoal{
	{"sessions", phase.Mirror, phase.FlagsCache, phase.Dual, phase.Guard, sweep.Purge},
	{"sessions", phase.Mirror, phase.FlagsCache, phase.Settled, phase.Dual, sweep.Backfill},
	{"sessions", phase.Mirror, phase.FlagsCache, phase.Drain, phase.Guard, sweep.Purge},
	{"sessions", phase.Mirror, phase.FlagsCache, phase.Sealed, phase.Dual, sweep.Backfill},
	{"sessions", phase.Mirror, phase.FlagsCache, phase.Prefixed, phase.Sealed, sweep.Cleanup},
	{"limits", phase.Relocate, phase.FlagsRL, phase.Hold, phase.Legacy, sweep.Purge},
	{"limits", phase.Relocate, phase.FlagsRL, phase.Move, phase.Legacy, sweep.Purge},
	{"limits", phase.Relocate, phase.FlagsRL, phase.Prefixed, phase.Move, sweep.Relocate},
}

// setPhase sets the flags of a phase, and that steps with a gate wait for it.
func (e *environment) setPhase(t *testing.T, f phase.Flags, p phase.Phase) {
	t.Helper()
	settings, err := phase.ToFlags(f, p)
	must(t, err)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flags = map[string]string{phase.CacheGated: "1"}
	for _, s := range settings {
		if !s.Unset {
			e.flags[s.Name] = s.Value
		}
	}
}

// TestGatedFlagsWithoutServer: a process whose server is down opens, in a phase that may stand beside the one that the
// flags choose: the fleet is there, if it is not on the way.
func TestGatedFlagsWithoutServer(t *testing.T) {
	server := redistest.Start(t)
	p := planOn(t, server)
	server.Kill()
	for _, g := range goals {
		t.Run(g.rule+" "+g.goal.String(), func(t *testing.T) {
			g.begin(t, p)
		})
	}
}

// TestGatedFlagsWhenTheLookFails: a process that cannot look for the verdict when it starts, and could record a phase,
// begins beside the phase that the flags choose, and records nothing: the verdict would be older than its coming, and it
// would stay there for good. It goes on by itself when the verdict can be read.
func TestGatedFlagsWhenTheLookFails(t *testing.T) {
	for _, g := range goals {
		t.Run(g.rule+" "+g.goal.String(), func(t *testing.T) {
			server := redistest.Shared(t)
			p, bare := planOn(t, server), server.Client()
			entered := p.ControlPrefix() + "flags:" + g.rule
			if !g.in.Parked() {
				must(t, bare.HSet(t.Context(), entered, g.in.String(), 1).Err())
			}
			runSweepOn(t, server, p, g.rule, g.proof, g.in)
			verdict := p.ControlPrefix() + "sweep:" + g.proof.String() + ":" + g.rule
			must(t, bare.Rename(t.Context(), verdict, "aside").Err())
			for _, kind := range []string{"purge", "backfill", "cleanup", "relocate"} {
				must(t, bare.SAdd(t.Context(), p.ControlPrefix()+"sweep:"+kind+":"+g.rule, "no string").Err())
			}
			r, got := g.begin(t, p)
			if got != g.goal {
				must(t, r.ReloadFlags(t.Context())) // another look that fails
				if now := bare.HGet(t.Context(), entered, got.String()).Val(); !got.Parked() && now != "1" {
					t.Errorf("%s is recorded as entered at %s", got, now)
				}
			}
			must(t, bare.Rename(t.Context(), "aside", verdict).Err())
			reached(t, r, map[string]phase.Phase{g.rule: g.goal})
			redistest.WaitFor(t, fleetWithin, func() bool {
				return g.goal.Parked() || bare.HExists(t.Context(), entered, g.goal.String()).Val()
			})
		})
	}
}

// TestGatedFlagsMissNoLegacyKey: the fleet of a process that cannot look may wait in drain, where a key may have its legacy
// name alone; in sealed the process would not see it, and write anew beside it.
func TestGatedFlagsMissNoLegacyKey(t *testing.T) {
	server, ctx := redistest.Shared(t), t.Context()
	p, bare := planOn(t, server), server.Client()
	must(t, bare.Set(ctx, "secure_session:a", "v", 0).Err())
	must(t, bare.SAdd(ctx, p.ControlPrefix()+"flags:sessions", "no hash").Err())
	r, _ := gatedGoal{rule: "sessions", strategy: phase.Mirror, flags: phase.FlagsCache, goal: phase.Prefixed}.begin(t, p)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: r.Dialer(nil), MaxRetries: -1})
	defer func() { must(t, rdb.Close()) }()
	if got, err := rdb.Get(ctx, "secure_session:a").Result(); got != "v" || err != nil {
		t.Errorf("got %q, %v in %v, want v", got, err, r.Phases()["sessions"])
	}
}

// TestGatedFlagsOnAServerThatHangs: the look for a verdict ends soon on a server that takes connections and answers nothing.
func TestGatedFlagsOnAServerThatHangs(t *testing.T) {
	server := redistest.Start(t)
	p := planOn(t, server)
	server.Pause()
	defer server.Continue()
	var env environment
	env.setPhase(t, phase.FlagsCache, phase.Dual)
	type opened struct {
		r   *rekey.Rekey
		err error
	}
	done := make(chan opened, 1)
	go func() {
		r, err := rekey.Open(t.Context(), p, rekey.WithFlags(env.lookup))
		done <- opened{r, err}
	}()
	select {
	case o := <-done:
		must(t, o.err)
		must(t, o.r.Close())
	case <-time.After(20 * time.Second):
		server.Continue()
		if o := <-done; o.err == nil {
			must(t, o.r.Close())
		}
		t.Fatal("Open has not returned")
	}
}

// TestGatedFlagsOverSeveralPhases: a flip over several phases stops at the first phase of a step with a gate until the
// gate is proven anew: a proof from before the process came there says nothing of what it wrote until then.
func TestGatedFlagsOverSeveralPhases(t *testing.T) {
	server, ctx := redistest.Shared(t), t.Context()
	p, bare := planOn(t, server), server.Client()
	runSweepOn(t, server, p, "limits", sweep.Purge, phase.Legacy)
	start := func() (*rekey.Rekey, *environment) {
		env := new(environment)
		env.setPhase(t, phase.FlagsRL, phase.Hold)
		r, err := rekey.Open(ctx, p, rekey.WithFlags(env.lookup))
		must(t, err)
		t.Cleanup(func() { must(t, r.Close()) })
		reached(t, r, map[string]phase.Phase{"limits": phase.Hold})
		return r, env
	}
	a, flagsOfA := start()
	b, flagsOfB := start()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: b.Dialer(nil), MaxRetries: -1})
	t.Cleanup(func() { must(t, rdb.Close()) })

	flagsOfA.setPhase(t, phase.FlagsRL, phase.Move)
	must(t, a.ReloadFlags(ctx))
	runSweepOn(t, server, p, "limits", sweep.Relocate, phase.Move)
	must(t, rdb.Set(ctx, "rl:login:1", "5", 0).Err()) // in hold: under the legacy name
	flagsOfA.setPhase(t, phase.FlagsRL, phase.Prefixed)
	flagsOfB.setPhase(t, phase.FlagsRL, phase.Prefixed)
	must(t, b.ReloadFlags(ctx))
	must(t, b.ReloadFlags(ctx))
	if got := b.Phases()["limits"]; got != phase.Move {
		t.Fatalf("it is at %s by a proof from before it came to move, want move", got)
	}
	runSweepOn(t, server, p, "limits", sweep.Relocate, phase.Move)
	reached(t, b, map[string]phase.Phase{"limits": phase.Prefixed})
	must(t, a.ReloadFlags(ctx))
	reached(t, a, map[string]phase.Phase{"limits": phase.Prefixed})
	if got := bare.Get(ctx, "cw:test:rl:login:1").Val(); got != "5" {
		t.Errorf("the counter is %q under its target name, want 5", got)
	}
}

// TestGatedFlagsStops: where a flip stops that has proofs of before for the whole way, and which command it names.
func TestGatedFlagsStops(t *testing.T) {
	for _, c := range []struct {
		from, stop, goal phase.Phase
		first, then      sweep.Kind // proves the step out of from, or out of the stop; proves the step out of the stop
	}{
		{phase.Guard, phase.Dual, phase.Settled, sweep.Purge, sweep.Backfill},
		{phase.Prefixed, phase.Sealed, phase.Dual, sweep.Cleanup, sweep.Cleanup},
		{phase.Drain, phase.Prefixed, phase.Prefixed, sweep.Cleanup, 0}, // a step of its own
	} {
		t.Run(c.from.String()+" "+c.goal.String(), func(t *testing.T) {
			server, ctx := redistest.Shared(t), t.Context()
			p := planOn(t, server)
			var log lockedBuffer
			var env environment
			env.setPhase(t, phase.FlagsCache, c.from)
			env.set(phase.CacheGated + "=0")
			r, err := rekey.Open(ctx, p, rekey.WithFlags(env.lookup), rekey.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
			must(t, err)
			defer func() { must(t, r.Close()) }()
			sweptIn := c.from
			if sweptIn.Parked() {
				sweptIn = c.stop
			}
			runSweep(t, server, p, c.first, sweptIn)
			if c.then != 0 {
				runSweep(t, server, p, c.then, c.stop)
			}
			env.setPhase(t, phase.FlagsCache, c.goal)
			must(t, r.ReloadFlags(ctx))
			if got := r.Phases()["sessions"]; got != c.stop {
				t.Fatalf("it is at %s, want %s", got, c.stop)
			}
			if c.then != 0 {
				must(t, r.ReloadFlags(ctx))
				if want := "rekey " + c.then.String() + " sessions --assume-phase " + c.stop.String(); strings.Count(log.String(), "goes no further") != 1 || !strings.Contains(log.String(), want) {
					t.Errorf("want one stop that names %q in\n%s", want, log.String())
				}
				runSweep(t, server, p, c.then, c.stop)
			}
			reached(t, r, map[string]phase.Phase{"sessions": c.goal})
		})
	}
}

// TestGatedFlagsAfterARestart: where a process begins that comes to others with the flags of a goal. They may be there
// already, on their way, or have gone back since the last proof.
func TestGatedFlagsAfterARestart(t *testing.T) {
	way := func(steps ...any) []any { return steps }
	for _, c := range []struct {
		name string
		rule string
		way  []any // phases that the others have entered, and sweeps, each in the phase before
		goal phase.Phase
		want phase.Phase
	}{
		{"hold", "limits", way(phase.Legacy, sweep.Purge, phase.Hold), phase.Hold, phase.Hold},
		{"hold, after a try", "limits", way(phase.Legacy, sweep.Purge, phase.Hold, phase.Move), phase.Hold, phase.Legacy},
		{"move", "limits", way(phase.Legacy, sweep.Purge, phase.Hold, phase.Move), phase.Move, phase.Move},
		{"move without a proof", "limits", way(phase.Legacy, phase.Hold), phase.Move, phase.Legacy},
		{"not relocated", "limits", way(phase.Legacy, sweep.Purge, phase.Hold, phase.Move), phase.Prefixed, phase.Move},
		{"relocated", "limits", way(phase.Legacy, sweep.Purge, phase.Hold, phase.Move, sweep.Relocate), phase.Prefixed, phase.Prefixed},
		{"hold since it was relocated", "limits", way(phase.Legacy, sweep.Purge, phase.Hold, phase.Move, sweep.Relocate, phase.Hold), phase.Prefixed, phase.Move},
		{"drain", "sessions", way(phase.Guard, sweep.Purge, phase.Dual, phase.Drain), phase.Drain, phase.Drain},
		{"not cleaned up in drain", "sessions", way(phase.Guard, sweep.Purge, phase.Dual, phase.Drain), phase.Prefixed, phase.Drain},
		{"cleaned up in drain", "sessions", way(phase.Guard, sweep.Purge, phase.Dual, phase.Drain, sweep.Cleanup), phase.Prefixed, phase.Prefixed},
		{"drain since the cleanup", "sessions", way(phase.Guard, sweep.Purge, phase.Dual, phase.Drain, sweep.Cleanup, phase.Drain), phase.Prefixed, phase.Drain},
		{"cleaned up", "sessions", way(phase.Guard, sweep.Purge, phase.Dual, sweep.Backfill, phase.Settled, phase.Sealed, sweep.Cleanup), phase.Prefixed, phase.Prefixed},
		{"not cleaned up", "sessions", way(phase.Guard, sweep.Purge, phase.Dual, sweep.Backfill, phase.Settled, phase.Sealed), phase.Prefixed, phase.Sealed},
		{"dual since the cleanup", "sessions", way(phase.Guard, sweep.Purge, phase.Dual, sweep.Backfill, phase.Sealed, sweep.Cleanup, phase.Dual), phase.Prefixed, phase.Dual},
		{"guard since the backfill", "sessions", way(phase.Guard, sweep.Purge, phase.Dual, sweep.Backfill, phase.Guard, sweep.Purge), phase.Settled, phase.Dual},
	} {
		t.Run(c.rule+" "+c.name, func(t *testing.T) {
			server, ctx := redistest.Shared(t), t.Context()
			p := planOn(t, server)
			flags := phase.FlagsCache
			if c.rule == "limits" {
				flags = phase.FlagsRL
			}
			open := func(goal phase.Phase, gated string) *rekey.Rekey {
				var env environment
				env.setPhase(t, flags, goal)
				env.set(phase.CacheGated + "=" + gated)
				r, err := rekey.Open(ctx, p, rekey.WithFlags(env.lookup))
				must(t, err)
				return r
			}
			var at phase.Phase
			for _, step := range c.way {
				if kind, ok := step.(sweep.Kind); ok {
					runSweepOn(t, server, p, c.rule, kind, at)
					continue
				}
				at = step.(phase.Phase)
				r := open(at, "0")
				reached(t, r, map[string]phase.Phase{c.rule: at})
				must(t, r.Close())
			}
			r := open(c.goal, "1")
			defer func() { must(t, r.Close()) }()
			if got := r.Phases()[c.rule]; got != c.want {
				t.Errorf("it begins in %v, want %v", got, c.want)
			}
		})
	}
}
