package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// walkPlan has leases and answers that a busy machine does not outlast, renewals that a test can wait for, and no soak worth
// the name.
const walkPlan = `version: 1
environment: prod
control_prefix: "cw:{env}:rekey:"
server: {url: "%s"}
fleet: {lease: 20s, renew: 3s, margin: 500ms}
soak: 300ms
audit: {allow: [tester]}
rules:
  - {name: sessions, legacy: "secure_session:{id}", target: "cw:{env}:secure_session:{id}", strategy: mirror, flags: cache}
  - {name: limits, legacy: "rl:{name}:{subject...}", target: "cw:{env}:rl:{name}:{subject...}", strategy: move, flags: rl}
`

// walked is a real fleet on a real server, with traffic whose every reply is checked.
type walked struct {
	*bench
	plan  *plan.Plan
	stop  context.CancelFunc
	work  sync.WaitGroup
	count []int64 // by client, what its own counter must be
}

const walkedKeys = 300

func newWalked(t *testing.T, instances int) *walked {
	t.Helper()
	server := redistest.Start(t)
	text := fmt.Sprintf(walkPlan, server.URL())
	p, err := plan.Parse("rekey.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	bare := server.Client(func(o *redis.Options) { o.ClientName = "tester" })
	w := &walked{bench: &bench{t, server, bare, planFile(t, text)}, plan: p, count: make([]int64, instances)}
	for i := range walkedKeys {
		w.set("SET", fmt.Sprintf("secure_session:%d", i), i)
		w.set("SET", fmt.Sprintf("rl:auth:%d", i), i)
	}
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	for i := range instances {
		w.join(ctx, i)
	}
	t.Cleanup(func() { stop(); w.work.Wait() })
	if instances > 0 {
		w.allSay(instances)
	}
	return w
}

// allSay waits until all instances have said where they are, which they do a moment after they have joined.
func (w *walked) allSay(instances int) {
	w.t.Helper()
	redistest.WaitFor(w.t, 30*time.Second, func() bool {
		return strings.Contains(w.run(exitDone, "status").stdout, fmt.Sprintf("%d of %[1]d", instances))
	})
}

// join starts an instance that works until the test ends.
func (w *walked) join(ctx context.Context, n int) {
	w.t.Helper()
	m, err := rekey.Open(ctx, w.plan, rekey.WithFleet(rekey.FleetConfig{Name: fmt.Sprintf("web-%d", n+1), Version: "v1.0.0"}))
	if err != nil {
		w.t.Fatal(err)
	}
	c := redis.NewClient(&redis.Options{Addr: w.server.Addr(), Dialer: m.Dialer(nil), MaxRetries: -1, ContextTimeoutEnabled: true})
	w.work.Go(func() {
		err := w.traffic(ctx, c, n)
		if err := errors.Join(err, c.Close(), m.Close()); err != nil {
			w.t.Errorf("web-%d: %v", n+1, err)
		}
	})
}

// traffic uses keys of both rules, and checks what it gets.
func (w *walked) traffic(ctx context.Context, c *redis.Client, n int) error {
	work := context.WithoutCancel(ctx)
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprint(i % walkedKeys)
		for _, name := range []string{"secure_session:" + id, "rl:auth:" + id} {
			if got, err := c.Get(work, name).Result(); err != nil || got != id {
				return fmt.Errorf("GET %s: %q, %w", name, got, err)
			}
		}
		for _, name := range []string{"secure_session:count", "rl:auth:count"} {
			got, err := c.Incr(work, fmt.Sprintf("%s%d", name, n)).Result()
			if err != nil || got != int64(i+1) {
				return fmt.Errorf("INCR %s: %d, want %d: %w", name, got, i+1, err)
			}
		}
		w.count[n] = int64(i + 1)
	}
	return nil
}

