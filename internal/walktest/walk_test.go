package walktest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

const (
	secondsVariable = "REKEY_WALK_SECONDS" // how long each route is repeated; unset: once
	seedVariable    = "REKEY_WALK_SEED"
)

var (
	settledWalk = []phase.Phase{phase.Legacy, phase.Guard, phase.Dual, phase.Settled, phase.Sealed, phase.Prefixed,
		phase.Sealed, phase.Settled, phase.Dual, phase.Guard, phase.Legacy}
	sealedWalk = []phase.Phase{phase.Legacy, phase.Guard, phase.Dual, phase.Sealed, phase.Prefixed,
		phase.Sealed, phase.Dual, phase.Guard, phase.Legacy}
	drainWalk = []phase.Phase{phase.Legacy, phase.Guard, phase.Dual, phase.Drain, phase.Sealed, phase.Prefixed,
		phase.Sealed, phase.Drain, phase.Dual, phase.Guard, phase.Legacy}
	shortDrainWalk = []phase.Phase{phase.Legacy, phase.Guard, phase.Dual, phase.Drain, phase.Prefixed,
		phase.Drain, phase.Dual, phase.Guard, phase.Legacy}
	moveWalk = []phase.Phase{phase.Legacy, phase.Hold, phase.Move, phase.Prefixed, phase.Move, phase.Hold, phase.Legacy}
)

// TestWalk takes a fleet up and down every route, twice where the time is given: the second walk up
// finds what the first walk down left.
func TestWalk(t *testing.T) {
	for _, tt := range []struct {
		name   string
		routes []route
	}{
		{"mirror through settled", []route{{"mirror", settledWalk}}},
		{"mirror from dual to sealed", []route{{"mirror", sealedWalk}}},
		{"mirror through drain", []route{{"mirror", drainWalk}}},
		{"mirror from drain to prefixed", []route{{"mirror", shortDrainWalk}}},
		{"move", []route{{"move", moveWalk}}},
		{"both at once", []route{{"mirror", settledWalk}, {"move", moveWalk}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			repeat(t, func(t *testing.T, seed uint64) { walkOnce(t, seed, tt.routes) })
		})
	}
}

func walkOnce(t *testing.T, seed uint64, routes []route) {
	t.Helper()
	began := time.Now()
	server := redistest.Shared(t)
	bare := server.Conn()
	bare.Do("CONFIG", "RESETSTAT")
	f := newFleet(t, server, seed, direct(server), routes...)
	tr := newTraffic(t, seed, kinds(), prefixes(routes)...)
	tr.pairs = true
	begin(t, f, tr, routes)
	if err := f.walk(t.Context(), tr, routes...); err != nil {
		t.Errorf("walk: %v", err)
	}
	if err := tr.end(); err != nil {
		t.Errorf("traffic: %v", err)
	}
	walked := time.Since(began)
	tr.check(t)
	if n := f.divergences(); n > 0 {
		t.Errorf("%d divergences between the two replies of a replayed write, want 0", n)
	}
	stats := string(bare.Do("INFO", "commandstats").Str)
	if strings.Contains(stats, "cmdstat_keys:") || !strings.Contains(stats, "cmdstat_get:") {
		t.Errorf("nobody here sends KEYS, and the server was asked:\n%s", stats)
	}
	t.Logf("seed %d: %d operations (%d optimistic transactions aborted) in %v, judged in %v",
		seed, tr.done.Load(), tr.aborted.Load(), walked.Round(time.Millisecond), (time.Since(began) - walked).Round(time.Millisecond))
}

// begin makes the keys, what must not be seen beside them, and the traffic.
func begin(t *testing.T, f *fleet, tr *traffic, routes []route) {
	t.Helper()
	if err := tr.create(f.any()); err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		if err := f.plant(t.Context(), tr, r.rule, r.phases); err != nil {
			t.Fatal(err)
		}
	}
	tr.start(f.clients())
}

func prefixes(routes []route) (out []string) {
	for _, r := range routes {
		out = append(out, r.rule)
	}
	return out
}

// repeat runs a walk once, and for as long as is asked for.
func repeat(t *testing.T, walk func(t *testing.T, seed uint64)) {
	t.Helper()
	end := time.Now().Add(seconds(t))
	for again := true; again; again = !t.Failed() && time.Now().Before(end) {
		t.Run("", func(t *testing.T) { walk(t, seedOf(t)) })
	}
}

// seconds is how long a test repeats itself.
func seconds(t *testing.T) time.Duration {
	t.Helper()
	text, ok := os.LookupEnv(secondsVariable)
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", secondsVariable, err)
	}
	return time.Duration(n) * time.Second
}

// seedOf gives a seed, another at each call unless one is asked for, and prints it.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text, ok := os.LookupEnv(seedVariable); ok {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
	}
	t.Logf("seed %d; repeat it with %s=%d", seed, seedVariable, seed)
	return seed
}
