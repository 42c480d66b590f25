package control_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// An instance that dies holds the walk up until its lease has run out, and its connections are closed before
// the next step is made.
func TestPastADeadInstance(t *testing.T) {
	w := newWorld(t, testPlan)
	w.fill(10)
	w.join("a")
	dead := w.join("dead")
	conn := dead.connect()
	w.run(phase.Guard, "sessions")
	dead.dies()
	record := w.instance("dead")

	var burial time.Time
	o := w.options()
	o.Progress = func(e control.Event) {
		if e.Kind == control.Buried {
			burial = e.At
			if err := conn.Ping(context.Background()).Err(); err != nil {
				t.Error("the connection was closed before the record was removed: the instance could have opened another")
			}
		}
		// It had reached guard, so the step to dual did not have to wait for it.
		if e.Kind == control.Stepped && e.To != phase.Dual && conn.Ping(context.Background()).Err() == nil {
			t.Errorf("the step to %v was made while the dead instance's connection was open", e.To)
		}
	}
	w.runWith(o, phase.Settled, "sessions")
	if burial.IsZero() {
		t.Fatal("nobody was buried")
	}
	ran := time.UnixMicro(record.Renewed + record.Lease)
	for _, e := range w.log() {
		if e.What == "bury" && e.At.Before(ran.Truncate(time.Millisecond)) {
			t.Errorf("buried at %v, and its lease ran until %v", e.At, ran)
		}
	}
	if n := w.client.Exists(t.Context(), w.store.Keys().Conns(dead.id)).Val(); n != 0 {
		t.Error("its list of connections is left")
	}
}

