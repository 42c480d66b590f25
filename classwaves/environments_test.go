package classwaves_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves"
	"github.com/classwaves/rekey/classwaves/internal/phasefleet"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ttl"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// writeOneOfEach writes one key of each rule through a client, and returns the names that the application
// has for them: the cached query's first, the limiter's counter before the last.
func writeOneOfEach(t *testing.T, rdb redis.Cmdable, id string) []string {
	t.Helper()
	key := func(name string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	set := key(keys.TeacherSessions(id))
	names := []string{
		key(keys.QueryCache("session-list", id)), key(keys.QueryCacheLock("session-list", id)), key(keys.TagVersion("teacher:" + id)),
		key(keys.AnalyticsSession(id)), key(keys.AnalyticsGroup(id)), key(keys.AnalyticsDashboard(id)), key(keys.SecureSession(id)),
		key(keys.SessionAccessCode(id)), key(keys.AccessCode(id)), key(keys.CSRF(id)), key(keys.CSRFPrevious(id)), key(keys.RateLimit("auth", id)),
	}
	ctx := t.Context()
	for _, name := range names {
		if err := rdb.Set(ctx, name, "1", ttl.SecureSession).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := rdb.SAdd(ctx, set, id, "other").Err(); err != nil {
		t.Fatal(err)
	}
	return append(names, set)
}

// bytesOf are all names of a server that begin with a prefix, with the very bytes of their values and
// their expiry times.
func bytesOf(t *testing.T, rdb *redis.Client, prefix string) map[string]string {
	t.Helper()
	ctx := t.Context()
	out := make(map[string]string)
	for it := rdb.Scan(ctx, 0, prefix+"*", 100).Iterator(); it.Next(ctx); {
		dump, err := rdb.Dump(ctx, it.Val()).Result()
		if err != nil {
			t.Fatal(err)
		}
		out[it.Val()] = fmt.Sprintf("%q %d", dump, rdb.PExpireTime(ctx, it.Val()).Val())
	}
	return out
}

// TestTwoEnvironmentsInOneDatabase: production is at prefixed names, with the records of its own walk
// beside them. Staging, in the same database, is not let out of its first phases; with the operator's
// word it walks there and back, and not a byte of production's changes. What the legacy names hold is
// staging's then, which is what the word says.
func TestTwoEnvironmentsInOneDatabase(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Client()
	production := phasefleet.Start(t, server, "production", 1)
	writeOneOfEach(t, production.Members[0].Client, "theirs")
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		production.Walk(s, phase.Prefixed)
	}
	// Everything of an environment begins as its control records do.
	prefix := strings.TrimSuffix(production.Plan.ControlPrefix(), "rekey:")
	theirs := bytesOf(t, bare, prefix)
	control := 0
	for name := range theirs {
		if strings.HasPrefix(name, production.Plan.ControlPrefix()) {
			control++
		}
	}
	if rules := len(production.Plan.Rules); len(theirs)-control != rules || control == 0 {
		t.Fatalf("production has %d names, %d of them control records, want one key of each of %d rules", len(theirs), control, rules)
	}

	staging := phasefleet.Start(t, server, "staging", 2)
	ours := writeOneOfEach(t, staging.Members[0].Client, "ours")
	untouched := func() {
		t.Helper()
		now := bytesOf(t, bare, prefix)
		for name, was := range theirs {
			if now[name] != was {
				t.Fatalf("%v: production's %s was %s, is %s", staging.Phase(phase.Mirror), name, was, now[name])
			}
		}
		if len(now) != len(theirs) {
			t.Fatalf("production has %d names, had %d", len(now), len(theirs))
		}
	}

	// Refused: the first gate of each rule, by the sweeps.
	for s, at := range map[phase.Strategy]phase.Phase{phase.Mirror: phase.Guard, phase.Relocate: phase.Legacy} {
		for _, rule := range staging.RuleNames(s) {
			holds, reason := staging.Sweep(rule, phase.NoTarget, at)
			if holds || !strings.Contains(reason, `"production"`) || !strings.Contains(reason, "--claim-shared-legacy") {
				t.Errorf("rule %s: %v, %q, want a refusal that names production", rule, holds, reason)
			}
		}
	}
	untouched()

	// Claimed: there and back, through every gate.
	staging.Claim = true
	staging.Between = func() {
		for i, m := range staging.Members {
			for _, name := range ours {
				if n, err := m.Client.Exists(t.Context(), name).Result(); err != nil || n != 1 {
					t.Fatalf("%v, process %d: %s is there %d times, %v", staging.Phase(phase.Mirror), i, name, n, err)
				}
			}
			// A write of each kind meets nothing of production's either.
			if err := m.Client.Set(t.Context(), ours[0], staging.Phase(phase.Mirror).String(), ttl.QuerySessionDetail).Err(); err != nil {
				t.Fatal(err)
			}
			if err := m.Client.Incr(t.Context(), ours[11]).Err(); err != nil {
				t.Fatal(err)
			}
		}
		untouched()
	}
	for _, p := range []phase.Phase{phase.Prefixed, phase.Legacy} {
		for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
			staging.Walk(s, p)
		}
	}
	for i, name := range []string{"theirs", "ours"} {
		c := []*redis.Client{production.Members[0].Client, staging.Members[0].Client}
		session, err := keys.SecureSession(name)
		if err != nil {
			t.Fatal(err)
		}
		if own, other := c[i].Exists(t.Context(), session).Val(), c[1-i].Exists(t.Context(), session).Val(); own != 1 || other != 0 {
			t.Errorf("%s's session is there %d times for its own environment, %d for the other", name, own, other)
		}
	}
}

