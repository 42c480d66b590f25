package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/control"
)

// events prints what happens while rules are walked: a line for each thing, or an object with --json.
type events struct {
	app   *app
	width int // of the longest name of a rule
	// said is the last wait of each rule, so that one that goes on is said once; soaked is when its soak
	// was last told of.
	said   map[string]string
	soaked map[string]time.Time
	sweeps *progress
}

// soakEvery is how often a soak says how long it will take yet.
const soakEvery = time.Minute

func (a *app) newEvents(rules []string) *events {
	e := &events{app: a, said: make(map[string]string), soaked: make(map[string]time.Time), sweeps: a.newProgress()}
	for _, r := range rules {
		e.width = max(e.width, len(r))
	}
	return e
}

// happened is told of one event after the other.
func (e *events) happened(ev control.Event) {
	if ev.Kind == control.Sweeping {
		if ev.Sweep != nil {
			e.sweeps.report(*ev.Sweep)
		}
		return
	}
	if !e.news(&ev) {
		return
	}
	if e.app.json {
		// The result says where it ended; a line that is lost is no loss.
		_ = e.app.printJSON(struct {
			Type string `json:"type"`
			control.Event
		}{"event", ev})
		return
	}
	kind, text := eventText(&ev)
	name := ev.Rule
	if name == "" {
		name = "-"
	}
	e.app.printLines([]line{{kind, fmt.Sprintf("%s  %-*s  %s", ev.At.Local().Format(time.TimeOnly), e.width, name, text)}})
}

// news says whether an event is worth a line: what is waited for is repeated often.
func (e *events) news(ev *control.Event) bool {
	switch ev.Kind {
	case control.Soaking:
		if ev.At.Sub(e.soaked[ev.Rule]) < soakEvery {
			return false
		}
		e.soaked[ev.Rule] = ev.At
	case control.Waiting, control.Retrying:
		// Texts of waits hold ages; who is waited for does not.
		key := string(ev.Kind) + ev.Instance
		for _, b := range ev.Blockers {
			key += "\n" + string(b.Reason) + " " + b.Instance + " " + b.Gate
		}
		if e.said[ev.Rule] == key {
			return false
		}
		e.said[ev.Rule] = key
		return true
	}
	delete(e.said, ev.Rule)
	return true
}

// eventText is what an event says.
func eventText(ev *control.Event) (lineKind, string) {
	switch ev.Kind {
	case control.Waiting:
		return waitLine, "waits: " + cmp.Or(blockersText(ev.Blockers), ev.Text)
	case control.Reached:
		return plainLine, fmt.Sprintf("every instance is in %s", ev.From)
	case control.Proven:
		return goodLine, fmt.Sprintf("gate %s holds: %s", ev.Gate, ev.Text)
	case control.Soaking:
		return plainLine, cmp.Or(ev.Text, "soaks")
	case control.Stepped:
		return headLine, fmt.Sprintf("%s to %s", ev.From, ev.To)
	case control.Done:
		return goodLine, fmt.Sprintf("is at %s", ev.To)
	case control.Stays:
		return badLine, fmt.Sprintf("stays in %s: %s", ev.From, cmp.Or(blockersText(ev.Blockers), ev.Text))
	case control.Buried:
		return waitLine, cmp.Or(ev.Text, "closed the connections of "+ev.Instance+", which is lost")
	case control.Retrying:
		return waitLine, "tries again: " + ev.Text
	}
	return plainLine, strings.TrimSpace(string(ev.Kind) + " " + ev.Text)
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
