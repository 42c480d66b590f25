package control_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// Each thing that makes an instance unfit holds the rule up and is named, by the walk and by status, which
// agree.
func TestUnfitInstancesAreNamed(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*fleet.Instance)
		reason control.Reason
		words  string
	}{
		{"another hash", func(i *fleet.Instance) {
			s := i.Rules["sessions"]
			s.Hash = "other"
			i.Rules["sessions"] = s
		}, control.OtherHash, "give it the fleet's plan"},
		{"without the rule", func(i *fleet.Instance) { delete(i.Rules, "sessions") }, control.LacksRule, "legacy names"},
		{"a newer format", func(i *fleet.Instance) { i.Format = fleet.Format + 1 }, control.OtherFormat, "version"},
		{"an older format", func(i *fleet.Instance) { i.Format = fleet.Format - 1 }, control.OtherFormat, "version"},
		{"an observer", func(i *fleet.Instance) { i.Observer = true }, control.Observer, "obeys flags"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, testPlan)
			w.join("good")
			w.join("odd-one", record(c.change))
			forward := w.status().Rules[0].Forward
			mustBlock(t, forward.Blockers, c.reason, "odd-one", c.words)
			o := w.open(w.options())
			held := blocked(t, o.Run(t.Context(), []string{"sessions"}, 0))
			mustBlock(t, held, c.reason, "odd-one", c.words)
			if got := w.phase("sessions"); got != phase.Legacy {
				t.Errorf("got %v, want legacy", got)
			}
		})
	}
}

// One with another plan for a rule holds up that rule alone.
func TestOtherRulesGoOn(t *testing.T) {
	w := newWorld(t, testPlan)
	w.fill(10)
	w.join("good")
	w.join("odd-one", record(func(i *fleet.Instance) { delete(i.Rules, "sessions") }))
	c := w.open(w.options())
	held := blocked(t, c.Run(t.Context(), nil, 0))
	mustBlock(t, held, control.LacksRule, "odd-one")
	if a, b := w.phase("sessions"), w.phase("limits"); a != phase.Legacy || b != phase.Prefixed {
		t.Errorf("got %v and %v, want legacy and prefixed", a, b)
	}
}

// One that lives and does not reach the target is waited for, then named.
func TestOneThatDoesNotReach(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("good")
	slow := w.join("slow")
	slow.deafen()
	slow.says("sessions", "2 commands of before, the oldest BLPOP")
	o := w.options()
	o.Patience = 10 * testRenew
	c := w.open(o)
	held := blocked(t, c.Advance(t.Context(), []string{"sessions"}, 0))
	mustBlock(t, held, control.Behind, "slow", "has not reached guard", "the oldest BLPOP")
	if got := w.phase("sessions"); got != phase.Guard {
		t.Errorf("got %v, want guard", got)
	}
	// Nor does the next step begin.
	mustBlock(t, blocked(t, c.Advance(t.Context(), []string{"sessions"}, 0)), control.Behind, "slow")
	if got := w.phase("sessions"); got != phase.Guard {
		t.Errorf("got %v, want guard", got)
	}
	// That is what keeps two phases apart that may not stand beside each other.
	if err := c.LateTarget(t.Context(), "sessions", phase.Dual); err != nil {
		t.Fatal(err)
	}
	w.awaitFoul()
}

func TestNoInstances(t *testing.T) {
	w := newWorld(t, testPlan)
	w.fill(10)
	c := w.open(w.options())
	mustBlock(t, blocked(t, c.Run(t.Context(), []string{"sessions"}, 0)), control.NoInstance, "--no-instances")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	o := w.options()
	o.NoInstances = true
	stranger := w.server.Client().Conn()
	defer func() { _ = stranger.Close() }() // nothing is buffered
	if err := stranger.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	c = w.open(o)
	mustBlock(t, blocked(t, c.Run(t.Context(), nil, 0)), control.Strangers, "in nobody's record")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	o.AllowStranger = []string{"127.0.0.0/8"}
	w.runWith(o, 0)
	if a, b := w.phase("sessions"), w.phase("limits"); a != phase.Prefixed || b != phase.Prefixed {
		t.Errorf("got %v and %v, want prefixed", a, b)
	}
}

