package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/phase"
)

// What failed is said beside what a gate holds, and decides the exit code.
func TestExplainControl(t *testing.T) {
	held := &control.HeldError{Held: []control.Held{{Rule: "sessions", From: phase.Dual, To: phase.Settled, Blockers: []control.Blocker{{Text: "web-1 is behind", Try: "rekey status --watch"}}}}}
	full := errors.New("rekey: COPY failed: OOM; raise maxmemory")
	for _, c := range []struct {
		name string
		err  error
		code int
		try  string
		says []string
	}{
		{"held", held, exitGate, "rekey status --watch", []string{"sessions stays in dual:\n  web-1 is behind"}},
		{"held, in a join", errors.Join(held, nil), exitGate, "rekey status --watch", []string{"web-1 is behind"}},
		{"held, with what it comes from", fmt.Errorf("rule sessions: %w", held), exitGate, "rekey status --watch", []string{"web-1 is behind"}},
		{"failed", full, exitFailed, "raise maxmemory", []string{"COPY failed: OOM"}},
		{"one held and one failed", errors.Join(full, held), exitFailed, "raise maxmemory", []string{"web-1 is behind", "\nCOPY failed: OOM"}},
		{"and the lock was not given up", errors.Join(errors.Join(full, held), errors.New("rekey: give the lock up: EOF")), exitFailed, "raise maxmemory",
			[]string{"web-1 is behind", "\nCOPY failed: OOM", "\ngive the lock up: EOF"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f *failure
			if !errors.As(explainControl(c.err), &f) {
				t.Fatalf("no failure: %v", explainControl(c.err))
			}
			if f.code != c.code || f.try != c.try {
				t.Errorf("exit code %d, try %q; want %d, %q", f.code, f.try, c.code, c.try)
			}
			for _, want := range c.says {
				if !strings.Contains(f.Error(), want) {
					t.Errorf("no %q in %q", want, f.Error())
				}
			}
		})
	}
}
