package cli

import (
	"fmt"
	"time"

	"github.com/classwaves/rekey/internal/sweep"
)

// progressEvery is how often a long job says how far it is.
const progressEvery = 2 * time.Second

// progress prints plain lines: to standard error for a person, as objects with --json.
type progress struct {
	app  *app
	last time.Time
}

func (a *app) newProgress() *progress { return &progress{app: a, last: time.Now()} }

// report is called after every page.
func (p *progress) report(now sweep.Progress) {
	if time.Since(p.last) < progressEvery {
		return
	}
	p.last = time.Now()
	if p.app.json {
		// The result says it again; a line that is lost is no loss.
		_ = p.app.printJSON(struct {
			Type string `json:"type"`
			Kind string `json:"kind"`
			Rule string `json:"rule"`
			sweep.Counts
			Visited  int64 `json:"visited"`
			Keys     int64 `json:"keys"`
			Problems int64 `json:"problems"`
		}{"progress", now.Kind.String(), now.Rule, now.Counts, now.Visited, now.Keys, now.Problems})
		return
	}
	_, _ = fmt.Fprintf(p.app.stderr, "%s %s: pass %d of %d, %d of %d names, %d changed, %d problems\n",
		now.Kind, now.Rule, now.Pass, now.Passes, now.Visited, now.Keys, now.Changed, now.Problems)
}
