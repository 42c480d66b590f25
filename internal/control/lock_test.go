package control_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

func (w *world) asOwner(name string, takeOver bool) control.Options {
	o := w.options()
	o.Owner, o.TakeOver = name, takeOver
	return o
}

func TestTwoControllers(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	first := w.open(w.asOwner("anna", false))
	_, err := control.Open(t.Context(), w.plan, w.asOwner("bert", false))
	var locked *control.LockedError
	if !errors.As(err, &locked) || locked.Holder.Owner != "anna" || locked.Holder.Since.IsZero() {
		t.Fatalf("got %v, want one that says that anna holds the lock", err)
	}
	for _, word := range []string{"anna", "since", "--take-over"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error %q does not say %q", err, word)
		}
	}
	if s := w.status(); s.Lock == nil || s.Lock.Owner != "anna" || !s.Locked {
		t.Errorf("status: got lock %+v, want anna's", s.Lock)
	}
	second := w.open(w.asOwner("bert", true))
	if second.Holder().Gen <= first.Holder().Gen {
		t.Errorf("the generation went from %d to %d", first.Holder().Gen, second.Holder().Gen)
	}
	var fenced *control.FencedError
	if err := first.Run(t.Context(), nil, 0); !errors.As(err, &fenced) || fenced.Holder.Owner != "bert" {
		t.Errorf("the overtaken controller: got %v, want one that names bert", err)
	}
	if err := second.Run(t.Context(), nil, 0); err != nil {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("close the overtaken controller: %v", err)
	}
	if s := w.status(); !s.Locked || s.Lock.Owner != "bert" {
		t.Error("the loser gave up the winner's lock")
	}
}

// A controller that is under way ends soon after it was overtaken, whatever it waits for.
func TestOvertakenWhileWaiting(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	slow := w.join("b")
	slow.deafen()
	first := w.open(w.asOwner("anna", false))
	ended := make(chan error, 1)
	go func() { ended <- first.Run(context.Background(), []string{"sessions"}, 0) }()
	redistest.WaitFor(t, within, func() bool { return w.phase("sessions") == phase.Guard })
	second := w.open(w.asOwner("bert", true))
	if err := <-ended; !errors.As(err, new(*control.FencedError)) {
		t.Errorf("got %v, want that it was overtaken", err)
	}
	slow.hears()
	if err := second.Rollback(t.Context(), nil, 0); err != nil {
		t.Error(err)
	}
}