// keysAre checks which names there are, and their values.
func (w *walked) keysAre(here, gone string) {
	w.t.Helper()
	for i := range walkedKeys {
		for _, name := range []string{"secure_session:%d", "rl:auth:%d"} {
			name := fmt.Sprintf(name, i)
			if got := w.get(here + name); got != fmt.Sprint(i) {
				w.t.Fatalf("%s is %q, want %d", here+name, got, i)
			}
			if got := w.get(gone + name); got != "" {
				w.t.Fatalf("%s is still %q", gone+name, got)
			}
		}
	}
	for n, want := range w.count {
		for _, name := range []string{"secure_session:count", "rl:auth:count"} {
			name := fmt.Sprintf("%s%d", name, n)
			if got := w.get(here + name); got != fmt.Sprint(want) {
				w.t.Errorf("%s is %q, want %d", here+name, got, want)
			}
		}
	}
}

// TestRunAndRollback walks a real fleet under traffic from legacy to prefixed, unattended, and back.
func TestRunAndRollback(t *testing.T) {
	w := newWalked(t, 3)
	dry := w.run(exitDone, "run", "--dry-run")
	if !strings.Contains(dry.stdout, "Nothing was changed.") || !strings.Contains(dry.stdout, "sessions, legacy to prefixed") {
		t.Fatalf("got %s", dry.stdout)
	}
	o := objects(t, w.run(exitDone, "run", "--dry-run", "--json").stdout)
	if len(o) != 1 || o[0]["type"] != "dry_run" || len(o[0]["rules"].([]any)) != 2 {
		t.Errorf("got %v", o)
	}
	run := w.run(exitDone, "run", "--yes")
	for _, want := range []string{"sessions  legacy to guard", "sessions  guard to dual", "sessions  dual to settled", "sessions  sealed to prefixed", "limits    move to prefixed", "at prefixed: sessions, limits", "Next: rekey fence"} {
		if !strings.Contains(run.stdout, want) {
			t.Errorf("no %q in\n%s", want, run.stdout)
		}
	}
	status := w.run(exitDone, "status")
	for _, want := range []string{"3 instances: 3 live", "3 of 3", "prefixed", "Next: rekey fence"} {
		if !strings.Contains(status.stdout, want) {
			t.Errorf("no %q in\n%s", want, status.stdout)
		}
	}
	if log := w.run(exitDone, "log", "sessions"); !strings.Contains(log.stdout, "sealed to prefixed") {
		t.Errorf("got %s", log.stdout)
	}
	if again := w.run(exitDone, "run", "--yes"); !strings.Contains(again.stdout, "at prefixed: sessions, limits") {
		t.Errorf("a second run: %s", again.stdout)
	}

	back := w.run(exitDone, "rollback")
	for _, want := range []string{"sessions  dual to guard", "sessions  guard to legacy", "limits    hold to legacy", "at legacy: sessions, limits", "Next: rekey purge --all"} {
		if !strings.Contains(back.stdout, want) {
			t.Errorf("no %q in\n%s", want, back.stdout)
		}
	}
	w.run(exitDone, "purge", "--all", "--execute")
	w.stop()
	w.work.Wait()
	w.keysAre("", "cw:prod:")
	if testing.Verbose() {
		t.Logf("%s\n%s\n%s", dry.stdout, run.stdout, back.stdout)
	}
}