// A user without +info is not told the run of the server, so its connections stand in the records without one. An
// audit knows them all the same, and they are closed.
func TestPastADeadInstanceWithoutInfo(t *testing.T) {
	w := worldOn(t, redistest.Start(t), testPlan)
	w.do("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-info")
	w.join("a")
	dead := w.join("dead")
	conn := w.server.Client(asUser("app", "pw"), func(o *redis.Options) { o.MaxRetries = -1 }).Conn()
	defer func() { _ = conn.Close() }() // nothing is buffered
	id, err := conn.ClientID(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	entry, err := fleet.NewStore(w.plan, w.server.Client(asUser("app", "pw"), named(fleet.ClientName))).Admit(t.Context(), dead.id, id, false)
	if err != nil || entry != "?:"+itoa(id) {
		t.Fatalf("got %q, %v, want a connection of an unknown run", entry, err)
	}
	if r := w.audit(control.AuditOptions{}); !r.Clean || r.Fleet != 1 {
		t.Errorf("got %+v, want one connection of the fleet", r)
	}
	dead.dies()
	w.run(phase.Guard, "sessions")
	if err := conn.Ping(t.Context()).Err(); err == nil {
		t.Error("the connection of the dead instance is open")
	}
}

func (w *world) instance(name string) fleet.Instance {
	w.t.Helper()
	for _, i := range w.status().Instances {
		if i.Name == name {
			return i.Instance
		}
	}
	w.t.Fatalf("the fleet has no instance %s", name)
	return fleet.Instance{}
}

func (w *world) log() []control.Entry {
	w.t.Helper()
	entries, err := control.Log(context.Background(), w.store, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	return entries
}

// A record is removed only as it was when its lease had run out: one that was renewed meanwhile stays.
func TestOneThatCameBackIsNotBuried(t *testing.T) {
	w := newWorld(t, testPlan)
	back := w.join("back")
	conn := back.connect()
	id := back.id
	back.pauses()
	redistest.WaitFor(t, within, func() bool { return w.status().Instances[0].Lost })
	o := w.options()
	o.Before(func(write string) error {
		if write == "bury" {
			back.continues()
		}
		return nil
	})
	c := w.open(o)
	if err := c.Run(t.Context(), []string{"sessions"}, phase.Guard); err != nil {
		t.Fatal(err)
	}
	if got := w.instance("back").ID; got != id {
		t.Errorf("the instance was buried and joined again, as %s", got)
	}
	if err := conn.Ping(t.Context()).Err(); err != nil {
		t.Errorf("its connection was closed: %v", err)
	}
}

// An instance that the operator names is not waited for. It lives, so it joins again and is waited for then.
func TestForget(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	alive := w.join("alive")
	conn, id := alive.connect(), alive.id
	o := w.options()
	o.Forget = []string{"alive"}
	w.runWith(o, phase.Guard, "sessions")
	if err := conn.Ping(t.Context()).Err(); err == nil {
		t.Error("the connection of the forgotten instance is open")
	}
	redistest.WaitFor(t, within, func() bool {
		for _, i := range w.status().Instances {
			if i.Name == "alive" && i.ID != id && i.Rules["sessions"].Phase == phase.Guard {
				return true
			}
		}
		return false
	})
	named := false
	for _, e := range w.log() {
		named = named || e.What == "bury" && e.By == "tester"
	}
	if !named {
		t.Error("the log does not say who was forgotten by whom")
	}
}

// Without the right to close connections nothing goes past a dead instance.
func TestWithoutTheRightToKill(t *testing.T) {
	w := worldOn(t, redistest.Start(t), testPlan)
	w.join("a")
	dead := w.join("dead")
	dead.connect()
	dead.dies()
	if err := w.client.Do(t.Context(), "ACL", "SETUSER", "weak", "on", ">pw", "~*", "&*", "+@all", "-client|kill").Err(); err != nil {
		t.Fatal(err)
	}
	redistest.WaitFor(t, within, func() bool {
		return slices.ContainsFunc(w.status().Instances, func(i control.InstanceStatus) bool { return i.Lost })
	})
	o := w.options()
	o.Client = w.server.Client(asUser("weak", "pw"))
	c := w.open(o)
	err := c.Run(t.Context(), []string{"sessions"}, phase.Guard)
	wantWords(t, err, "NOPERM", "+client|kill")
	if got := w.phase("sessions"); got != phase.Legacy {
		t.Errorf("got %v, want legacy", got)
	}
}

// A connection of another run of the server ended with it. Its number may be somebody else's now.
func TestConnectionsOfAnotherRun(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	bystander := w.server.Client().Conn()
	defer func() { _ = bystander.Close() }() // nothing is buffered
	id, err := bystander.ClientID(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	dead := w.join("dead")
	if err := w.client.SAdd(t.Context(), w.store.Keys().Conns(dead.id), "anotherrun:"+itoa(id)).Err(); err != nil {
		t.Fatal(err)
	}
	dead.dies()
	o := w.options()
	w.runWith(o, phase.Guard, "sessions")
	if err := bystander.Ping(t.Context()).Err(); err != nil {
		t.Errorf("somebody else's connection was closed: %v", err)
	}
}

// The script that makes a step looks again: nobody goes to the next phase while connections are to be closed.
func TestNoStepWhileSomethingIsUnburied(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	c := w.open(w.options())
	if err := w.client.SAdd(t.Context(), w.store.Keys().Conns("@unburied"), "run:1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.LateTarget(t.Context(), "sessions", phase.Guard); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got := w.phase("sessions"); got != phase.Legacy {
		t.Errorf("got %v, want legacy", got)
	}
}

// The connections of a sweep that broke are closed before the next step, also where they could not be written down
// when it broke.
func TestABrokenSweepIsClosedBeforeTheNextStep(t *testing.T) {
	w := newWorld(t, testPlan)
	w.fill(2000)
	w.join("a")
	w.run(phase.Dual, "sessions")
	var away atomic.Bool
	sweeps := w.store.Keys().Conns("@control")
	o := w.options()
	o.Before(func(write string) error {
		switch {
		case write == "condemn" && away.Load():
			return errors.New("the server is away")
		case write == "target" && w.client.SCard(context.Background(), sweeps).Val() > 0:
			t.Error("a step was made while connections of the broken sweep were not closed")
		}
		return nil
	})
	c := w.open(o)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	away.Store(true)
	_, err := c.Sweep(ctx, sweep.Options{Rule: "sessions", Kind: sweep.Backfill, Execute: true, OnProgress: func(sweep.Progress) { stop() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the sweep: got %v, want that it was interrupted", err)
	}
	if w.client.SCard(t.Context(), sweeps).Val() == 0 {
		t.Fatal("the sweep has no connections: the test shows nothing")
	}
	away.Store(false)
	if err := c.Run(t.Context(), []string{"sessions"}, phase.Settled); err != nil {
		t.Fatal(err)
	}
}
