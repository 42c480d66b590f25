package control_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// farReplica is a replica over a link that stalls when a step is made.
type farReplica struct {
	*redistest.Server
	w      *world
	link   *redistest.Link
	client *redis.Client

	mu     sync.Mutex
	misses bool // a step was made since the link last worked
	waited bool // the walk has said since that it waits for the replica
}

func newFarReplica(t *testing.T, w *world) *farReplica {
	t.Helper()
	link := redistest.SlowLink(t, w.server.Addr())
	host, port, err := net.SplitHostPort(link.Addr())
	if err != nil {
		t.Fatal(err)
	}
	replica := redistest.Start(t, redistest.WithConfig("replicaof "+host+" "+port))
	conn := w.client.Conn()
	defer conn.Close() // back to the pool
	if err := conn.Set(t.Context(), "first", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	redistest.WaitFor(t, within, func() bool { return conn.Wait(t.Context(), 1, within).Val() == 1 })
	return &farReplica{Server: replica, w: w, link: link, client: replica.Client()}
}

// options are those of a controller each of whose steps the replica does not get.
func (r *farReplica) options() control.Options {
	o := r.w.options()
	o.Before(func(write string) error {
		if write == "target" {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.misses = true
			r.link.Stall(redistest.ToClient)
		}
		return nil
	})
	o.Progress = func(e control.Event) {
		if got, want := r.phase(e.Rule), r.w.phase(e.Rule); e.Kind == control.Done && got != want {
			r.w.t.Errorf("done in %v, and a failover would lead to %v", want, got)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.misses && e.Kind == control.Waiting && e.Blockers[0].Reason == control.Replicas {
			r.waited = true
		}
	}
	return o
}

// missed says whether the walk waits for the replica.
func (r *farReplica) missed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waited
}

// resume ends the stall.
func (r *farReplica) resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.misses, r.waited = false, false
	r.link.Resume(redistest.ToClient)
}

// phase is the target's phase of a rule as a failover to the replica would have it.
func (r *farReplica) phase(rule string) phase.Phase {
	text := r.client.HGet(context.Background(), r.w.store.Keys().Phase(), rule).Val() // "" has no phase
	target, _ := fleet.ParseTarget(rule, text)
	return target.Phase
}

// The last step of a walk, which no other one follows, is done when a failover would not turn it back, and not
// before.
func TestTheLastStepIsReplicated(t *testing.T) {
	w := worldOn(t, redistest.Start(t), testPlan)
	replica := newFarReplica(t, w)
	w.join("a")
	c := w.open(replica.options())
	for _, walk := range []struct {
		do func() error
		to phase.Phase
	}{
		{func() error { return c.Run(context.Background(), []string{"sessions"}, phase.Guard) }, phase.Guard},
		{func() error { return c.Rollback(context.Background(), []string{"sessions"}, 0) }, phase.Legacy},
	} {
		ended := make(chan error, 1)
		go func() { ended <- walk.do() }()
		redistest.WaitFor(t, within, func() bool { return replica.missed() || len(ended) > 0 })
		if len(ended) > 0 {
			t.Fatalf("to %v: the walk ended, with %v, before the replica had its last step", walk.to, <-ended)
		}
		replica.resume()
		if err := <-ended; err != nil {
			t.Fatalf("to %v: %v", walk.to, err)
		}
		if got := replica.phase("sessions"); got != walk.to {
			t.Errorf("the walk is done, and the replica has %v, want %v", got, walk.to)
		}
	}
}

// A phase that is restored is so when a failover would not lose it again.
func TestARestoredPhaseIsReplicated(t *testing.T) {
	w := worldOn(t, redistest.Start(t), testPlan)
	w.join("a")
	c := w.open(w.options())
	if err := errors.Join(c.Run(t.Context(), []string{"sessions"}, phase.Guard), c.Close()); err != nil {
		t.Fatal(err)
	}
	replica := newFarReplica(t, w)
	if err := w.client.HDel(t.Context(), w.store.Keys().Phase(), "sessions").Err(); err != nil {
		t.Fatal(err)
	}
	c = w.open(replica.options())
	ended := make(chan error, 1)
	go func() { ended <- c.RestorePhase(context.Background(), "sessions", phase.Guard) }()
	redistest.WaitFor(t, within, func() bool { return replica.missed() || len(ended) > 0 })
	if len(ended) > 0 {
		t.Fatalf("it ended, with %v, before the replica had the record", <-ended)
	}
	if got := w.phase("sessions"); got != phase.Guard {
		t.Errorf("the record says %v", got)
	}
	replica.resume()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := replica.phase("sessions"); got != phase.Guard {
		t.Errorf("it is done, and the replica has %v", got)
	}
}

// A replica that does not get the last step is named, also by the walk after the one that was not waited for,
// which has no step to make, until the replica has it or is gone.
func TestAReplicaThatStaysBehind(t *testing.T) {
	w := worldOn(t, redistest.Start(t), testPlan)
	replica := newFarReplica(t, w)
	w.join("a")
	c := w.open(replica.options())
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, []string{"sessions"}, phase.Guard) }()
	redistest.WaitFor(t, within, func() bool { return replica.missed() || len(ended) > 0 })
	interrupt()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was interrupted", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	o := w.options()
	o.Patience = -1
	err := w.open(o).Run(t.Context(), []string{"sessions"}, phase.Guard)
	mustBlock(t, blocked(t, err), control.Replicas, "0 of 1 connected replicas", "disconnect those that cannot")
	if got := w.phase("sessions"); got != phase.Guard {
		t.Errorf("got %v, want guard", got)
	}
	replica.Kill()
	o = w.options()
	o.TakeOver = true
	if err := w.open(o).Run(t.Context(), []string{"sessions"}, phase.Guard); err != nil {
		t.Errorf("without the replica: %v", err)
	}
}
