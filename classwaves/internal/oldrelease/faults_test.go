package oldrelease_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/internal/oldrelease"
	"github.com/classwaves/rekey/classwaves/internal/phasefleet"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ttl"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// Each fault of the old release is a pair of tests, or two halves of one: what its own flags give, and
// what the same program gives with its flags off over rekey, whatever phase the fleet is in and while it
// is mixed.

// inEveryPhase walks a fleet up to prefixed and back, through drain and through settled, and calls look
// at every moment between.
func inEveryPhase(f *phasefleet.Fleet, s phase.Strategy, look func()) {
	f.Between = look
	defer func() { f.Between = nil }()
	way := []phase.Phase{phase.Prefixed, phase.Legacy}
	if s == phase.Mirror {
		way = []phase.Phase{phase.Prefixed, phase.Drain, phase.Dual, phase.Drain, phase.Prefixed, phase.Legacy}
	}
	for _, p := range way {
		f.Walk(s, p)
	}
}

// processes are the old release with its flags off, one over each member.
func processes(f *phasefleet.Fleet) []*oldrelease.Process {
	var all []*oldrelease.Process
	for _, m := range f.Members {
		all = append(all, oldrelease.New(m.Client, environment, oldrelease.Old))
	}
	return all
}

func name(t testing.TB) func(string, error) string {
	return func(key string, err error) string {
		t.Helper()
		must(t, err)
		return key
	}
}

func members(t *testing.T, p *oldrelease.Process, key string) []string {
	t.Helper()
	all, err := p.Members(t.Context(), key)
	must(t, err)
	slices.Sort(all)
	return all
}

// After the switch the new set holds the newest member and hides the rest.
func TestSetHidesItsMembers(t *testing.T) {
	ctx := t.Context()
	key := name(t)(keys.TeacherSessions("ada"))
	want := []string{"a", "b", "c"}

	bare := redistest.Shared(t).Client()
	old, dual := oldrelease.New(bare, environment, oldrelease.Old), oldrelease.New(bare, environment, oldrelease.DualWrite)
	for _, m := range want[:2] {
		must(t, old.Add(ctx, key, m, ttl.TeacherSessions))
	}
	must(t, dual.Add(ctx, key, "c", ttl.TeacherSessions))
	if got := members(t, dual, key); !slices.Equal(got, []string{"c"}) {
		t.Errorf("the old release shows %q, the fault is %q", got, "c")
	}

	fleet := phasefleet.Start(t, redistest.Shared(t), environment, 3, "teacher_sessions")
	all := processes(fleet)
	for _, m := range want[:2] {
		must(t, all[0].Add(ctx, key, m, ttl.TeacherSessions))
	}
	fleet.Walk(phase.Mirror, phase.Dual)
	must(t, all[1].Add(ctx, key, "c", ttl.TeacherSessions))
	inEveryPhase(fleet, phase.Mirror, func() {
		for i, p := range all {
			if got := members(t, p, key); !slices.Equal(got, want) {
				t.Fatalf("%v, process %d: %q, want %q", fleet.Phase(phase.Mirror), i, got, want)
			}
		}
	})
}

// logins logs one teacher in again and again, through one process after the other, and returns how many
// sessions any of the readers accepts then.
func logins(t *testing.T, n int, login func(i int) *oldrelease.Process, readers ...*oldrelease.Process) int {
	t.Helper()
	for i := range n {
		must(t, login(i).Login(t.Context(), "ada", fmt.Sprint("session", i), i))
	}
	live := 0
	for i := range n {
		for _, r := range readers {
			ok, err := r.LoggedIn(t.Context(), fmt.Sprint("session", i))
			must(t, err)
			if ok {
				live++
				break
			}
		}
	}
	return live
}

