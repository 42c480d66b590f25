package cli

import (
	"fmt"
	"slices"
	"time"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// dryWalk is what would be done with one rule.
type dryWalk struct {
	Rule  string    `json:"rule"`
	From  string    `json:"from"`
	To    string    `json:"to"`
	Steps []dryStep `json:"steps"`
	// Blocked is what the first step is blocked by and the controller does not see to.
	Blocked []statusWait `json:"blocked"`
}

// dryStep is one step that would be made.
type dryStep struct {
	From string       `json:"from"`
	To   string       `json:"to"`
	Work []statusWait `json:"work"` // before it
}

// dryWalks puts the steps of each rule together.
func dryWalks(p *plan.Plan, now *control.Status, goals []control.Goal, steps []control.Planned, soak time.Duration) []dryWalk {
	out := []dryWalk{}
	for _, g := range goals {
		rule, _ := p.Index(g.Rule)
		at := phase.Legacy // where nothing is recorded of it
		if t := now.Rules[rule].Target; t != nil {
			at = t.Phase
		}
		w := dryWalk{Rule: g.Rule, From: at.String(), To: g.To.String(), Steps: []dryStep{}, Blocked: []statusWait{}}
		for i := range steps {
			s := &steps[i]
			if s.Rule != g.Rule {
				continue
			}
			step := dryStep{s.From.String(), s.To.String(), []statusWait{}}
			for _, wait := range waitsOf(&s.Step, soak) {
				if wait.Work {
					step.Work = append(step.Work, wait)
				} else {
					w.Blocked = append(w.Blocked, wait)
				}
			}
			w.Steps = append(w.Steps, step)
		}
		if n := len(w.Steps); n > 0 {
			w.To = w.Steps[n-1].To // one step need not lead to the goal
		}
		out = append(out, w)
	}
	return out
}

// dryLines says what would be done. Rules of which the same is said are one.
func dryLines(walks []dryWalk) []line {
	type group struct {
		rules []string
		walk  *dryWalk
	}
	var groups []group
	for i := range walks {
		w := &walks[i]
		at := slices.IndexFunc(groups, func(g group) bool { return w.like(g.walk) })
		if at < 0 {
			groups = append(groups, group{nil, w})
			at = len(groups) - 1
		}
		groups[at].rules = append(groups[at].rules, w.Rule)
	}
	var out []line
	for i, g := range groups {
		if i > 0 {
			out = append(out, line{})
		}
		if g.walk.stays() {
			out = append(out, line{headLine, fmt.Sprintf("%s: stays in %s; %s is the other way", namesText(g.rules), g.walk.From, g.walk.To)})
			continue
		}
		if len(g.walk.Steps) == 0 {
			out = append(out, line{headLine, fmt.Sprintf("%s: in %s already", namesText(g.rules), g.walk.From)})
			continue
		}
		out = append(out, line{headLine, fmt.Sprintf("%s, %s to %s", namesText(g.rules), g.walk.From, g.walk.To)})
		for _, b := range shortWaits(g.walk.Blocked) {
			out = append(out, line{waitLine, "  held up  " + b.Text})
		}
		for _, s := range g.walk.Steps {
			for _, work := range shortWaits(s.Work) {
				out = append(out, line{plainLine, "  first    " + work.Text})
			}
			out = append(out, line{plainLine, fmt.Sprintf("  then     every instance goes from %s to %s", s.From, s.To)})
		}
	}
	return out
}

// stays says whether the command does not lead the rule to its goal, for that lies the other way.
func (w *dryWalk) stays() bool { return len(w.Steps) == 0 && w.From != w.To }

// like says whether the same is said of another rule.
func (w *dryWalk) like(other *dryWalk) bool {
	return w.From == other.From && w.To == other.To && slices.Equal(w.Blocked, other.Blocked) &&
		slices.EqualFunc(w.Steps, other.Steps, func(a, b dryStep) bool {
			return a.From == b.From && a.To == b.To && slices.Equal(a.Work, b.Work)
		})
}
