package cli

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/plan"
)

// lostWithin is how long an instance may take to see what became of its records.
const lostWithin = 20 * time.Second

// losing is a fleet of two whose records a test takes away or turns back. Nobody has its soak.
type losing struct {
	*bench
	plan    *plan.Plan
	clients []*redis.Client
}

func newLosing(t *testing.T, opts ...redistest.Option) *losing {
	t.Helper()
	server := redistest.Start(t, opts...)
	text := strings.Replace(fmt.Sprintf(walkPlan, server.URL()), "soak: 300ms", "soak: 0s", 1)
	p, err := plan.Parse("rekey.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	l := &losing{bench: &bench{t, server, server.Client(func(o *redis.Options) { o.ClientName = "tester" }), planFile(t, text)}, plan: p}
	for i := range 2 {
		m, err := rekey.Open(t.Context(), p, rekey.WithFleet(rekey.FleetConfig{Name: fmt.Sprintf("web-%d", i+1)}))
		if err != nil {
			t.Fatal(err)
		}
		c := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: m.Dialer(nil), MaxRetries: -1})
		t.Cleanup(func() { _ = c.Close(); _ = m.Close() }) // the records may be others by then
		l.clients = append(l.clients, c)
	}
	return l
}

// fill writes some keys through an instance.
func (l *losing) fill() {
	l.t.Helper()
	for i := range 10 {
		if err := l.clients[i%2].Set(l.t.Context(), fmt.Sprintf("secure_session:%d", i), i, 0).Err(); err != nil {
			l.t.Fatal(err)
		}
	}
}

// stopped waits until both instances refuse to use the keys of a rule whose records they cannot follow.
func (l *losing) stopped() {
	l.t.Helper()
	for _, c := range l.clients {
		redistest.WaitFor(l.t, lostWithin, func() bool {
			err := c.Get(l.t.Context(), "secure_session:0").Err()
			return err != nil && strings.Contains(err.Error(), "rekey: lease lost: rule sessions: its control record") &&
				strings.Contains(err.Error(), "rekey restore-phase")
		})
	}
}

// nobodyJoins: an instance that comes now follows nothing either.
func (l *losing) nobodyJoins() {
	l.t.Helper()
	m, err := rekey.Open(l.t.Context(), l.plan, rekey.WithFleet(rekey.FleetConfig{Name: "late"}))
	if err == nil {
		_ = m.Close() // the test has failed
		l.t.Fatal("an instance has joined that follows the records of now")
	}
	if !errors.Is(err, fleet.ErrRestore) {
		l.t.Fatalf("an instance that joins: %v", err)
	}
}

// noStep: no controller goes on.
func (l *losing) noStep() {
	l.t.Helper()
	run := runCLI(l.t, nil, "advance", "sessions", "-f", l.path, "--redis", l.server.URL(), "--wait", "10s")
	if run.code != exitGate && run.code != exitFailed || !strings.Contains(run.stderr, "restore-phase") {
		l.t.Errorf("advance: exit code %d, %s%s", run.code, run.stdout, run.stderr)
	}
}

// goesOn: after the restoring the fleet walks to its end, and every key is where it should be.
func (l *losing) goesOn() {
	l.t.Helper()
	for _, c := range l.clients {
		redistest.WaitFor(l.t, lostWithin, func() bool { return c.Get(l.t.Context(), "secure_session:0").Err() == nil })
	}
	l.run(exitDone, "run", "--yes", "sessions")
	for i := range 10 {
		if got := l.get(fmt.Sprintf("cw:prod:secure_session:%d", i)); got != fmt.Sprint(i) {
			l.t.Errorf("session %d is %q", i, got)
		}
		if got := l.get(fmt.Sprintf("secure_session:%d", i)); got != "" {
			l.t.Errorf("the legacy copy of session %d is still %q", i, got)
		}
	}
}

// FLUSHALL takes the keys and the records. Instances that live go on in their phase, once somebody has said
// which that is; one that joins does not begin at legacy beside them, however soon after it comes.
func TestFlushAllStopsAWalk(t *testing.T) {
	l := newLosing(t)
	l.fill()
	l.run(exitDone, "advance", "sessions", "--to", "dual")
	l.set("FLUSHALL")
	l.nobodyJoins()
	l.stopped()
	l.noStep()
	if run := l.run(exitDone, "status"); !strings.Contains(run.stdout, "unsafe    the control record of rule sessions is gone, and instances are in dual") ||
		!strings.Contains(run.stdout, "Try: rekey restore-phase sessions --phase dual") {
		t.Errorf("got %s", run.stdout)
	}
	if run := runCLI(t, nil, "restore-phase", "sessions", "--phase", "prefixed", "-f", l.path, "--redis", l.server.URL()); run.code != exitGate || !strings.Contains(run.stderr, "may not stand beside prefixed") {
		t.Errorf("a wrong word: exit code %d, %s", run.code, run.stderr)
	}
	l.run(exitDone, "restore-phase", "sessions", "--phase", "dual")
	redistest.WaitFor(t, lostWithin, func() bool {
		return l.clients[0].Set(t.Context(), "secure_session:0", 0, 0).Err() == nil && l.clients[1].Ping(t.Context()).Err() == nil
	})
	l.fill()
	l.goesOn()
}

// A phase may be restored before the instances that lost their records as well have entered themselves again.
func TestRestoringAtOnce(t *testing.T) {
	l := newLosing(t)
	l.run(exitDone, "advance", "sessions", "--to", "dual")
	l.set("FLUSHALL")
	l.run(exitDone, "restore-phase", "sessions", "--phase", "dual")
	for _, c := range l.clients {
		redistest.WaitFor(t, lostWithin, func() bool { return c.Get(t.Context(), "secure_session:0").Err() == redis.Nil })
	}
	l.fill()
	l.goesOn()
}

// A server that comes back with an old snapshot: keys and records are those of before.
func TestAnOldSnapshotStopsAWalk(t *testing.T) {
	l := newLosing(t)
	l.fill()
	l.run(exitDone, "advance", "sessions", "--to", "dual")
	l.set("SAVE")
	l.run(exitDone, "advance", "sessions") // with a backfill that the snapshot has not
	l.server.Kill()
	l.server.Restart()
	l.nobodyJoins()
	l.stopped()
	l.noStep()
	if run := l.run(exitDone, "status"); !strings.Contains(run.stdout, "was turned back: it says dual, and instances were already led to settled") ||
		!strings.Contains(run.stdout, "Try: rekey restore-phase sessions --phase dual, as the keys are") {
		t.Errorf("got %s", run.stdout)
	}
	l.run(exitDone, "restore-phase", "sessions", "--phase", "dual")
	l.goesOn()
}

// A replica that was cut off during a walk becomes the primary.
func TestALaggingReplicaStopsAWalk(t *testing.T) {
	l := newLosing(t)
	l.fill()
	l.run(exitDone, "advance", "sessions", "--to", "dual")
	behind := l.server.Replica()
	if got := behind.Client().ReplicaOf(t.Context(), "NO", "ONE").Err(); got != nil {
		t.Fatal(got)
	}
	l.run(exitDone, "advance", "sessions")
	host, port, err := net.SplitHostPort(behind.Addr())
	if err != nil {
		t.Fatal(err)
	}
	l.set("REPLICAOF", host, port)
	redistest.WaitFor(t, lostWithin, func() bool {
		return strings.Contains(l.c.Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	l.set("REPLICAOF", "NO", "ONE")
	l.stopped()
	l.nobodyJoins()
	l.noStep()
	l.run(exitDone, "restore-phase", "sessions", "--phase", "dual")
	l.goesOn()
}