// A mixed fleet lets a teacher have many more sessions than the limit of 3: each process enforces it on
// the set that it sees.
func TestSessionLimitOnAMixedFleet(t *testing.T) {
	const n = 40
	for _, c := range []struct {
		mix  []oldrelease.State
		want int // live sessions after n logins through one process after the other
	}{
		{[]oldrelease.State{oldrelease.Old}, oldrelease.MaxSessions},
		{[]oldrelease.State{oldrelease.Old, oldrelease.DualWrite}, 5},
		{[]oldrelease.State{oldrelease.Old, oldrelease.DualWrite, oldrelease.PrefixedOnly}, 5},
		{[]oldrelease.State{oldrelease.DualWrite, oldrelease.PrefixedOnly}, 22},
	} {
		bare := redistest.Shared(t).Client()
		var mixed []*oldrelease.Process
		for _, s := range c.mix {
			mixed = append(mixed, oldrelease.New(bare, environment, s))
		}
		got := logins(t, n, func(i int) *oldrelease.Process { return mixed[i%len(mixed)] }, mixed...)
		t.Logf("%v: %d live sessions after %d logins", c.mix, got, n)
		if got != c.want {
			t.Errorf("%v: %d live sessions, want %d", c.mix, got, c.want)
		}
	}

	fleet := phasefleet.Start(t, redistest.Shared(t), environment, 3, "teacher_sessions", "secure_sessions")
	all := processes(fleet)
	at, most := 0, 0
	inEveryPhase(fleet, phase.Mirror, func() {
		for range 2 * len(all) { // each process twice at every moment of the walk
			must(t, all[at%len(all)].Login(t.Context(), "ada", fmt.Sprint("session", at), at))
			at++
		}
		live := 0
		for i := range at {
			ok, err := all[0].LoggedIn(t.Context(), fmt.Sprint("session", i))
			must(t, err)
			if ok {
				live++
			}
		}
		most = max(most, live)
	})
	t.Logf("over rekey: at most %d live sessions in %d logins", most, at)
	if most != oldrelease.MaxSessions {
		t.Errorf("over rekey: at most %d live sessions, want %d", most, oldrelease.MaxSessions)
	}
}

// Logging out everywhere leaves the sessions that the new set hides.
func TestLogoutEverywhere(t *testing.T) {
	ctx := t.Context()
	bare := redistest.Shared(t).Client()
	old, dual := oldrelease.New(bare, environment, oldrelease.Old), oldrelease.New(bare, environment, oldrelease.DualWrite)
	must(t, old.Login(ctx, "ada", "a", 1))
	must(t, dual.Login(ctx, "ada", "b", 2))
	if _, err := dual.LogoutEverywhere(ctx, "ada"); err != nil {
		t.Fatal(err)
	}
	// The second login saw the old set, but from then on the new one is all that is seen.
	if left, err := dual.LoggedIn(ctx, "a"); err != nil || !left {
		t.Errorf("a is logged in: %v, %v; the fault is that it still is", left, err)
	}

	fleet := phasefleet.Start(t, redistest.Shared(t), environment, 3, "teacher_sessions", "secure_sessions")
	all := processes(fleet)
	at := 0
	inEveryPhase(fleet, phase.Mirror, func() {
		ids := []string{fmt.Sprint("a", at), fmt.Sprint("b", at)}
		must(t, all[at%3].Login(ctx, "ada", ids[0], 1))
		must(t, all[(at+1)%3].Login(ctx, "ada", ids[1], 2))
		_, err := all[(at+2)%3].LogoutEverywhere(ctx, "ada")
		must(t, err)
		for _, id := range ids {
			for _, p := range all {
				if left, err := p.LoggedIn(ctx, id); err != nil || left {
					t.Fatalf("%v: %s is logged in: %v, %v", fleet.Phase(phase.Mirror), id, left, err)
				}
			}
		}
		at++
	})
}