func TestFreezeAndThaw(t *testing.T) {
	w := newWorld(t, testPlan)
	w.fill(10)
	w.join("a")
	changed, err := control.Freeze(t.Context(), w.store, w.plan, []string{"sessions"}, "carla")
	if err != nil || !slices.Equal(changed, []string{"sessions"}) {
		t.Fatalf("freeze: got %v, %v", changed, err)
	}
	if again, err := control.Freeze(t.Context(), w.store, w.plan, []string{"sessions"}, "carla"); err != nil || len(again) != 0 {
		t.Errorf("freeze again: got %v, %v, want nothing to do", again, err)
	}
	if s := w.status().Rules[0]; !s.Frozen {
		t.Error("status does not say that the rule is frozen")
	}
	c := w.open(w.options())
	mustBlock(t, blocked(t, c.Run(t.Context(), nil, 0)), control.Frozen, "rekey thaw sessions")
	if a, b := w.phase("sessions"), w.phase("limits"); a != phase.Legacy || b != phase.Prefixed {
		t.Errorf("got %v and %v, want legacy and prefixed", a, b)
	}
	if _, err := control.Thaw(t.Context(), w.store, w.plan, []string{"sessions"}, "carla"); err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context(), nil, 0); err != nil {
		t.Error(err)
	}
	var said []string
	for _, e := range w.log() {
		if e.By == "carla" {
			said = append(said, e.What)
		}
	}
	if got := strings.Join(said, " "); got != "freeze thaw" {
		t.Errorf("got %q in the log, want freeze thaw", got)
	}
}

// A freeze needs no lock: a controller that is about to write its step finds that it may not.
func TestFreezeDuringAStep(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	o := w.options()
	o.Before(func(write string) error {
		if write == "target" && w.phase("sessions") == phase.Guard {
			_, err := control.Freeze(t.Context(), w.store, w.plan, []string{"sessions"}, "carla")
			return err
		}
		return nil
	})
	c := w.open(o)
	mustBlock(t, blocked(t, c.Run(t.Context(), []string{"sessions"}, 0)), control.Frozen)
	if got := w.phase("sessions"); got != phase.Guard {
		t.Errorf("got %v, want guard", got)
	}
}

// What makes no sense is said before anything is done.
func TestUsage(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	c := w.open(w.options())
	wantWords(t, c.Run(t.Context(), []string{"nothing"}, 0), `no rule "nothing"`)
	wantWords(t, c.Run(t.Context(), []string{"limits"}, phase.Dual), "limits", "move", "no phase dual")
	_, err := control.Freeze(t.Context(), w.store, w.plan, []string{"nothing"}, "x")
	wantWords(t, err, `no rule "nothing"`)
	// A phase that only the other strategy has is no error where all rules are meant.
	if err := c.Run(t.Context(), nil, phase.Guard); err != nil {
		t.Error(err)
	}
	if a, b := w.phase("sessions"), w.phase("limits"); a != phase.Guard || b != phase.Legacy {
		t.Errorf("got %v and %v, want guard and legacy", a, b)
	}
	// A run goes forward only, a rollback back only.
	if err := c.Run(t.Context(), []string{"sessions"}, phase.Legacy); err != nil || w.phase("sessions") != phase.Guard {
		t.Errorf("run until legacy: got %v, %v, want that nothing is done", err, w.phase("sessions"))
	}
	if err := c.Rollback(t.Context(), []string{"sessions"}, phase.Dual); err != nil || w.phase("sessions") != phase.Guard {
		t.Errorf("rollback to dual: got %v, %v, want that nothing is done", err, w.phase("sessions"))
	}
}

// From a server whose memory is full a fleet can be frozen, and led back: what the way needs of the records is no
// more than they have.
func TestBackFromAFullServer(t *testing.T) {
	w := worldOn(t, redistest.Start(t), testPlan)
	w.join("a")
	w.run(phase.Guard, "sessions")
	w.do("CONFIG", "SET", "maxmemory", "1")
	if err := w.client.Set(t.Context(), "x", "y", 0).Err(); err == nil {
		t.Fatal("the server is not full")
	}
	for _, freeze := range []func(context.Context, *fleet.Store, *plan.Plan, []string, string) ([]string, error){control.Freeze, control.Thaw} {
		if _, err := freeze(t.Context(), w.store, w.plan, []string{"sessions"}, "carla"); err != nil {
			t.Fatal(err)
		}
	}
	o := w.options()
	o.Patience = 2 * time.Second
	c := w.open(o)
	if err := c.Rollback(t.Context(), []string{"sessions"}, 0); err != nil || w.phase("sessions") != phase.Legacy {
		t.Errorf("got %v, %v, want legacy", err, w.phase("sessions"))
	}
}
