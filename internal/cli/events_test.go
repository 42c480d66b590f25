package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

func newEventsTest(asJSON bool) (*events, *growing) {
	out := new(growing)
	return (&app{stdout: out, stderr: out, json: asJSON, lookup: func(string) (string, bool) { return "", false }}).newEvents([]string{"sessions", "limits"}), out
}

func TestEventLines(t *testing.T) {
	e, out := newEventsTest(false)
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.Local)
	blocked := []control.Blocker{{Text: "one"}, {Text: "two"}, {Text: "three"}, {Text: "four"}, {Text: "five"}}
	for _, ev := range []control.Event{
		{Kind: control.Stepped, Rule: "sessions", From: phase.Legacy, To: phase.Guard},
		{Kind: control.Reached, Rule: "sessions", From: phase.Guard},
		{Kind: control.Sweeping, Rule: "sessions", Sweep: &sweep.Progress{}},
		{Kind: control.Proven, Rule: "sessions", Gate: phase.NoTarget.String()},
		{Kind: control.Buried, Instance: "web-3"},
		{Kind: control.Soaking, Rule: "limits", Text: "9m to go"},
		{Kind: control.Soaking, Rule: "limits", Text: "8m59s to go"},
		{Kind: control.Stays, Rule: "limits", From: phase.Hold, Blockers: blocked},
		{Kind: control.Stays, Rule: "limits", From: phase.Legacy, Blockers: []control.Blocker{{Reason: control.Records, Text: "its record is gone"}}},
		{Kind: control.Done, Rule: "sessions", From: phase.Prefixed},
	} {
		ev.At = at
		e.happened(ev)
	}
	e.happened(control.Event{Kind: control.Soaking, At: at.Add(soakEvery), Rule: "limits", Text: "8m to go"})
	want := `09:00:00  sessions  legacy to guard
09:00:00  sessions  every instance is in guard
09:00:00  sessions  proven: no target key exists
09:00:00  -         web-3 is lost; its connections are closed and it counts no more
09:00:00  limits    soaks: 9m to go
09:00:00  limits    stays in hold: one; two; three; and 2 more
09:00:00  limits    stays put: its record is gone
09:00:00  sessions  done, in prefixed
09:01:00  limits    soaks: 8m to go
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

// A wait that ends soon is not worth a line, one that lasts is worth one.
func TestLastingWaits(t *testing.T) {
	waits := func(text string) control.Event {
		return control.Event{Kind: control.Waiting, At: time.Now(), Rule: "sessions", Blockers: []control.Blocker{{Reason: control.Behind, Instance: "web-1", Text: text}}}
	}
	e, out := newEventsTest(false)
	e.patient = time.Hour
	e.happened(waits("web-1 is behind"))
	e.happened(control.Event{Kind: control.Reached, At: time.Now(), Rule: "sessions", From: phase.Guard})
	if got := out.String(); strings.Contains(got, "waits") || !strings.Contains(got, "every instance is in guard") {
		t.Errorf("got %s", got)
	}
	e.Close()

	e, out = newEventsTest(false)
	defer e.Close()
	e.patient = time.Millisecond
	e.happened(waits("web-1 is behind for 1s"))
	redistest.WaitFor(t, 10*time.Second, func() bool { return strings.Contains(out.String(), "waits: web-1 is behind for 1s") })
	e.happened(waits("web-1 is behind for 2s")) // the same wait, older
	e.happened(control.Event{Kind: control.Reached, At: time.Now(), Rule: "sessions", From: phase.Guard})
	if n := strings.Count(out.String(), "waits"); n != 1 {
		t.Errorf("said %d times\n%s", n, out)
	}
}

func TestEventsJSON(t *testing.T) {
	e, out := newEventsTest(true)
	defer e.Close()
	blocked := []control.Blocker{{Reason: control.Behind, Instance: "web-1", Text: "web-1 is behind"}}
	for range 2 {
		e.happened(control.Event{Kind: control.Waiting, Rule: "sessions", From: phase.Guard, Blockers: blocked})
	}
	e.happened(control.Event{Kind: control.Done, Rule: "sessions", From: phase.Prefixed})
	o := objects(t, out.String())
	if len(o) != 2 || o[0]["type"] != "event" || o[0]["kind"] != "waiting" || o[0]["from"] != "guard" || o[1]["kind"] != "done" {
		t.Errorf("got %s", out)
	}
}
