package control_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/phase"
)

// Eleven rules of both strategies go at once, under one controller.
func TestElevenRulesAtOnce(t *testing.T) {
	text := "version: 1\nenvironment: test\nsoak: 0s\nrules:\n"
	for i := range 11 {
		strategy := "mirror"
		if i%3 == 0 {
			strategy = "move"
		}
		text += fmt.Sprintf("  - {name: r%d, legacy: \"r%d:{id}\", target: \"cw:{env}:r%d:{id}\", strategy: %s}\n", i, i, i, strategy)
	}
	w := newWorld(t, text)
	for i := range 11 {
		w.do("SET", fmt.Sprintf("r%d:1", i), "v")
	}
	for i := range 4 {
		w.join(fmt.Sprintf("instance-%d", i))
	}
	w.run(0)
	for i := range 11 {
		if got := w.phase(fmt.Sprintf("r%d", i)); got != phase.Prefixed {
			t.Errorf("r%d: got %v, want prefixed", i, got)
		}
	}
	if legacy, target := w.exists("r*:1"), w.exists("cw:test:*"); legacy != 0 || target != 11 {
		t.Errorf("got %d legacy and %d target names", legacy, target)
	}
}

// One rule goes back while another one goes forward.
func TestBothWaysAtOnce(t *testing.T) {
	w := newWorld(t, testPlan)
	w.fill(20)
	w.join("a")
	w.join("b")
	w.run(0, "sessions")
	c := w.open(w.options())
	var work sync.WaitGroup
	work.Go(func() {
		if err := c.Rollback(context.Background(), []string{"sessions"}, 0); err != nil {
			t.Error(err)
		}
	})
	work.Go(func() {
		if err := c.Run(context.Background(), []string{"limits"}, 0); err != nil {
			t.Error(err)
		}
	})
	work.Wait()
	if a, b := w.phase("sessions"), w.phase("limits"); a != phase.Legacy || b != phase.Prefixed {
		t.Errorf("got %v and %v, want legacy and prefixed", a, b)
	}
}

// Drain is for who skips the backfill; from there the way goes on, and back.
func TestByDrain(t *testing.T) {
	w := newWorld(t, testPlan)
	w.fill(5)
	w.join("a")
	w.run(phase.Dual, "sessions")
	c := w.open(w.options())
	if err := c.Advance(t.Context(), []string{"sessions"}, phase.Drain); err != nil || w.phase("sessions") != phase.Drain {
		t.Fatalf("got %v, %v, want drain", err, w.phase("sessions"))
	}
	// settled and drain are on two ways that meet in dual: who goes from one to the other goes back, then forward.
	for _, to := range []phase.Phase{phase.Settled, phase.Drain} {
		if err := c.Rollback(t.Context(), []string{"sessions"}, to); err != nil || w.phase("sessions") != to {
			t.Errorf("got %v, %v, want %v", err, w.phase("sessions"), to)
		}
	}
	if err := c.Run(t.Context(), []string{"sessions"}, 0); err != nil || w.phase("sessions") != phase.Prefixed {
		t.Fatalf("got %v, %v, want prefixed", err, w.phase("sessions"))
	}
	if err := c.Rollback(t.Context(), []string{"sessions"}, phase.Drain); err != nil || w.phase("sessions") != phase.Drain {
		t.Errorf("got %v, %v, want drain", err, w.phase("sessions"))
	}
	if err := c.Rollback(t.Context(), []string{"sessions"}, 0); err != nil || w.phase("sessions") != phase.Legacy {
		t.Errorf("got %v, %v, want legacy", err, w.phase("sessions"))
	}
}

// Advance makes one step with each rule.
func TestAdvance(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	c := w.open(w.options())
	for _, want := range [][2]phase.Phase{{phase.Guard, phase.Hold}, {phase.Dual, phase.Move}, {phase.Settled, phase.Prefixed}} {
		if err := c.Advance(t.Context(), nil, 0); err != nil {
			t.Fatal(err)
		}
		if a, b := w.phase("sessions"), w.phase("limits"); a != want[0] || b != want[1] {
			t.Errorf("got %v and %v, want %v", a, b, want)
		}
	}
}

// An instance that joins in the middle of a step is waited for like the others: the script looks whether the
// fleet is still the one on which the step was decided.
func TestOneThatJoinsDuringAStep(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	var once sync.Once
	o := w.options()
	o.Patience = 20 * testRenew
	o.Before(func(write string) error {
		if write == "target" {
			once.Do(func() { w.join("odd-one", record(func(i *fleet.Instance) { i.Observer = true })) })
		}
		return nil
	})
	c := w.open(o)
	mustBlock(t, blocked(t, c.Run(t.Context(), []string{"sessions"}, 0)), control.Observer, "odd-one")
	if got := w.phase("sessions"); got != phase.Legacy {
		t.Errorf("got %v, want legacy", got)
	}
}

// The log says what was done, by whom, from where to where and on which evidence, and is bounded.
func TestLog(t *testing.T) {
	w := newWorld(t, testPlan)
	w.fill(5)
	w.join("a")
	w.run(phase.Settled, "sessions")
	var got []string
	for _, e := range w.log() {
		got = append(got, strings.TrimSpace(e.What+" "+e.From+" "+e.To))
		if e.By != "tester" || e.Gen == 0 || e.At.IsZero() {
			t.Errorf("entry %+v does not say who and when", e)
		}
		if e.To == "settled" {
			for _, word := range []string{`"copied"`, `"backfill"`, `"instances":1`, `"holds":true`} {
				if !strings.Contains(string(e.Evidence), word) {
					t.Errorf("the evidence has no %s: %s", word, e.Evidence)
				}
			}
		}
	}
	if want := "lock|step legacy guard|step guard dual|step dual settled"; strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", strings.Join(got, "|"), want)
	}
	if last, err := control.Log(t.Context(), w.store, 1); err != nil || len(last) != 1 || last[0].To != "settled" {
		t.Errorf("the last entry: got %+v, %v", last, err)
	}
}