// TestWhatTheRefusalPrevents: production is still at legacy names, and only the record of a sweep tells
// of it. Claimed all the same, its session goes to staging.
func TestWhatTheRefusalPrevents(t *testing.T) {
	server := redistest.Shared(t)
	production := phasefleet.Start(t, server, "production", 1, "secure_sessions")
	session, err := keys.SecureSession("theirs")
	if err != nil {
		t.Fatal(err)
	}
	if err := production.Members[0].Client.Set(t.Context(), session, "theirs", ttl.SecureSession).Err(); err != nil {
		t.Fatal(err)
	}
	production.Walk(phase.Mirror, phase.Guard)
	if holds, reason := production.Sweep("secure_sessions", phase.NoTarget, phase.Guard); !holds {
		t.Fatal(reason) // and so it leaves a verdict behind
	}

	staging := phasefleet.Start(t, server, "staging", 1, "secure_sessions")
	if holds, _ := staging.Sweep("secure_sessions", phase.NoTarget, phase.Guard); holds {
		t.Error("production's record does not hold staging back")
	}
	staging.Claim = true
	staging.Walk(phase.Mirror, phase.Prefixed)
	if n := production.Members[0].Client.Exists(t.Context(), session).Val(); n != 0 {
		t.Error("production still has its session: there is nothing to prevent")
	}
}

// TestFlagsWaitForTheClaim: a gated process of the environment that shares its database stays in guard,
// says why once, and goes on when the operator has claimed the legacy names.
func TestFlagsWaitForTheClaim(t *testing.T) {
	server := redistest.Shared(t)
	production := phasefleet.StartAt(t, server, "production", 1, phase.Prefixed)
	writeOneOfEach(t, production.Members[0].Client, "theirs")

	p, err := classwaves.Plan("staging")
	if err != nil {
		t.Fatal(err)
	}
	if p.Server.URL, err = plan.ParseURL(server.URL()); err != nil {
		t.Fatal(err)
	}
	var said safeBuilder
	flags := newFlags(phase.CachePrefixEnabled, "0", phase.CacheDualWrite, "1", phase.CacheGated, "1")
	r, err := rekey.Open(t.Context(), p, rekey.WithFlags(flags.lookup), rekey.WithLogger(slog.New(slog.NewTextHandler(&said, nil))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	operator := phasefleet.Start(t, server, "staging", 0, "secure_sessions") // the sweeps of a fleet without members
	if holds, _ := operator.Sweep("secure_sessions", phase.NoTarget, phase.Guard); holds {
		t.Fatal("the gate holds although production has names")
	}
	flags.set(phase.CachePrefixEnabled, "1")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := r.ReloadFlags(ctx); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats().Rules["secure_sessions"]; s.Phase != phase.Guard || s.Wanted != phase.Dual || s.Held == 0 {
		t.Fatalf("the rule is at %v, wanted at %v, held %d times; want guard, dual, some", s.Phase, s.Wanted, s.Held)
	}
	if !strings.Contains(said.String(), "purge secure_sessions --assume-phase guard") {
		t.Errorf("said %s", said.String())
	}
	operator.Claim = true
	if holds, reason := operator.Sweep("secure_sessions", phase.NoTarget, phase.Guard); !holds {
		t.Fatal(reason)
	}
	redistest.WaitFor(t, 10*time.Second, func() bool { return r.Phases()["secure_sessions"] == phase.Dual })
	if got := r.Phases()["csrf"]; got != phase.Guard {
		t.Errorf("a rule that nobody claimed is at %v", got)
	}
}

// environmentFlags is an environment that changes.
type environmentFlags struct {
	mu     sync.Mutex
	values map[string]string
}

func newFlags(namesAndValues ...string) *environmentFlags {
	f := &environmentFlags{values: make(map[string]string)}
	for i := 0; i < len(namesAndValues); i += 2 {
		f.values[namesAndValues[i]] = namesAndValues[i+1]
	}
	return f
}

func (f *environmentFlags) set(name, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values[name] = value
}

func (f *environmentFlags) lookup(name string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	value, ok := f.values[name]
	return value, ok
}

// safeBuilder is a log.
type safeBuilder struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *safeBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuilder) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