// One that was overtaken by a controller which has finished since is told so: nobody holds the lock, and the
// records are as that one has left them. A lock that is gone without a later holder is lost.
func TestOvertakenByOneThatHasFinished(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	first := w.open(w.asOwner("anna", false))
	if err := w.open(w.asOwner("bert", true)).Close(); err != nil {
		t.Fatal(err)
	}
	var fenced *control.FencedError
	err := first.Run(t.Context(), nil, 0)
	if !errors.As(err, &fenced) || fenced.Holder.Owner != "" || errors.Is(err, fleet.ErrRestore) {
		t.Errorf("got %v, want that it was overtaken", err)
	}
	wantWords(t, err, "overtaken", "nobody holds the lock", "rekey status")
	if strings.Contains(err.Error(), "since") {
		t.Errorf("the error %q tells a time, and nobody holds the lock", err)
	}
	third := w.open(w.asOwner("cleo", false))
	if err := w.client.Del(t.Context(), w.store.Keys().Lock()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := third.Run(t.Context(), nil, 0); !errors.Is(err, fleet.ErrRestore) {
		t.Errorf("without the lock's record: got %v, want that the records are lost", err)
	}
}

// A write that was decided on before a take-over arrives after it.
func TestLateWriteIsRejected(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	first := w.open(w.asOwner("anna", false))
	second := w.open(w.asOwner("bert", true))
	if err := second.Run(t.Context(), []string{"sessions"}, phase.Dual); err != nil {
		t.Fatal(err)
	}
	slow := w.join("c")
	slow.deafen()
	before := w.target("sessions")
	if err := first.LateTarget(t.Context(), "sessions", phase.Prefixed); !errors.As(err, new(*control.FencedError)) {
		t.Errorf("the late write: got %v, want that it was overtaken", err)
	}
	if got := w.target("sessions"); got != before {
		t.Errorf("the late write changed the target from %+v to %+v", before, got)
	}

	// Without the fence it arrives, and the fleet is in two phases that may not stand beside each other.
	first.WithoutFence(t.Context())
	if err := first.LateTarget(t.Context(), "sessions", phase.Prefixed); err != nil {
		t.Fatal(err)
	}
	w.join("b")
	w.awaitFoul()
}

// The generation is above all that anybody has seen, even if its counter is lost.
func TestTheGenerationNeverFalls(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	for range 3 {
		w.run(phase.Guard, "sessions")
		c := w.open(w.options())
		if err := c.Rollback(t.Context(), []string{"sessions"}, 0); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	keys := w.store.Keys()
	if err := w.client.Del(t.Context(), keys.Gen(), keys.Lock()).Err(); err != nil {
		t.Fatal(err)
	}
	seen := w.target("sessions").Gen
	c := w.open(w.options())
	if got := c.Holder().Gen; got <= seen {
		t.Errorf("got generation %d after %d", got, seen)
	}
}

// A lock that is not renewed is free after its term; the one who held it writes nothing any more.
func TestTheTermRunsOut(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	o := w.asOwner("anna", false)
	o.Term = 500 * time.Millisecond
	o.Before(func(write string) error {
		if write == "renew" {
			return errors.New("it hangs")
		}
		return nil
	})
	first := w.open(o)
	var second *control.Controller
	redistest.WaitFor(t, within, func() bool {
		var err error
		second, err = control.Open(t.Context(), w.plan, w.asOwner("bert", false))
		return err == nil
	})
	defer func() { _ = second.Close() }() // the lock goes with the test
	before := w.target("sessions")
	var fenced *control.FencedError
	if err := first.LateTarget(t.Context(), "sessions", phase.Guard); !errors.As(err, &fenced) || fenced.Holder.Owner != second.Holder().Owner {
		t.Errorf("the one who has lost the lock: got %v, want that %s has it", err, second.Holder().Owner)
	}
	if got := w.target("sessions"); got != before {
		t.Errorf("the one who has lost the lock changed the target from %+v to %+v", before, got)
	}
}

// The sweep of a controller that was overtaken moves no key any more: its connections are closed before the
// winner makes a step. A RENAMENX of it would otherwise arrive when the rule is back at legacy, where nobody
// reads the target name.
func TestTheLosersSweepIsClosed(t *testing.T) {
	for _, c := range []struct {
		name   string
		lonely bool // the sweep's connections are nobody's
	}{{"admitted", false}, {"not admitted", true}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, testPlan)
			w.fill(2000)
			w.join("a")
			paged, overtaken := make(chan struct{}), make(chan struct{})
			var once sync.Once
			hold := func() {
				once.Do(func() {
					close(paged)
					<-overtaken
				})
			}
			o := w.asOwner("anna", false)
			o.Progress = func(e control.Event) {
				if e.Kind == control.Sweeping && e.Sweep.Kind == sweep.Relocate && e.Sweep.Changed > 0 {
					hold()
				}
			}
			until := phase.Phase(0)
			if c.lonely {
				until = phase.Move
			}
			ended := make(chan error, 1)
			first := w.open(o)
			go func() {
				err := first.Run(context.Background(), []string{"limits"}, until)
				if c.lonely && err == nil {
					_, err = sweep.Run(context.Background(), sweep.Options{
						Client: w.client, Plan: w.plan, Rule: "limits", Kind: sweep.Relocate, Phase: phase.Move,
						OnProgress: func(sweep.Progress) { hold() },
					})
				}
				ended <- err
			}()
			<-paged
			second := w.open(w.asOwner("bert", true))
			moved := w.exists("cw:test:limit:*")
			close(overtaken)
			err := <-ended
			after := w.exists("cw:test:limit:*")
			if c.lonely {
				if after == moved {
					t.Error("without admission the loser's sweep stopped as well: the test shows nothing")
				}
				return
			}
			if !errors.As(err, new(*control.FencedError)) {
				t.Errorf("got %v, want that it was overtaken", err)
			}
			if after != moved {
				t.Errorf("the loser moved %d keys after the take-over", after-moved)
			}
			if err := second.Rollback(t.Context(), []string{"limits"}, 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// So does an adoption of the one who was overtaken.
func TestTheLosersAdoptionIsClosed(t *testing.T) {
	w := newWorld(t, testPlan)
	w.fill(2000)
	first := w.open(w.asOwner("anna", false))
	overtaken := false
	moved := 0
	_, err := first.Adopt(t.Context(), sweep.AdoptOptions{
		Rule: "limits", Reads: sweep.TargetName, Leave: phase.Prefixed, Execute: true,
		OnProgress: func(p sweep.Progress) {
			if p.Changed > 0 && !overtaken {
				overtaken = true
				w.open(w.asOwner("bert", true))
				moved = w.exists("cw:test:limit:*")
			}
		},
	})
	if !errors.As(err, new(*control.FencedError)) {
		t.Errorf("got %v, want that it was overtaken", err)
	}
	if after := w.exists("cw:test:limit:*"); moved == 0 || moved == 2000 || after != moved {
		t.Errorf("%d keys were moved before the take-over and %d after it", moved, after-moved)
	}
}

// Records of a newer version stop everything.
func TestALockOfANewerVersion(t *testing.T) {
	w := newWorld(t, testPlan)
	if err := w.client.Set(t.Context(), w.store.Keys().Lock(), `{"until":9999999999999999,"owner":"x","format":99}`, 0).Err(); err != nil {
		t.Fatal(err)
	}
	var format *fleet.FormatError
	if _, err := control.Open(t.Context(), w.plan, w.options()); !errors.As(err, &format) {
		t.Errorf("got %v, want a FormatError", err)
	}
}
