package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/sweep"
)

func TestKnobCommand(t *testing.T) {
	b := newBench(t)
	if run := b.run(exitDone, "knob"); !strings.Contains(run.stdout, "nothing is set") {
		t.Errorf("got %q", run.stdout)
	}
	b.run(exitDone, "knob", "sessions", "--rate", "20000", "--batch", "100", "--pause")
	b.run(exitDone, "knob", "sessions", "--resume")
	run := b.run(exitDone, "knob", "--all", "--nice", "0.5")
	if want := "all rules: nice 0.5\nsessions: not paused, 20000 keys/s, batch 100\n"; run.stdout != want {
		t.Errorf("got %q, want %q", run.stdout, want)
	}
	o := objects(t, b.run(exitDone, "knob", "sessions", "--reset", "--json").stdout)
	if knobs := o[0]["knobs"].(map[string]any); o[0]["type"] != "knobs" || len(knobs) != 1 {
		t.Errorf("got %v", o)
	}
	for _, wrong := range [][]string{
		{"knob", "--rate", "1"}, {"knob", "nobody", "--pause"}, {"knob", "--all", "--pause", "--resume"}, {"knob", "--all", "--batch", "0"},
		{"knob", "sessions", "--all", "--pause"}, {"knob", "--all", "--reset", "--pause"}, {"knob", "--all", "--rate", "-1"},
	} {
		b.run(exitUsage, wrong...)
	}
}

// What another version has set, or for a rule that the plan has no more, keeps every sweep from starting: reset
// without a name removes it.
func TestKnobResetOfAll(t *testing.T) {
	b := newBench(t)
	for _, field := range []string{"burst:*", "rate:gone"} {
		b.set("HSET", "cw:prod:rekey:sweep:knobs", field, "fast")
		backfill := []string{"backfill", "sessions", "--assume-phase", "dual"}
		if run := b.run(exitFailed, backfill...); !strings.Contains(run.stderr, "Try: rekey knob --reset removes all that is set") {
			t.Errorf("got %s", run.stderr)
		}
		if run := b.run(exitDone, "knob", "--reset"); !strings.Contains(run.stdout, "nothing is set") {
			t.Errorf("got %q", run.stdout)
		}
		b.run(exitDone, backfill...)
	}
}

// A meter tells rate and time left of this run alone, also of a sweep that goes on from a checkpoint.
func TestMeter(t *testing.T) {
	begun := time.Unix(1000, 0)
	p := sweep.Progress{Kind: sweep.Backfill, Rule: "sessions", Pass: 1, Passes: 2, Visited: 500, Keys: 1000, Counts: sweep.Counts{Matched: 400}}
	m := &meter{begun: begun, done: doneOf(p), keys: p.Matched}
	p.Visited, p.Matched, p.Changed, p.Problems, p.Reason = 1000, 900, 7, 1, "latency: p99 3ms, limit 1ms"
	r := m.read(begun.Add(10*time.Second), p)
	if want := "50 %, pass 1 of 2, 900 keys (50/s, 20s left), 7 changed, 1 problems; latency: p99 3ms, limit 1ms"; r.text() != want {
		t.Errorf("got %q, want %q", r.text(), want)
	}
	s, _ := newBarScreen(true).Update(r)
	view := s.View().Content
	for _, want := range []string{"backfill sessions", "50 %", "20s left", "100 %  database 0, pass 1 of 2", "900 keys, 50/s, 7 changed, 1 problems", "held back: latency"} {
		if !strings.Contains(view, want) {
			t.Errorf("the bars do not show %q:\n%s", want, view)
		}
	}
}

// The trash is dry like cleanup itself, and its undo as well.
func TestTrashCommand(t *testing.T) {
	b := newBench(t)
	b.set("SET", "secure_session:token1", "v")
	b.set("SET", "cw:prod:secure_session:token1", "v")
	cleanup := []string{"cleanup", "sessions", "--assume-phase", "sealed"}
	b.run(exitGate, append(cleanup, "--trash", "24h")...)
	if b.get("secure_session:token1") != "v" {
		t.Fatal("a dry run removed a key")
	}
	b.run(exitDone, append(cleanup, "--trash", "24h", "--execute")...)
	if b.get("secure_session:token1") != "" {
		t.Fatal("the key is still there")
	}
	b.run(exitDone, append(cleanup, "--undo")...)
	if b.get("secure_session:token1") != "" {
		t.Fatal("a dry undo brought a key back")
	}
	if run := b.run(exitDone, append(cleanup, "--undo", "--execute")...); b.get("secure_session:token1") != "v" || strings.Contains(run.stdout, "token1") {
		t.Errorf("after the undo the key is %q\n%s", b.get("secure_session:token1"), run.stdout)
	}
	b.run(exitUsage, append(cleanup, "--undo", "--trash", "1h")...)
}
