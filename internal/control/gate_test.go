package control_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// sweepNow runs a sweep beside the controller, as an operator with --assume-phase does.
func (w *world) sweepNow(kind sweep.Kind, rule string, at phase.Phase) {
	w.t.Helper()
	result, err := sweep.Run(w.t.Context(), sweep.Options{Client: w.client, Plan: w.plan, Rule: rule, Kind: kind, Phase: at})
	if err != nil {
		w.t.Fatal(err)
	}
	if !result.Stored {
		w.t.Fatalf("the verdict of %v was not stored", kind)
	}
}

// gate is a gate of a rule's next step forward, as the status has it.
func (w *world) gate(rule string, g phase.Gate) control.GateState {
	w.t.Helper()
	for _, r := range w.status().Rules {
		if r.Rule != rule || r.Forward == nil {
			continue
		}
		for _, state := range r.Forward.Gates {
			if state.Gate == g.String() {
				return state
			}
		}
	}
	w.t.Fatalf("the next step of %s has no gate %v", rule, g)
	return control.GateState{}
}

// A sweep that began before the whole fleet was in the phase proves nothing: an instance that was still in
// the phase before may have undone what it found.
func TestASweepThatBeganTooEarly(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	slow := w.join("b")
	slow.deafen()
	o := w.options()
	o.Patience = 10 * testRenew
	c := w.open(o)
	mustBlock(t, blocked(t, c.Run(t.Context(), []string{"sessions"}, phase.Guard)), control.Behind, "b (testhost", "has not reached guard")
	w.sweepNow(sweep.Purge, "sessions", phase.Guard) // it finds no target name
	if g := w.gate("sessions", phase.NoTarget); g.Holds || !strings.Contains(g.Why, "was not seen to reach guard") {
		t.Errorf("before all are in guard: got %+v", g)
	}
	w.do("SET", "cw:test:session:1", "of b, which was not in guard yet")
	slow.hears()
	redistest.WaitFor(t, within, func() bool { return w.instance("b").Rules["sessions"].Phase == phase.Guard })
	err := c.Run(t.Context(), []string{"sessions"}, phase.Dual)
	mustBlock(t, blocked(t, err), control.Unproven, "1 target keys exist", "rekey purge sessions")
	if got := w.phase("sessions"); got != phase.Guard {
		t.Fatalf("the fleet went to %v past a target name that was left", got)
	}

	// Nothing but the time stands between such a verdict and the step.
	w.do("DEL", "cw:test:session:1")
	w.sweepNow(sweep.Purge, "sessions", phase.Guard)
	if g := w.gate("sessions", phase.NoTarget); !g.Holds {
		t.Errorf("of a sweep that began later: got %+v", g)
	}
	reached := w.store.Keys().Sweep("reached", "sessions")
	var record map[string]any
	if err := json.Unmarshal([]byte(w.client.Get(t.Context(), reached).Val()), &record); err != nil {
		t.Fatal(err)
	}
	record["at"] = record["at"].(float64) + 60e6
	text, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	w.do("SET", reached, text)
	if g := w.gate("sessions", phase.NoTarget); g.Holds || !strings.Contains(g.Why, "began before the whole fleet had reached guard") {
		t.Errorf("of one that began a minute too early: got %+v", g)
	}
}

// Each gate's verdict belongs to one run of the server and one history of its data, one phase and one plan.
func TestAVerdictOfAnotherServer(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	w.run(phase.Guard, "sessions")
	w.run(phase.Guard, "sessions") // it has seen that the fleet is there
	c := w.open(w.options())
	if _, err := c.Sweep(t.Context(), sweep.Options{Rule: "sessions", Kind: sweep.Purge}); err != nil {
		t.Fatal(err)
	}
	if g := w.gate("sessions", phase.NoTarget); !g.Holds {
		t.Fatalf("got %+v, want that it holds", g)
	}
	key := w.store.Keys().Sweep("purge", "sessions")
	sound := w.client.Get(t.Context(), key).Val()
	var record struct{ Verdict sweep.Verdict }
	if err := json.Unmarshal([]byte(sound), &record); err != nil {
		t.Fatal(err)
	}
	v := record.Verdict
	for what, change := range map[string][2]string{
		"restart or a failover":         {v.RunID, strings.Repeat("0", len(v.RunID))},
		"a restart or a failover":       {v.ReplicationID, strings.Repeat("1", len(v.ReplicationID))},
		"another phase or another plan": {v.RuleHash, strings.Repeat("2", len(v.RuleHash))},
		"of another phase":              {`"phase":"guard"`, `"phase":"legacy"`},
	} {
		if !strings.Contains(sound, change[0]) {
			t.Fatalf("the record %s has no %s", sound, change[0])
		}
		w.do("SET", key, strings.ReplaceAll(sound, change[0], change[1]))
		if g := w.gate("sessions", phase.NoTarget); g.Holds || !strings.Contains(g.Why, what) {
			t.Errorf("with %v: got %+v, want that it says %q", change, g, what)
		}
	}
}
