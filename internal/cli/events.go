package cli

import (
	"cmp"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/phase"
)

// Every step waits a moment for its instances. Only a wait that lasts is worth a line; and a soak says now
// and then how long it will take yet.
const (
	patientFor = 2 * time.Second
	soakEvery  = time.Minute
)

// events prints what happens while rules are walked: a line for each thing, or an object with --json. Close
// ends it.
type events struct {
	app   *app
	width int // of the longest name of a rule

	mu      sync.Mutex
	closed  bool
	waits   map[string]wait // by rule
	soaked  map[string]time.Time
	sweeps  *progress
	patient time.Duration
}

// wait is what a rule waits for.
type wait struct {
	key  string
	told *time.Timer // tells of it later; nil: it was told
}

func (a *app) newEvents(rules []string) *events {
	e := &events{app: a, waits: make(map[string]wait), soaked: make(map[string]time.Time), sweeps: a.newProgress(), patient: patientFor}
	if a.json {
		e.patient = 0 // a program wants it at once
	}
	for _, r := range rules {
		e.width = max(e.width, len(r))
	}
	return e
}

// Close ends what was to be told later.
func (e *events) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	for _, w := range e.waits {
		w.stop()
	}
}

func (w wait) stop() {
	if w.told != nil {
		w.told.Stop()
	}
}

// happened is told of one event after the other.
func (e *events) happened(ev control.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch ev.Kind {
	case control.Sweeping:
		if ev.Sweep != nil {
			e.sweeps.report(*ev.Sweep)
		}
		return
	case control.Soaking:
		if ev.At.Sub(e.soaked[ev.Rule]) < soakEvery {
			return
		}
		e.soaked[ev.Rule] = ev.At
	case control.Waiting, control.Retrying:
		e.later(ev)
		return
	}
	e.waits[ev.Rule].stop()
	delete(e.waits, ev.Rule)
	e.say(&ev)
}

// later tells of a wait if it lasts. Texts of waits hold ages; who is waited for does not change by itself.
// The lock is held.
func (e *events) later(ev control.Event) {
	key := string(ev.Kind) + ev.Instance
	for _, b := range ev.Blockers {
		key += "\n" + string(b.Reason) + " " + b.Instance + " " + b.Gate
	}
	before, ok := e.waits[ev.Rule]
	switch {
	case ok && before.key == key:
		return
	case ok && before.told != nil: // another wait since the same moment
		before.key = key
		e.waits[ev.Rule] = before
		return
	case e.patient == 0:
		e.waits[ev.Rule] = wait{key: key}
		e.say(&ev)
		return
	}
	var w wait
	w.key = key
	w.told = time.AfterFunc(e.patient, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if now, ok := e.waits[ev.Rule]; ok && !e.closed && now.told == w.told {
			e.waits[ev.Rule] = wait{key: now.key}
			e.say(&ev)
		}
	})
	e.waits[ev.Rule] = w
}

// say prints an event. The lock is held.
func (e *events) say(ev *control.Event) {
	if e.app.json {
		// The result says where it ended; a line that is lost is no loss.
		_ = e.app.printJSON(struct {
			Type string `json:"type"`
			*control.Event
		}{"event", ev})
		return
	}
	kind, text := eventText(ev)
	e.app.printLines([]line{{kind, fmt.Sprintf("%s  %-*s  %s", ev.At.Local().Format(time.TimeOnly), e.width, cmp.Or(ev.Rule, "-"), text)}})
}

// eventText is what an event says.
func eventText(ev *control.Event) (lineKind, string) {
	switch ev.Kind {
	case control.Waiting:
		return waitLine, "waits: " + cmp.Or(blockersText(ev.Blockers), ev.Text)
	case control.Reached:
		return plainLine, fmt.Sprintf("every instance is in %s", ev.From)
	case control.Proven:
		return plainLine, gateText(ev.Gate)
	case control.Soaking:
		return plainLine, "soaks: " + ev.Text
	case control.Stepped:
		return boldLine, fmt.Sprintf("%s to %s", ev.From, ev.To)
	case control.Done:
		return goodLine, fmt.Sprintf("done, in %s", cmp.Or(ev.To, ev.From))
	case control.Stays:
		return badLine, fmt.Sprintf("stays %s: %s", whereText(ev.From, ev.Blockers), cmp.Or(blockersText(ev.Blockers), ev.Text))
	case control.Buried:
		return waitLine, cmp.Or(ev.Text, ev.Instance+" is lost; its connections are closed and it counts no more")
	case control.Retrying:
		return waitLine, "tries again: " + ev.Text
	}
	return plainLine, strings.TrimSpace(string(ev.Kind) + " " + ev.Text)
}

// gateText is what was proven.
func gateText(name string) string {
	g, err := phase.ParseGate(name)
	if err != nil {
		return "proven: " + name
	}
	return "proven: " + g.Proves()
}

// mostBlockers is how many things in the way a line names.
const mostBlockers = 3

func blockersText(all []control.Blocker) string {
	var out []string
	for i, b := range all {
		if i == mostBlockers {
			out = append(out, fmt.Sprintf("and %d more", len(all)-i))
			break
		}
		out = append(out, b.Text)
	}
	return strings.Join(out, "; ")
}
