package rekey_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
	"github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) { redistest.Main(m) }

const testPlan = `
version: 1
environment: test
rules:
  - {name: sessions, legacy: "secure_session:{id}", target: "cw:{env}:secure_session:{id}", strategy: mirror, flags: cache}
  - {name: limits, legacy: "rl:{name}:{subject...}", target: "cw:{env}:rl:{name}:{subject...}", strategy: move, flags: rl}
`

func loadPlan(t testing.TB, text string) *plan.Plan {
	t.Helper()
	p, err := plan.Parse("test.yaml", []byte(text), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// open makes an instance and a go-redis client over it.
func open(t testing.TB, server *redistest.Server, opts ...rekey.Option) (*rekey.Rekey, *redis.Client) {
	t.Helper()
	r, err := rekey.Open(t.Context(), loadPlan(t, testPlan), opts...)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: r.Dialer(nil), MaxRetries: -1})
	t.Cleanup(func() {
		_ = rdb.Close()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, rdb
}

// TestWalk takes a session and a limiter's counter from legacy to prefixed names and back, under one
// client that knows nothing of it.
func TestWalk(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Client()
	source := rekey.NewManual(nil)
	r, rdb := open(t, server, rekey.WithSource(source))
	ctx := t.Context()

	must(t, bare.Set(ctx, "secure_session:a", "old", time.Hour).Err())
	must(t, bare.Set(ctx, "rl:auth:1.2.3.4", "1", time.Hour).Err())
	there := []map[string]phase.Phase{
		{"sessions": phase.Guard, "limits": phase.Hold},
		{"sessions": phase.Dual, "limits": phase.Move},
		{"sessions": phase.Sealed},
	}
	for i, step := range there {
		source.Set(step)
		reached(t, r, step)
		if got, want := rdb.Get(ctx, "secure_session:a").Val(), "old"; got != want {
			t.Fatalf("step %d: session %q, want %q", i, got, want)
		}
		if got, want := rdb.Incr(ctx, "rl:auth:1.2.3.4").Val(), int64(2+i); got != want {
			t.Fatalf("step %d: counter %d, want %d", i, got, want)
		}
	}
	must(t, rdb.Set(ctx, "secure_session:a", "new", time.Hour).Err())
	if got, want := bare.Keys(ctx, "*").Val(), []string{"cw:test:rl:auth:1.2.3.4", "cw:test:secure_session:a"}; !sameSet(got, want) {
		t.Fatalf("keys %q, want %q", got, want)
	}
	back := map[string]phase.Phase{"sessions": phase.Legacy, "limits": phase.Legacy}
	source.Set(back)
	reached(t, r, back)
	if got := rdb.Incr(ctx, "rl:auth:1.2.3.4").Val(); got != 1 {
		t.Fatalf("a counter at legacy without its sweep is %d, want 1: the gate is the operator's", got)
	}
	s := r.Stats().Rules["sessions"]
	if s.Fallbacks != 1 || s.Divergences != 0 {
		t.Errorf("fallbacks %d, divergences %d; want 1, 0", s.Fallbacks, s.Divergences)
	}
}

func reached(t *testing.T, r *rekey.Rekey, want map[string]phase.Phase) {
	t.Helper()
	redistest.WaitFor(t, fleetWithin, func() bool {
		now := r.Phases()
		for rule, p := range want {
			if now[rule] != p {
				return false
			}
		}
		return true
	})
	ctx, cancel := context.WithTimeout(t.Context(), fleetWithin)
	defer cancel()
	must(t, r.WaitReached(ctx))
}

func sameSet(a, b []string) bool {
	in := make(map[string]int)
	for _, s := range a {
		in[s]++
	}
	for _, s := range b {
		in[s]--
	}
	for _, n := range in {
		if n != 0 {
			return false
		}
	}
	return true
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestBlockingFollows: a command that waits on the server under legacy is woken by a phase change and
// finds what comes under the phases of then.
func TestBlockingFollows(t *testing.T) {
	server := redistest.Shared(t)
	source := rekey.NewManual(nil)
	r, rdb := open(t, server, rekey.WithSource(source))
	type result struct {
		values []string
		err    error
	}
	done := make(chan result, 1)
	go func() {
		v, err := rdb.BLPop(context.Background(), 0, "secure_session:q").Result()
		done <- result{v, err}
	}()
	bare := server.Client()
	redistest.WaitFor(t, fleetWithin, func() bool { return blocked(t, bare) == 1 })
	source.Set(map[string]phase.Phase{"sessions": phase.Prefixed})
	reached(t, r, map[string]phase.Phase{"sessions": phase.Prefixed})
	redistest.WaitFor(t, fleetWithin, func() bool { return blocked(t, bare) == 1 })
	must(t, bare.RPush(t.Context(), "cw:test:secure_session:q", "v").Err())
	got := <-done
	if got.err != nil || len(got.values) != 2 || got.values[0] != "secure_session:q" || got.values[1] != "v" {
		t.Fatalf("got %q, %v", got.values, got.err)
	}
}

func blocked(t *testing.T, bare *redis.Client) int {
	t.Helper()
	info, err := bare.InfoMap(t.Context(), "clients").Result()
	must(t, err)
	if info["Clients"]["blocked_clients"] == "1" {
		return 1
	}
	return 0
}

func TestOpenRefuses(t *testing.T) {
	p := loadPlan(t, testPlan)
	env := func(string) (string, bool) { return "1", true }
	tests := []struct {
		name string
		opts []rekey.Option
		is   error
		as   any
	}{
		{"no source of phases", nil, rekey.ErrOptions, nil},
		{"two sources", []rekey.Option{rekey.WithPhases(nil), rekey.WithFlags(env)}, rekey.ErrOptions, nil},
		{"a phase of another strategy", []rekey.Option{rekey.WithPhases(map[string]phase.Phase{"sessions": phase.Hold})}, nil, new(*rekey.PhaseError)},
		{"a rule that is not there", []rekey.Option{rekey.WithPhases(map[string]phase.Phase{"nosuch": phase.Dual})}, nil, new(*rekey.PhaseError)},
		{"flags that choose no phase", []rekey.Option{rekey.WithFlags(env)}, nil, new(*rekey.FlagsError)},
	}
	for _, tt := range tests {
		_, err := rekey.Open(t.Context(), p, tt.opts...)
		if tt.is != nil && !errors.Is(err, tt.is) || tt.as != nil && !errors.As(err, tt.as) || err == nil || err.Error()[:6] != "rekey:" {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestFlags(t *testing.T) {
	env := map[string]string{"CW_CACHE_DUAL_WRITE": "1"}
	r, err := rekey.Open(t.Context(), loadPlan(t, testPlan), rekey.WithFlags(func(k string) (string, bool) { v, ok := env[k]; return v, ok }))
	must(t, err)
	defer func() { must(t, r.Close()) }()
	if got := r.Phases()["sessions"]; got != phase.Guard {
		t.Errorf("phase %s, want guard", got)
	}
	env["CW_CACHE_PREFIX_ENABLED"] = "1"
	env["CW_RL_PREFIX_ENABLED"] = "1"
	must(t, r.ReloadFlags(t.Context()))
	if got := r.Phases(); got["sessions"] != phase.Dual || got["limits"] != phase.Move {
		t.Errorf("phases %v, want dual and move", got)
	}
	env["CW_CACHE_LEGACY_GONE"] = "1"
	if err := r.ReloadFlags(t.Context()); !errors.As(err, new(*phase.FlagError)) {
		t.Errorf("error %v, want one that names the flags", err)
	}
	if got := r.Phases()["sessions"]; got != phase.Dual {
		t.Errorf("phase %s after flags that choose none, want dual as before", got)
	}
}

// TestStaleConnectionsAreNoticed: after the server was restarted a pooled connection is found dead
// before it is used, as with a bare dialer.
func TestStaleConnectionsAreNoticed(t *testing.T) {
	server := redistest.Start(t)
	_, rdb := open(t, server, rekey.WithPhases(map[string]phase.Phase{"limits": phase.Move}))
	ctx := t.Context()
	big := string(make([]byte, 1<<20))
	must(t, rdb.Set(ctx, "rl:big:x", big, 0).Err())
	for range 20 { // an answer that fills many reads leaves nothing unread behind it
		if got := len(rdb.Get(ctx, "rl:big:x").Val()); got != len(big) {
			t.Fatalf("%d bytes, want %d", got, len(big))
		}
	}
	if s := rdb.PoolStats(); s.StaleConns != 0 || s.TotalConns != 1 {
		t.Errorf("%d connections, of which %d were given up; want 1 and 0", s.TotalConns, s.StaleConns)
	}
	server.Restart()
	must(t, rdb.Set(ctx, "rl:a:x", "x", 0).Err())
	if s := rdb.PoolStats(); s.StaleConns != 1 {
		t.Errorf("%d stale connections were noticed, want 1", s.StaleConns)
	}
}
