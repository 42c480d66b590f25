package cli

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// sweepJSON is the result of one sweep.
type sweepJSON struct {
	Type  string      `json:"type"`
	Kind  string      `json:"kind"`
	Rule  string      `json:"rule"`
	Phase phase.Phase `json:"phase"`
	Dry   bool        `json:"dry_run"`
	Undo  bool        `json:"undo,omitempty"`
	sweep.Counts
	Problems map[sweep.Class]int64 `json:"problems"`
	Examples []problemJSON         `json:"examples,omitempty"`
	Repairs  []problemJSON         `json:"repairs,omitempty"`
	Sample   *sweep.Sample         `json:"sample,omitempty"`
	Held     map[string]float64    `json:"held_seconds,omitempty"` // by what held it back
	Notes    []string              `json:"notes,omitempty"`
	Gates    []sweep.GateVerdict   `json:"gates"`
	Stored   bool                  `json:"stored"`
}

// problemJSON is one problem: names where they were asked for, templates otherwise.
type problemJSON struct {
	Class    sweep.Class `json:"class"`
	Database int         `json:"database"`
	Legacy   string      `json:"legacy"`
	Target   string      `json:"target"`
	Detail   string      `json:"detail,omitempty"`
}

// code is the exit code of a sweep.
func (s *sweepJSON) code() int {
	if s.Kind == sweep.Verify.String() && len(s.Problems) > 0 {
		return exitFailed
	}
	for _, g := range s.Gates {
		if !g.Holds && !s.Undo && s.Sample == nil { // neither of the two can prove one
			return exitGate
		}
	}
	return exitDone
}

// shownProblem hides the names of a problem's keys behind their templates, or quotes them: a name
// may hold any byte.
func shownProblem(p *plan.Plan, rule int, e sweep.Problem, names bool) problemJSON {
	out := problemJSON{Class: e.Class, Database: e.Database, Detail: e.Detail}
	if names {
		out.Legacy, out.Target = strconv.Quote(e.Legacy), strconv.Quote(e.Target)
		return out
	}
	out.Legacy = masked(p.Rules[rule].LegacyText, p.Environment)
	out.Target = masked(p.Rules[rule].TargetText, p.Environment)
	return out
}

// printSweep prints a result for a person.
func (a *app) printSweep(s *sweepJSON) {
	word := ""
	if s.Dry {
		word = ", dry run: --execute changes it"
	}
	a.printf("%s %s (phase %s%s)\n", s.Kind, s.Rule, s.Phase, word)
	a.printf("  %d names seen, %d of the rule, %d changed\n", s.Seen, s.Matched, s.Changed)
	for _, class := range slices.Sorted(maps.Keys(s.Problems)) {
		a.printf("  %-10s %d\n", class, s.Problems[class])
		a.printExamples(s.Examples, class)
	}
	if len(s.Repairs) > 0 {
		a.printf("  repaired:\n")
		a.printExamples(s.Repairs, "")
	}
	if r := s.Sample; r != nil {
		a.printf("  a sample: %d keys, each picked at random with probability %.4g; %d differ, so with 95 %% confidence at most %.3g %% of all do\n",
			r.Compared, r.Rate, r.Differ, 100*r.AtMost)
	}
	for _, reason := range slices.Sorted(maps.Keys(s.Held)) {
		a.printf("  held back for %.1f s by %s\n", s.Held[reason], reason)
	}
	for _, n := range s.Notes {
		a.printf("  note: %s\n", n)
	}
	for _, g := range s.Gates {
		if g.Holds {
			a.printf("  gate %s holds: %s\n", g.Gate, g.Gate.Proves())
		} else {
			a.printf("  gate %s does not hold: %s\n", g.Gate, g.Reason)
		}
	}
}

// printExamples prints the examples of one class ("": of all); those that read alike, because their names are
// hidden, are one line.
func (a *app) printExamples(all []problemJSON, class sweep.Class) {
	times := make(map[problemJSON]int)
	var order []problemJSON
	for _, e := range all {
		if class != "" && e.Class != class {
			continue
		}
		if times[e]++; times[e] == 1 {
			order = append(order, e)
		}
	}
	for _, e := range order {
		a.printf("    %s -> %s", e.Legacy, e.Target)
		if e.Detail != "" {
			a.printf(": %s", e.Detail)
		}
		if times[e] > 1 {
			a.printf(" (%d times; --show-keys names them)", times[e])
		}
		a.printf("\n")
	}
}

// heldSeconds leaves out what nobody can have noticed.
func heldSeconds(held map[string]time.Duration) map[string]float64 {
	out := make(map[string]float64)
	for reason, d := range held {
		if d >= 50*time.Millisecond {
			out[reason] = d.Seconds()
		}
	}
	return out
}
