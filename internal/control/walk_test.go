package control_test

import (
	"testing"

	"github.com/classwaves/rekey/phase"
)

// A fleet of three goes from end to end and back, both strategies at once.
func TestRunAndRollback(t *testing.T) {
	w := newWorld(t, testPlan)
	w.fill(50)
	for _, name := range []string{"a", "b", "c"} {
		w.join(name)
	}
	w.run(0)
	for _, rule := range []string{"sessions", "limits"} {
		if got := w.phase(rule); got != phase.Prefixed {
			t.Errorf("rule %s: got %v, want prefixed", rule, got)
		}
	}
	if legacy, target := w.exists("session:*")+w.exists("limit:*"), w.exists("cw:test:*:*"); legacy != 0 || target < 100 {
		t.Errorf("got %d legacy and %d target names, want 0 and at least 100", legacy, target)
	}
	c := w.open(w.options())
	if err := c.Rollback(t.Context(), nil, 0); err != nil {
		t.Fatal(err)
	}
	for _, rule := range []string{"sessions", "limits"} {
		if got := w.phase(rule); got != phase.Legacy {
			t.Errorf("rule %s: got %v, want legacy", rule, got)
		}
	}
	if got := w.exists("session:*") + w.exists("limit:*"); got != 100 {
		t.Errorf("got %d legacy names, want 100", got)
	}
}