// advance makes one step; what holds a step up is said with exit code 3, and changes nothing.
func TestAdvance(t *testing.T) {
	w := newWalked(t, 1)
	run := w.run(exitDone, "advance", "sessions", "--dry-run")
	if !strings.Contains(run.stdout, "sessions, legacy to guard\n  then     every instance goes from legacy to guard\n") {
		t.Errorf("got %s", run.stdout)
	}
	if run := w.run(exitDone, "advance", "sessions"); !strings.Contains(run.stdout, "at guard: sessions") || strings.Contains(run.stdout, "limits") {
		t.Errorf("got %s", run.stdout)
	}

	// A leftover of an earlier try holds the next gate, until it is asked for by name that it goes.
	w.set("SET", "cw:prod:secure_session:1", "stale")
	run = w.run(exitGate, "advance", "sessions")
	if !strings.Contains(run.stderr, "rekey: sessions stays in guard:\n  ") || !strings.Contains(run.stderr, "rekey purge sessions --execute") {
		t.Errorf("got %s", run.stderr)
	}
	w.run(exitDone, "advance", "sessions", "--purge")

	// Nobody may go back unseen by advance, nor past a freeze.
	w.run(exitUsage, "advance", "sessions", "--to", "guard")
	w.run(exitDone, "freeze", "sessions")
	if run := w.run(exitGate, "advance", "--all", "--to", "prefixed", "--dry-run"); !strings.Contains(run.stdout, "held up  it is frozen") {
		t.Errorf("got %s", run.stdout)
	}
	run = w.run(exitGate, "advance", "sessions")
	if !strings.Contains(run.stderr, "it is frozen") || !strings.Contains(run.stderr, "Try: rekey thaw sessions") {
		t.Errorf("got %s", run.stderr)
	}
	w.run(exitDone, "thaw")

	// The sweeps take the fleet's phase, and no other one's word.
	run = w.run(exitDone, "backfill", "sessions")
	if !strings.Contains(run.stdout, "backfill sessions (phase dual)") {
		t.Errorf("got %s", run.stdout)
	}
	if run := w.run(exitUsage, "backfill", "sessions", "--assume-phase", "drain"); !strings.Contains(run.stderr, "the fleet is in phase dual of rule sessions, and --assume-phase says drain") {
		t.Errorf("got %s", run.stderr)
	}

	// One rule goes forward while another goes back.
	w.run(exitDone, "advance", "--all", "--to", "move")
	w.run(exitDone, "rollback", "sessions", "--to", "guard")
	if run := w.run(exitDone, "run", "--yes", "--json", "limits"); true {
		o := objects(t, run.stdout)
		last := o[len(o)-1]
		if last["type"] != "result" || last["command"] != "run" || fmt.Sprint(last["rules"]) != "[map[phase:prefixed rule:limits]]" {
			t.Errorf("got %v", last)
		}
		for _, e := range o[:len(o)-1] {
			if e["type"] != "event" && e["type"] != "progress" {
				t.Errorf("got %v", e)
			}
		}
	}
	if run := w.run(exitDone, "status"); !strings.Contains(run.stdout, "sessions  mirror    guard") || !strings.Contains(run.stdout, "limits    move      prefixed") {
		t.Errorf("got %s", run.stdout)
	}
}

// A rollback from settled to drain turns in dual, and one that was killed there has only a step forward to make. A rollback of
// all rules makes none: it says so, and what makes it.
func TestRollbackKilledWhereItTurns(t *testing.T) {
	w := newWalked(t, 0)
	w.run(exitDone, "run", "sessions", "--yes", "--no-instances", "--until", "dual")
	for _, c := range []struct {
		code       int
		args, want string
	}{
		{exitUsage, "rollback sessions --to drain --no-instances", "Try: rekey advance sessions --to drain, which goes the other way"},
		{exitDone, "rollback --to drain --no-instances --dry-run", "sessions: stays in dual; drain is the other way"},
		{exitDone, "rollback --to drain --no-instances", "at dual: sessions\nnote: rule sessions is in dual, from where rollback does not lead to drain; rekey advance sessions --to drain does"},
		{exitDone, "rollback --to drain --no-instances --json", `"notes":["rule sessions is in dual`},
		{exitDone, "advance sessions --to drain --no-instances", "at drain: sessions"},
	} {
		run := w.run(c.code, strings.Fields(c.args)...)
		if said := run.stdout + run.stderr; !strings.Contains(said, c.want) {
			t.Errorf("%s: no %q in\n%s", c.args, c.want, said)
		}
	}
	if run := w.run(exitDone, "rollback", "--to", "drain", "--no-instances"); strings.Contains(run.stdout, "note:") {
		t.Errorf("it is there: %s", run.stdout)
	}
}

