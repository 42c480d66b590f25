package rekey_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

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
	result, err := sweep.Run(t.Context(), sweep.Options{
		Client: server.Client(), Plan: p, Rule: "sessions", Kind: kind, Phase: in, Execute: true,
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

// TestGatedFlagsWithoutServer: a process whose server is down opens, in a phase that needs no proof.
func TestGatedFlagsWithoutServer(t *testing.T) {
	server := redistest.Start(t)
	p := planOn(t, server)
	server.Kill()
	var env environment
	env.set("CW_CACHE_PREFIX_ENABLED=1", "CW_CACHE_DUAL_WRITE=1", "CW_CACHE_GATED=1")
	began := time.Now()
	r, err := rekey.Open(t.Context(), p, rekey.WithFlags(env.lookup))
	must(t, err)
	defer func() { must(t, r.Close()) }()
	if got := r.Phases()["sessions"]; got != phase.Guard {
		t.Errorf("phase %s after %v, want guard", got, time.Since(began))
	}
}