// Rebuilding a set from the new copy erases members from both.
func TestRebuildErasesMembers(t *testing.T) {
	ctx := t.Context()
	key := name(t)(keys.TeacherSessions("ada"))
	bare := redistest.Shared(t).Client()
	old, dual := oldrelease.New(bare, environment, oldrelease.Old), oldrelease.New(bare, environment, oldrelease.DualWrite)
	must(t, old.Login(ctx, "ada", "a", 1))
	must(t, old.Login(ctx, "ada", "b", 2))
	must(t, dual.Login(ctx, "ada", "c", 3))
	must(t, dual.Rebuild(ctx, "ada"))
	if got := members(t, old, key); !slices.Equal(got, []string{"c"}) {
		t.Errorf("the old release leaves %q under the legacy name, the fault is %q", got, "c")
	}

	fleet := phasefleet.Start(t, redistest.Shared(t), environment, 3, "teacher_sessions", "secure_sessions")
	all := processes(fleet)
	want := []string{"a", "b", "c"}
	for i, id := range want {
		must(t, all[i].Login(ctx, "ada", id, i))
	}
	at := 0
	inEveryPhase(fleet, phase.Mirror, func() {
		must(t, all[at%3].Rebuild(ctx, "ada"))
		at++
		for _, p := range all {
			if got := members(t, p, key); !slices.Equal(got, want) {
				t.Fatalf("%v: %q, want %q", fleet.Phase(phase.Mirror), got, want)
			}
		}
	})
}

// A code that an old process gives to another class still leads students of the other processes into the
// former one.
func TestReassignedCode(t *testing.T) {
	ctx := t.Context()
	bare := redistest.Shared(t).Client()
	old, dual := oldrelease.New(bare, environment, oldrelease.Old), oldrelease.New(bare, environment, oldrelease.DualWrite)
	must(t, dual.Assign(ctx, "CODE42", "former"))
	must(t, old.Assign(ctx, "CODE42", "present"))
	if got, _, err := dual.Resolve(ctx, "CODE42"); err != nil || got != "former" {
		t.Errorf("the code leads to %q, %v; the fault is the former class", got, err)
	}

	fleet := phasefleet.Start(t, redistest.Shared(t), environment, 3, "access_codes", "session_codes")
	all := processes(fleet)
	at := 0
	inEveryPhase(fleet, phase.Mirror, func() {
		session := fmt.Sprint("class", at)
		must(t, all[at%3].Assign(ctx, "CODE42", session))
		at++
		for i, p := range all {
			if got, _, err := p.Resolve(ctx, "CODE42"); err != nil || got != session {
				t.Fatalf("%v, process %d: the code leads to %q, %v, want %q", fleet.Phase(phase.Mirror), i, got, err, session)
			}
		}
		must(t, all[at%3].Release(ctx, session))
		for _, p := range all {
			if got, found, err := p.Resolve(ctx, "CODE42"); err != nil || found {
				t.Fatalf("%v: a released code leads to %q, %v", fleet.Phase(phase.Mirror), got, err)
			}
		}
	})
}

// The fill writes the legacy name only, so every read of a filled key is a fallback, for ever.
func TestFallbacksReachZero(t *testing.T) {
	ctx := t.Context()
	const reads = 20
	load := func() string { return "metrics" }
	for _, s := range []oldrelease.State{oldrelease.DualWrite, oldrelease.PrefixedOnly} {
		p := oldrelease.New(redistest.Shared(t).Client(), environment, s)
		for range reads + 1 { // the first one fills
			_, err := p.SessionMetrics(ctx, "class", load)
			must(t, err)
		}
		if got := p.LegacyFallbacks(); got != reads {
			t.Errorf("%v: %d fallbacks in %d reads, the fault is as many", s, got, reads)
		}
	}

	for _, at := range []phase.Phase{phase.Dual, phase.Drain} {
		fleet := phasefleet.Start(t, redistest.Shared(t), environment, 2, "session_analytics")
		all := processes(fleet)
		_, err := all[0].SessionMetrics(ctx, "before", load)
		must(t, err)
		fleet.Walk(phase.Mirror, at)
		for _, session := range []string{"before", "since"} {
			for i := range reads {
				_, err := all[i%2].SessionMetrics(ctx, session, load)
				must(t, err)
			}
		}
		var fallbacks uint64
		for _, m := range fleet.Members {
			fallbacks += m.Rekey.Stats().Rules["session_analytics"].Fallbacks
		}
		if fallbacks != 1 {
			t.Errorf("%v: %d fallbacks, want 1: the first read of what was there before", at, fallbacks)
		}
	}
}