// Somebody who is connected past rekey holds the steps that an audit belongs to.
func TestStrangerHoldsTheGate(t *testing.T) {
	w := newWalked(t, 1)
	if run := w.run(exitDone, "audit"); !strings.Contains(run.stdout, "1 allowed, 0 strangers") || !strings.Contains(run.stdout, "Nobody was seen to use the server past rekey.") {
		t.Errorf("got %s", run.stdout)
	}
	stranger := w.server.Client(func(o *redis.Options) { o.ClientName = "cron-job" })
	if err := stranger.Set(t.Context(), "secure_session:1", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	run := w.run(exitGate, "audit")
	if !strings.Contains(run.stdout, "1 stranger\n") || !strings.Contains(run.stdout, "cron-job") || !strings.Contains(run.stdout, "set") {
		t.Errorf("got %s", run.stdout)
	}
	o := objects(t, w.run(exitGate, "audit", "--json").stdout)
	if len(o) != 1 || o[0]["type"] != "audit" || o[0]["clean"] != false || len(o[0]["strangers"].([]any)) != 1 {
		t.Errorf("got %v", o)
	}
	run = w.run(exitGate, "run", "--yes", "--until", "dual")
	if !strings.Contains(run.stderr, "sessions stays in guard:") || !strings.Contains(run.stderr, "cron-job") || !strings.Contains(run.stderr, "Try: ") {
		t.Errorf("got %s", run.stderr)
	}
	if run := w.run(exitDone, "audit", "--allow-stranger", "cron-job"); !strings.Contains(run.stdout, "2 allowed") {
		t.Errorf("got %s", run.stdout)
	}
	w.run(exitDone, "run", "--yes", "--until", "dual", "--allow-stranger", "cron-job")
}

// rollback --take-over ends a run that is under way, which says so.
func TestTakeOver(t *testing.T) {
	w := newWalked(t, 2)
	ended := make(chan cliRun, 1)
	args := []string{"run", "--yes", "--soak", "1h", "-f", w.path, "--redis", w.server.URL()}
	go func() { ended <- runCLI(t, nil, args...) }()
	redistest.WaitFor(t, 30*time.Second, func() bool {
		return strings.Contains(runCLI(t, nil, "status", "-f", w.path, "--redis", w.server.URL()).stdout, "sessions  mirror    dual")
	})
	if run := w.run(exitFailed, "rollback"); !strings.Contains(run.stderr, "walks the fleet") {
		t.Errorf("got %s", run.stderr)
	}
	w.run(exitDone, "rollback", "--take-over")
	first := mustExit(t, exitFailed, <-ended)
	if !strings.Contains(first.stderr, "this controller was overtaken") || !strings.Contains(first.stderr, "Try: rekey log") {
		t.Errorf("got %s", first.stderr)
	}
}

// A run that is interrupted says so; the next one goes on from where it was.
func TestInterruptedRun(t *testing.T) {
	w := newWalked(t, 1)
	ctx, interrupt := context.WithCancel(t.Context())
	out := new(growing)
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, []string{"run", "--yes", "--soak", "1h", "-f", w.path, "--redis", w.server.URL()}, strings.NewReader(""), out, out,
			func(string) (string, bool) { return "", false })
	}()
	redistest.WaitFor(t, 30*time.Second, func() bool { return strings.Contains(out.String(), "soaks: ") })
	interrupt()
	if got := <-code; got != exitFailed || !strings.Contains(out.String(), "rekey: interrupted\nTry: run the same command again; what was done stays done") {
		t.Errorf("exit code %d\n%s", got, out)
	}
	w.run(exitDone, "run", "--yes")
}

