package control_test

import (
	"errors"
	"testing"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/phase"
)

// A controller is killed before its n-th write, for every n that a walk has, up and down. Another one goes on
// from what is in Redis.
func TestKilledBeforeEachWrite(t *testing.T) {
	for rule, keys := range map[string]string{"sessions": "session:*", "limits": "limit:*"} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, testPlan)
			w.fill(20)
			w.join("a")
			w.join("b")
			points := make(map[string]int)
			for n, up, down := 0, false, false; !up || !down; n++ {
				up = w.killedAfter(n, points, phase.Prefixed, rule)
				w.goTo(phase.Prefixed, rule)
				if got := w.exists(keys); got != 0 {
					t.Fatalf("killed after %d writes on the way up: there are %d legacy names", n, got)
				}
				down = w.killedAfter(n, points, phase.Legacy, rule)
				w.goTo(phase.Legacy, rule)
				if got := w.exists(keys); got != 20 {
					t.Fatalf("killed after %d writes on the way back: there are %d legacy names, want 20", n, got)
				}
			}
			for _, write := range []string{"acquire", "reached", "replicate", "enter", "retire", "target", "release"} {
				if points[write] == 0 {
					t.Errorf("no controller was killed before %s", write)
				}
			}
			t.Logf("killed before %v", points)
		})
	}
}

// The same with an instance that is dead, and has a connection.
func TestKilledWhileBurying(t *testing.T) {
	w := newWorld(t, testPlan)
	points := make(map[string]int)
	for n := 0; ; n++ {
		w.join("a")
		dead := w.join("dead")
		conn := dead.connect()
		dead.dies()
		done := w.killedAfter(n, points, phase.Prefixed, "sessions")
		w.goTo(phase.Prefixed)
		if err := conn.Ping(t.Context()).Err(); err == nil {
			t.Fatalf("killed after %d writes: the dead instance's connection is open", n)
		}
		if done || points["closed"] > 0 && points["target"] > 0 {
			break
		}
		w.goTo(phase.Legacy)
	}
	for _, write := range []string{"bury", "closed"} {
		if points[write] == 0 {
			t.Errorf("no controller was killed before %s", write)
		}
	}
}

// killedAfter lets a controller make n writes on its way to a goal and kills it then. It says whether it had
// arrived before.
func (w *world) killedAfter(n int, points map[string]int, goal phase.Phase, rules ...string) bool {
	w.t.Helper()
	left, killed := n, false
	o := w.options()
	o.TakeOver, o.Purge = true, true
	o.Parallel = 1
	guard := make(chan struct{}, 1) // the two rules write at once
	o.Before(func(write string) error {
		guard <- struct{}{}
		defer func() { <-guard }()
		if write == "renew" { // comes by time
			return nil
		}
		if !killed && left == 0 {
			killed = true
			points[write]++
		}
		left--
		if killed {
			return control.ErrVanished
		}
		return nil
	})
	c, err := control.Open(w.t.Context(), w.plan, o)
	if errors.Is(err, control.ErrVanished) {
		return false
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if goal == phase.Prefixed {
		err = c.Run(w.t.Context(), rules, 0)
	} else {
		err = c.Rollback(w.t.Context(), rules, 0)
	}
	if err == nil {
		err = c.Close()
	}
	if errors.Is(err, control.ErrVanished) {
		c.Vanish()
		return false
	}
	if err != nil {
		w.t.Fatalf("killed after %d writes: %v", n, err)
	}
	return true
}

// goTo lets a controller do the rest.
func (w *world) goTo(goal phase.Phase, rules ...string) {
	w.t.Helper()
	o := w.options()
	o.TakeOver, o.Purge = true, true
	c := w.open(o)
	var err error
	if goal == phase.Prefixed {
		err = c.Run(w.t.Context(), rules, 0)
	} else {
		err = c.Rollback(w.t.Context(), rules, 0)
	}
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		w.t.Fatal(err)
	}
}