// The sync job scans legacy names only.
func TestSyncFindsEverySession(t *testing.T) {
	ctx := t.Context()
	bare := oldrelease.New(redistest.Shared(t).Client(), environment, oldrelease.PrefixedOnly)
	must(t, bare.UpdateMetrics(ctx, "class", "live"))
	if got, err := bare.Sync(ctx); err != nil || len(got) != 0 {
		t.Errorf("the job finds %v, %v; the fault is nothing", got, err)
	}

	fleet := phasefleet.Start(t, redistest.Shared(t), environment, 3, "session_analytics")
	all := processes(fleet)
	want := make(map[string]string)
	at := 0
	inEveryPhase(fleet, phase.Mirror, func() {
		session := fmt.Sprint("class", at)
		want[session] = "live"
		must(t, all[at%3].UpdateMetrics(ctx, session, "live"))
		at++
		for i, p := range all {
			got, err := p.Sync(ctx)
			must(t, err)
			for session := range want {
				if got[session] != "live" {
					t.Fatalf("%v, process %d: the job does not find %s", fleet.Phase(phase.Mirror), i, session)
				}
			}
		}
	})
}

// A flip of the limiter's flag clears every block, and so does flipping it back.
func TestLimiterFlip(t *testing.T) {
	ctx := t.Context()
	limiter := func(p *oldrelease.Process, prefixed bool) oldrelease.Limiter {
		return oldrelease.Limiter{Process: p, Prefixed: prefixed, Points: 5, Window: time.Hour, Block: time.Hour}
	}
	bare := oldrelease.New(redistest.Shared(t).Client(), environment, oldrelease.Old)
	passed := 0
	for _, prefixed := range []bool{false, true} {
		for range 10 {
			ok, err := limiter(bare, prefixed).Take(ctx, "auth", "192.0.2.1")
			must(t, err)
			if ok {
				passed++
			}
		}
	}
	if passed != 10 {
		t.Errorf("%d of 20 hits pass over one flip, the fault is 10 with a limit of 5", passed)
	}

	server := redistest.Shared(t)
	fleet := phasefleet.Start(t, server, environment, 3, "rate_limits")
	key := name(t)(keys.RateLimit("auth", "192.0.2.1"))
	passed = 0
	hit := func() {
		for i, p := range processes(fleet) {
			ok, err := limiter(p, false).Take(ctx, "auth", "192.0.2.1")
			must(t, err)
			if ok {
				passed++
			}
			if left := fleet.Members[i].Client.PTTL(ctx, key).Val(); left <= 59*time.Minute {
				t.Fatalf("%v: the block lasts %v more", fleet.Phase(phase.Relocate), left)
			}
		}
	}
	hit()
	inEveryPhase(fleet, phase.Relocate, hit)
	if passed != 5 {
		t.Errorf("%d hits pass, want 5", passed)
	}
}

// Two identifiers become one key; package keys refuses the one that cannot stand in a name.
func TestIdentifiersStayApart(t *testing.T) {
	if oldrelease.Identifier("a:b") != oldrelease.Identifier("a_b") {
		t.Error("a:b and a_b are two keys, the fault is one")
	}
	var invalid *keys.InvalidError
	if _, err := keys.SecureSession("a:b"); !errors.As(err, &invalid) {
		t.Errorf("a:b in a name: %v, want an InvalidError", err)
	}
	if got := name(t)(keys.SecureSession("a_b")); got == name(t)(keys.SecureSession("a-b")) {
		t.Error("two identifiers have one name")
	}
}