// What instances have reached is known when the records are lost, and restore-phase goes on from there.
func TestRestorePhase(t *testing.T) {
	w := newWalked(t, 1)
	w.run(exitDone, "advance", "sessions")
	w.stop() // without records its commands are refused
	w.work.Wait()
	m, err := rekey.Open(t.Context(), w.plan, rekey.WithFleet(rekey.FleetConfig{Name: "web-9"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() }) // the test closes no connection of it
	w.allSay(1)
	w.set("DEL", "cw:prod:rekey:phase")
	run := w.run(exitDone, "status")
	if !strings.Contains(run.stdout, "unsafe    the control record of rule sessions is gone, and instances are in guard\n          Try: rekey restore-phase sessions --phase guard") {
		t.Errorf("got %s", run.stdout)
	}
	if run := w.run(exitGate, "run", "--yes"); !strings.Contains(run.stderr, "sessions, limits stay put:") || !strings.Contains(run.stderr, "Try: rekey restore-phase") {
		t.Errorf("got %s", run.stderr)
	}
	w.run(exitDone, "restore-phase", "sessions", "--phase", "guard")
	w.run(exitDone, "restore-phase", "limits", "--phase", "legacy")
	w.run(exitDone, "run", "--yes", "--until", "dual")
}

// An instance that is dead is gone past when its lease has run out.
func TestDeadInstance(t *testing.T) {
	w := newWalked(t, 1)
	r := newRecords(t, w.server)
	targets, err := r.store.Targets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.join("web-9", phase.Legacy, phase.Legacy, func(in *fleet.Instance) {
		in.Lease = time.Second.Microseconds()
		for rule, state := range in.Rules {
			state.Epoch = targets[rule].Epoch
			in.Rules[rule] = state
		}
	})
	if run := w.run(exitUsage, "advance", "--all", "--forget", "web-7"); !strings.Contains(run.stderr, "no such instance") {
		t.Errorf("got %s", run.stderr)
	}
	if run := w.run(exitDone, "advance", "--all"); !strings.Contains(run.stdout, "its connections are closed") {
		t.Errorf("got %s", run.stdout)
	}
	if run := w.run(exitDone, "log"); !strings.Contains(run.stdout, "bury, web-9 (host, pid 42)") {
		t.Errorf("got %s", run.stdout)
	}
}

// Without any instance the operator's word is wanted.
func TestNoInstances(t *testing.T) {
	w := newWalked(t, 0)
	run := w.run(exitGate, "run", "--yes")
	if !strings.Contains(run.stderr, "there is no fleet of environment prod") || !strings.Contains(run.stderr, "--no-instances") {
		t.Errorf("got %s", run.stderr)
	}
	w.run(exitDone, "run", "--yes", "--no-instances")
	w.keysAre("cw:prod:", "")
	w.set("ACL", "SETUSER", "app", "on", "nopass", "+@all", "~secure_session:*", "~rl:*", "~cw:prod:*")
	fence := w.run(exitDone, "fence", "--user", "app")
	for _, want := range []string{"dead       the legacy names of sessions, limits", "user app\n", "\n  undo     ACL SETUSER app resetkeys ~secure_session:*", "Nothing was changed.", "Next: rekey fence --execute"} {
		if !strings.Contains(fence.stdout, want) {
			t.Errorf("no %q in\n%s", want, fence.stdout)
		}
	}
	app := w.server.Client(func(o *redis.Options) { o.Username, o.Password = "app", "x" })
	if err := app.Get(t.Context(), "secure_session:1").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("before the fence: %v", err)
	}
	o := objects(t, w.run(exitDone, "fence", "--user", "app", "--execute", "--json").stdout)
	if len(o) != 1 || o[0]["type"] != "fence" || o[0]["dry_run"] != false || len(o[0]["users"].([]any)) != 1 {
		t.Errorf("got %v", o)
	}
	if err := app.Get(t.Context(), "secure_session:1").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
		t.Errorf("behind the fence: %v, want NOPERM", err)
	}
	if err := app.Get(t.Context(), "cw:prod:secure_session:1").Err(); err != nil {
		t.Errorf("the living name: %v", err)
	}
}

