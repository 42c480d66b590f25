package cli

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// bench is a plan and a server for the commands that change keys.
type bench struct {
	t      *testing.T
	server *redistest.Server
	c      *redis.Client
	path   string
}

func newBench(t *testing.T) *bench {
	s := redistest.Shared(t)
	return &bench{t, s, s.Client(), planFile(t, cliPlan)}
}

func (b *bench) run(code int, args ...string) cliRun {
	b.t.Helper()
	return mustExit(b.t, code, runCLI(b.t, nil, append(args, "-f", b.path, "--redis", b.server.URL())...))
}

func (b *bench) set(words ...any) {
	b.t.Helper()
	if err := b.c.Do(b.t.Context(), words...).Err(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) get(name string) string { return b.c.Get(b.t.Context(), name).Val() }

// TestWalkByHand goes with the sweeps alone from legacy to prefixed and half of the way back, as an
// operator without a fleet does.
func TestWalkByHand(t *testing.T) {
	b := newBench(t)
	b.set("SET", "secure_session:a", "1")
	b.set("SET", "secure_session:b", "2")
	b.set("SET", "rl:auth:x", "7")
	b.set("SET", "cw:prod:secure_session:b", "stale")

	run := b.run(exitGate, "purge", "sessions", "--assume-phase", "guard")
	if b.get("cw:prod:secure_session:b") != "stale" || !strings.Contains(run.stdout, "dry run") {
		t.Fatalf("a dry purge: %q", run.stdout)
	}
	b.run(exitDone, "purge", "--all", "--assume-phase", "legacy", "--execute")
	b.run(exitDone, "purge", "sessions", "--assume-phase", "guard")
	b.run(exitDone, "backfill", "sessions", "--assume-phase", "dual")
	b.run(exitDone, "verify", "sessions", "--assume-phase", "settled")
	b.run(exitGate, "cleanup", "sessions", "--assume-phase", "sealed")
	b.run(exitDone, "cleanup", "sessions", "--assume-phase", "sealed", "--execute")
	b.run(exitDone, "cleanup", "sessions", "--assume-phase", "sealed")
	b.run(exitDone, "relocate", "--all", "--assume-phase", "move")
	b.run(exitDone, "reverse", "sessions", "--assume-phase", "dual")
	for name, want := range map[string]string{
		"secure_session:a": "1", "cw:prod:secure_session:b": "2", "secure_session:b": "2", "cw:prod:rl:auth:x": "7", "rl:auth:x": "",
	} {
		if got := b.get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// A program finds lists where there may be something, in a phase in which the sweep proves nothing too.
func TestSweepWithoutGatesInJSON(t *testing.T) {
	b := newBench(t)
	run := b.run(exitDone, "verify", "sessions", "--assume-phase", "sealed", "--json")
	if o := objects(t, run.stdout); o[0]["gates"] == nil || o[0]["problems"] == nil {
		t.Errorf("got %v", o[0])
	}
}

// What to try leads to the phase, whichever side of it the fleet is on, and never to what was refused.
func TestSweepRefusalsLeadOn(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct{ line, try string }{
		{"backfill sessions --assume-phase guard", "rekey advance sessions --to dual, or --assume-phase dual without a fleet, when every process is there"},
		{"backfill sessions --assume-phase settled", "rekey rollback sessions --to dual, or --assume-phase dual"},
		{"purge sessions --assume-phase dual", "rekey rollback sessions --to guard, or --assume-phase guard"},
		{"cleanup sessions --assume-phase settled", "rekey advance sessions --to sealed, or --assume-phase sealed"},
		{"cleanup sessions --undo --assume-phase prefixed", "rekey rollback sessions --to sealed, or --assume-phase sealed"},
		{"cleanup sessions --remove-strays --assume-phase drain", "rekey advance sessions --to sealed, or --assume-phase sealed"},
		{"verify sessions --repair --assume-phase sealed", "rekey rollback sessions --to settled, or --assume-phase settled"},
		{"reverse sessions --assume-phase drain", "rekey rollback sessions --to dual, or --assume-phase dual"},
		{"verify sessions --assume-phase dual --sample NaN", "--sample 0.01"},
		{"verify sessions --assume-phase dual --sample -1", "--sample 0.01"},
		{"backfill sessions --assume-phase dual --rate NaN", "--rate 1000"},
		{"backfill sessions --assume-phase dual --nice Inf", "--nice 1"},
		{"backfill sessions --assume-phase dual --batch -1", "--batch 500"},
		{"knob sessions --rate NaN", "--rate 1000"},
		{"knob sessions --nice Inf", "--nice 1"},
	} {
		run := b.run(exitUsage, strings.Fields(c.line)...)
		if _, try, _ := strings.Cut(run.stderr, "\nTry: "); !strings.HasPrefix(try, c.try) {
			t.Errorf("rekey %s: got %s, want to try %q", c.line, run.stderr, c.try)
		}
	}
}

// What holds up a sweep of a rule that the fleet's records know comes with what to do about it.
func TestSweepWithoutInstances(t *testing.T) {
	b := newBench(t)
	b.run(exitDone, "restore-phase", "sessions", "--phase", "dual")
	run := b.run(exitFailed, "verify", "sessions")
	if !strings.Contains(run.stderr, "no instance in the fleet\nTry: start the applications, or rekey run --no-instances") {
		t.Errorf("got %s", run.stderr)
	}
}

// Another environment in the same database holds the first gate until its operator's word is given.
func TestClaimSharedLegacy(t *testing.T) {
	b := newBench(t)
	b.set("SET", "cw:staging:secure_session:a", "theirs")
	b.set("SET", "secure_session:a", "whose?")
	purge := []string{"purge", "sessions", "--assume-phase", "guard", "--execute"}
	run := b.run(exitGate, purge...)
	if !strings.Contains(run.stdout, `environment "staging" has names`) || !strings.Contains(run.stdout, "--claim-shared-legacy") {
		t.Errorf("got %s", run.stdout)
	}
	if run := b.run(exitDone, append(purge, "--claim-shared-legacy")...); !strings.Contains(run.stdout, "claimed although") {
		t.Errorf("got %s", run.stdout)
	}
	adopt := []string{"adopt", "sessions", "--reads", "target", "--leave", "prefixed", "--execute", "--assume-stopped"}
	if run := b.run(exitGate, adopt...); !strings.Contains(run.stderr, "Try: give each environment a database") {
		t.Errorf("got %s", run.stderr)
	}
	b.run(exitDone, append(adopt, "--claim-shared-legacy")...)
	if got := b.get("cw:prod:secure_session:a"); got != "whose?" {
		t.Errorf("the claimed key is %q", got)
	}
	if got := b.get("cw:staging:secure_session:a"); got != "theirs" {
		t.Errorf("staging's key is %q", got)
	}
}

// Differences end verify with 1, and identifiers are shown only on demand.
func TestVerifyHidesNames(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"token1", "token2"} {
		b.set("SET", "secure_session:"+id, "1")
		b.set("SET", "cw:prod:secure_session:"+id, "2")
	}
	verify := []string{"verify", "sessions", "--assume-phase", "dual"}
	run := b.run(exitFailed, verify...)
	if strings.Contains(run.stdout+run.stderr, "token") || !strings.Contains(run.stdout, "secure_session:{id} -> cw:prod:secure_session:{id}") {
		t.Errorf("got %s", run.stdout)
	}
	if run := b.run(exitFailed, append(verify, "--show-keys")...); !strings.Contains(run.stdout, `"secure_session:token1" -> "cw:prod:secure_session:token1"`) {
		t.Errorf("with --show-keys got %s", run.stdout)
	}
	run = b.run(exitFailed, append(verify, "--json")...)
	o := objects(t, run.stdout)
	if len(o) != 1 || o[0]["type"] != "result" || o[0]["kind"] != "verify" || o[0]["rule"] != "sessions" || strings.Contains(run.stdout, "token") {
		t.Errorf("got %s", run.stdout)
	}
	b.run(exitFailed, append(verify, "--repair")...) // would
	b.run(exitFailed, append(verify, "--repair", "--execute")...)
	b.run(exitDone, verify...)
}

func TestAdoptCommand(t *testing.T) {
	b := newBench(t)
	b.set("SET", "secure_session:token1", "old")
	b.set("SET", "cw:prod:secure_session:token1", "new")
	b.set("SET", "cw:prod:secure_session:token2", "alone")
	adopt := []string{"adopt", "sessions", "--reads", "target"}
	run := b.run(exitDone, adopt...)
	if !strings.Contains(run.stdout, "1 keys with two names that differ") || strings.Contains(run.stdout, "token") || b.get("secure_session:token1") != "old" {
		t.Fatalf("a dry run: %s", run.stdout)
	}
	// The client of this test is a writer that nobody has stopped.
	run = b.run(exitGate, append(adopt, "--execute")...)
	if !strings.Contains(run.stderr, "user default") || !strings.Contains(run.stderr, "--assume-stopped") || b.get("secure_session:token1") != "old" {
		t.Fatalf("with a client connected: %s", run.stderr)
	}
	o := objects(t, b.run(exitDone, append(adopt, "--execute", "--assume-stopped", "--json")...).stdout)
	if len(o) != 1 || o[0]["type"] != "result" || o[0]["moved"] != 1.0 || o[0]["replaced"] != 1.0 || o[0]["dropped"] != 0.0 {
		t.Errorf("got %v", o)
	}
	for name, want := range map[string]string{"secure_session:token1": "new", "secure_session:token2": "alone", "cw:prod:secure_session:token1": "", "cw:prod:secure_session:token2": ""} {
		if got := b.get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	b.run(exitDone, "purge", "sessions", "--assume-phase", "legacy")
}

// A process that flags lead, and that waits for gates, begins at prefixed only where that is proven: the command that an
// adoption names proves it. In guard it would not see the keys that were left under their target names.
func TestAdoptionNamesItsProof(t *testing.T) {
	b := newBench(t)
	b.set("SET", "secure_session:a", "v")
	b.set("SET", "rl:auth:x", "7")
	p, err := plan.Load(b.path)
	if err != nil {
		t.Fatal(err)
	}
	p.Server.URL = plan.URL(b.server.URL())
	env := map[string]string{"CW_CACHE_GATED": "1"}
	for _, f := range []phase.Flags{phase.FlagsCache, phase.FlagsRL} {
		settings, err := phase.ToFlags(f, phase.Prefixed)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range settings {
			if !s.Unset {
				env[s.Name] = s.Value
			}
		}
	}
	begins := func() map[string]phase.Phase {
		r, err := rekey.Open(t.Context(), p, rekey.WithFlags(func(name string) (string, bool) { v, ok := env[name]; return v, ok }))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		return r.Phases()
	}
	for _, c := range []struct {
		rule, proof string
	}{
		{"sessions", "cleanup sessions --assume-phase sealed"},
		{"limits", "relocate limits --assume-phase move"},
	} {
		run := b.run(exitDone, "adopt", c.rule, "--reads", "legacy", "--leave", "prefixed", "--execute", "--assume-stopped")
		if !strings.Contains(run.stdout, "rekey "+c.proof+",") {
			t.Errorf("%s is not told of: %s", c.proof, run.stdout)
		}
		b.run(exitDone, strings.Fields(c.proof)...)
		if at := begins()[c.rule]; at != phase.Prefixed {
			t.Errorf("behind rekey %s a process begins rule %s at %v", c.proof, c.rule, at)
		}
	}
}

// An instance begins where the fleet's record says, and would find no key there: an adoption leaves a rule at
// no other phase.
func TestAdoptMindsTheRecord(t *testing.T) {
	b := newBench(t)
	b.set("SET", "cw:prod:secure_session:token1", "new")
	b.run(exitDone, "restore-phase", "sessions", "--phase", "sealed")
	adopt := []string{"adopt", "sessions", "--reads", "target", "--assume-stopped"}
	if run := b.run(exitDone, adopt...); !strings.Contains(run.stdout, "note: the fleet's record has rule sessions at sealed") {
		t.Errorf("a dry run says nothing of the record:\n%s", run.stdout)
	}
	for _, c := range []struct{ leave, try string }{
		{"legacy", "rekey rollback sessions"},
		{"prefixed", "rekey run sessions"},
	} {
		run := b.run(exitGate, append(adopt, "--execute", "--leave", c.leave)...)
		for _, want := range []string{"at sealed", "Try: " + c.try, "rekey restore-phase sessions --phase " + c.leave} {
			if !strings.Contains(run.stderr, want) {
				t.Errorf("--leave %s: no %q in %s", c.leave, want, run.stderr)
			}
		}
	}
	if b.get("cw:prod:secure_session:token1") != "new" || b.get("secure_session:token1") != "" {
		t.Fatal("a key was moved away from where the record says that it is")
	}
	b.run(exitDone, "restore-phase", "sessions", "--phase", "legacy")
	b.run(exitDone, append(adopt, "--execute")...)
	if got := b.get("secure_session:token1"); got != "new" {
		t.Errorf("at legacy the key is %q, want new", got)
	}
}

// Nobody adopts keys while a controller walks them: a walk with --no-instances has no client that could be seen.
func TestAdoptTakesTheLock(t *testing.T) {
	b := newBench(t)
	b.set("SET", "cw:prod:secure_session:token1", "new")
	p, err := plan.Load(b.path)
	if err != nil {
		t.Fatal(err)
	}
	client := b.server.Client(func(o *redis.Options) { o.ClientName = fleet.ClientName })
	c, err := control.Open(t.Context(), p, control.Options{Client: client, Owner: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // it is the one that was opened last
	adopt := []string{"adopt", "sessions", "--reads", "target", "--assume-stopped"}
	b.run(exitDone, adopt...)
	if run := b.run(exitFailed, append(adopt, "--execute")...); !strings.Contains(run.stderr, "anna walks the fleet") {
		t.Errorf("got %s", run.stderr)
	}
	if got := b.get("secure_session:token1"); got != "" {
		t.Error("a key was moved while somebody else controls the fleet")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	b.run(exitDone, append(adopt, "--execute")...)
	if c, err = control.Open(t.Context(), p, control.Options{Client: client}); err != nil {
		t.Fatalf("the adoption has kept the lock: %v", err)
	}
}

// Whom an audit lets pass an adoption lets pass too: a network of the plan, and rekey's own clients.
func TestAdoptAsksWhoIsConnected(t *testing.T) {
	b := newBench(t)
	b.path = planFile(t, cliPlan+"audit: {allow: [127.0.0.0/8, exporter]}\n")
	own := b.server.Client(func(o *redis.Options) { o.ClientName = fleet.ClientName })
	for _, c := range []*redis.Client{b.c, own} {
		if err := c.Ping(t.Context()).Err(); err != nil { // it is connected
			t.Fatal(err)
		}
	}
	adopt := []string{"adopt", "sessions", "--reads", "target", "--execute"}
	b.run(exitDone, adopt...)
	b.path = planFile(t, cliPlan+"audit: {allow: [10.0.0.0/8]}\n")
	if run := b.run(exitGate, adopt...); !strings.Contains(run.stderr, "1 client connected") || !strings.Contains(run.stderr, "of user default") {
		t.Errorf("got %s", run.stderr)
	}
}
