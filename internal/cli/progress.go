package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/sweep"
)

// progressEvery is how often a long job says how far it is where nobody watches a bar.
const progressEvery = 2 * time.Second

// progress shows how far sweeps are: bars on a terminal, plain lines of standard error elsewhere, objects with --json. Close
// ends it, before anything else is printed.
type progress struct {
	app    *app
	last   time.Time
	meters map[string]*meter // by kind and rule
	bars   *bars             // nil: there is no terminal
}

func (a *app) newProgress() *progress {
	return &progress{app: a, last: time.Now(), meters: make(map[string]*meter)}
}

// withBars shows bars where standard error is a terminal.
func (p *progress) withBars() *progress {
	if !p.app.json && p.app.canDraw(p.app.stderr) {
		p.bars = newBars(p.app.stderr, noColor(p.app.lookup))
	}
	return p
}

// Close ends the bars; their last state stays.
func (p *progress) Close() {
	if p.bars != nil {
		p.bars.close()
		p.bars = nil
	}
}

// meter knows how fast one sweep goes. Its first reading is where it began or went on.
type meter struct {
	begun time.Time
	done  float64
	keys  int64
}

// reading is how far a sweep is.
type reading struct {
	sweep.Progress
	Done float64       // of 1
	Rate float64       // keys of the rule in a second
	Left time.Duration // 0: not known yet
}

// doneOf is how much of all passes is done, about: what SCAN has gone over is an estimate.
func doneOf(p sweep.Progress) float64 {
	if p.Passes == 0 {
		return 0
	}
	part := 1.0
	if p.Keys > 0 {
		part = min(1, float64(p.Visited)/float64(p.Keys))
	}
	return (float64(max(p.Pass-1, 0)) + part) / float64(p.Passes)
}

func (m *meter) read(now time.Time, p sweep.Progress) reading {
	out := reading{Progress: p, Done: doneOf(p)}
	passed := now.Sub(m.begun)
	if passed < time.Second/2 || out.Done <= m.done {
		return out
	}
	out.Rate = float64(p.Matched-m.keys) / passed.Seconds()
	out.Left = time.Duration(float64(passed) * (1 - out.Done) / (out.Done - m.done)).Round(time.Second)
	return out
}

// report is called after every page.
func (p *progress) report(now sweep.Progress) {
	at := time.Now()
	name := now.Kind.String() + " " + now.Rule
	m, ok := p.meters[name]
	if !ok || doneOf(now) < m.done { // it began anew
		m = &meter{begun: at, done: doneOf(now), keys: now.Matched}
		p.meters[name] = m
	}
	every := progressEvery
	if p.bars != nil {
		every = barsEvery
	}
	if at.Sub(p.last) < every {
		return
	}
	p.last = at
	r := m.read(at, now)
	switch {
	case p.bars != nil:
		p.bars.show(r)
	case p.app.json:
		// The result says it again; a line that is lost is no loss.
		_ = p.app.printJSON(struct {
			Type     string `json:"type"`
			Kind     string `json:"kind"`
			Rule     string `json:"rule"`
			Database int    `json:"database"`
			Pass     int    `json:"pass"`
			Passes   int    `json:"passes"`
			sweep.Counts
			Visited  int64   `json:"visited"`
			Keys     int64   `json:"keys"`
			Problems int64   `json:"problems"`
			Done     float64 `json:"done"`
			Rate     float64 `json:"rate"`
			Left     float64 `json:"left_seconds"`
			Reason   string  `json:"reason,omitempty"`
		}{"progress", now.Kind.String(), now.Rule, now.Database, now.Pass, now.Passes, now.Counts, now.Visited, now.Keys, now.Problems,
			r.Done, r.Rate, r.Left.Seconds(), now.Reason})
	default:
		_, _ = fmt.Fprintf(p.app.stderr, "%s: %s\n", name, r.text())
	}
}

// text is a reading as a line.
func (r reading) text() string {
	if r.Passes == 0 { // nothing can be said of it but what holds it up
		return "begins; " + r.Reason
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%.0f %%, pass %d of %d, %d keys", 100*r.Done, r.Pass, r.Passes, r.Matched)
	if r.Rate > 0 {
		fmt.Fprintf(&b, " (%.0f/s, %v left)", r.Rate, r.Left)
	}
	fmt.Fprintf(&b, ", %d changed, %d problems", r.Changed, r.Problems)
	if r.Reason != "" {
		b.WriteString("; " + r.Reason)
	}
	return b.String()
}