// An instance that the operator names is not waited for; a name that two have names none.
func TestForget(t *testing.T) {
	b := newBench(t)
	r := newRecords(t, b.server)
	r.found()
	r.join("web-1", phase.Legacy, phase.Legacy)
	r.join("web-2", phase.Legacy, phase.Legacy, func(in *fleet.Instance) { in.Name = "web-1" })
	if run := b.run(exitUsage, "advance", "sessions", "--forget", "web-1"); !strings.Contains(run.stderr, "2 instances have this name") {
		t.Errorf("got %s", run.stderr)
	}
	// Nobody is left then to reach guard.
	run := b.run(exitDone, "advance", "sessions", "--forget", "WEB-1-", "--forget", "WEB-2-AAAAAAAA", "--no-instances", "--allow-stranger", "default")
	if strings.Count(run.stdout, "its connections are closed") != 2 || !strings.Contains(run.stdout, "at guard: sessions") {
		t.Errorf("got %s", run.stdout)
	}
}

// A process that obeys flags joins a fleet that is led: status says who it is and what is unsafe, no step is
// made beside it, an audit knows its connections, and when it ends the fleet goes on.
func TestMixedFleet(t *testing.T) {
	w := newWalked(t, 1)
	w.run(exitDone, "advance", "sessions", "--to", "dual")
	flags := map[string]string{}
	old, err := rekey.Open(t.Context(), w.plan, rekey.WithFlags(func(name string) (string, bool) { v, ok := flags[name]; return v, ok }))
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(&redis.Options{Addr: w.server.Addr(), Dialer: old.Dialer(nil)})
	if err := c.Get(t.Context(), "secure_session:0").Err(); err != nil {
		t.Fatal(err)
	}
	redistest.WaitFor(t, 10*time.Second, func() bool {
		return strings.Contains(w.run(exitDone, "status").stdout, "2 instances: 1 live, 1 observer")
	})
	screen := w.run(exitDone, "status").stdout
	for _, want := range []string{
		"unsafe    rule sessions: cli.test (", "obeys flags and is in legacy beside the fleet in dual: values can be lost, or read old", "so no step can be made",
	} {
		if !strings.Contains(screen, want) {
			t.Errorf("no %q in\n%s", want, screen)
		}
	}
	if run := w.run(exitGate, "advance", "sessions"); !strings.Contains(run.stderr, "obeys flags and not the fleet") || !strings.Contains(run.stderr, "open it with the fleet, or stop it") {
		t.Errorf("got %s%s", run.stdout, run.stderr)
	}
	redistest.WaitFor(t, 10*time.Second, func() bool {
		return runCLI(t, nil, "audit", "-f", w.path, "--redis", w.server.URL()).code == exitDone
	})
	if err := errors.Join(c.Close(), old.Close()); err != nil {
		t.Fatal(err)
	}
	w.run(exitDone, "advance", "sessions", "--soak", "-1s")
}

// A walk stops in front of a backfill whose copies will not fit, with what is missing, and goes on when there is room.
func TestRunNeedsMemory(t *testing.T) {
	w := newWalked(t, 0)
	w.set("SETRANGE", "secure_session:large", 20<<20, "x")
	used := readInfo(w.c.Info(t.Context()).Val(), "").UsedMemory
	w.set("CONFIG", "SET", "maxmemory", used+10<<20)
	run := w.run(exitGate, "run", "--yes", "--no-instances")
	if said := run.stdout + run.stderr; !strings.Contains(said, "are left of maxmemory") || !strings.Contains(said, "--overcommit") {
		t.Errorf("got %s", said)
	}
	if n := w.c.Exists(t.Context(), "cw:prod:secure_session:2").Val(); n > 0 {
		t.Error("a key was copied")
	}
	w.set("CONFIG", "SET", "maxmemory", used+100<<20)
	w.run(exitDone, "run", "--yes", "--no-instances")
	w.keysAre("cw:prod:", "")
}
