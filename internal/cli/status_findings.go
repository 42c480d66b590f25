package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// findingsOf are what the operator should know of the fleet, the unsafe first.
func findingsOf(p *plan.Plan, s *control.Status) []statusFinding {
	out := append([]statusFinding{}, lostRecords(p, s)...)
	out = append(out, observers(p, s)...)
	out = append(out, otherPlan(p, s)...)
	switch {
	case s.Empty:
		out = append(out, noFleet(p))
	case len(s.Instances) == 0:
		out = append(out, statusFinding{levelWarning, "every process that had joined has left", "start the application; where no process uses the keys, rekey run --no-instances"})
	}
	if s.Audit != nil && !s.Audit.Clean {
		out = append(out, statusFinding{levelWarning,
			fmt.Sprintf("the last audit, %s ago, found %s past rekey", spanText(s.At.Sub(s.Audit.At)), plural(len(s.Audit.Strangers), "client")), "rekey audit"})
	}
	if versions := versionsOf(s); len(versions) > 1 {
		out = append(out, statusFinding{Level: levelWarning, Text: "the instances are of different versions: " + strings.Join(versions, ", ")})
	}
	slices.SortStableFunc(out, func(a, b statusFinding) int {
		return strings.Compare(a.Level, b.Level) // unsafe, warning
	})
	return out
}

// noFleet is what there is to say of an environment that no process was ever in.
func noFleet(p *plan.Plan) statusFinding {
	return statusFinding{levelWarning,
		fmt.Sprintf("there is no fleet of environment %s here: no process has joined, and nothing is recorded under %s", p.Environment, p.ControlPrefix()),
		"open the application with rekey.WithFleet; where no process uses the keys, rekey run --no-instances"}
}

// lostRecords: instances have reached what no record tells of.
func lostRecords(p *plan.Plan, s *control.Status) []statusFinding {
	var out []statusFinding
	for i, r := range p.Rules {
		t := s.Rules[i].Target
		var furthest fleet.RuleState
		for n := range s.Instances {
			in := &s.Instances[n]
			if state := in.Rules[r.Name]; !in.Observer && state.Epoch != "" && state.Mark.Compare(furthest.Mark) >= 0 {
				furthest = state
			}
		}
		if furthest.Epoch == "" || t != nil && !furthest.Beyond(*t) {
			continue
		}
		f := statusFinding{levelUnsafe, fmt.Sprintf("the control record of rule %s is gone, and instances are in %s", r.Name, furthest.Phase),
			fmt.Sprintf("rekey restore-phase %s --phase %s", r.Name, furthest.Phase)}
		if t != nil {
			f.Text = fmt.Sprintf("the control record of rule %s was turned back: it says %s, and instances were already led to %s", r.Name, t.Phase, furthest.Phase)
			// The keys were turned back with the record, and what was proven of them since is gone.
			f.Try = fmt.Sprintf("rekey restore-phase %s --phase %s, as the keys are that came back with the record", r.Name, t.Phase)
			if !phase.Beside(r.Strategy, t.Phase, furthest.Phase) {
				f.Try = fmt.Sprintf("stop all instances and start them again, which begin in %s, as the keys are that came back with the record", t.Phase)
			}
		}
		out = append(out, f)
	}
	return out
}

// otherPlan: the records, or whole instances, are of another plan than this one.
func otherPlan(p *plan.Plan, s *control.Status) []statusFinding {
	var out []statusFinding
	const try = "rekey status -f FILE, with the plan that the instances run with"
	if len(s.Elsewhere) > 0 {
		out = append(out, statusFinding{levelWarning,
			fmt.Sprintf("the fleet has %s that %s does not have: %s", plural(len(s.Elsewhere), "rule"), p.File, strings.Join(s.Elsewhere, ", ")), try})
	}
	var differ []string
	for i, r := range p.Rules {
		if t := s.Rules[i].Target; t != nil && t.Hash != p.Hash(i) {
			differ = append(differ, r.Name)
		}
	}
	if len(differ) > 0 {
		out = append(out, statusFinding{levelWarning,
			fmt.Sprintf("the fleet has another plan than %s: templates, databases or strategy differ in %s", p.File, strings.Join(differ, ", ")), try})
	}
	return out
}

func versionsOf(s *control.Status) []string {
	seen := make(map[string]bool)
	for i := range s.Instances {
		if in := &s.Instances[i]; in.Version != "" && !in.Lost {
			seen[in.Version] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// nextOf is the command that comes next; "" where the findings say what to try.
func nextOf(r *statusReport) string {
	moves := slices.ContainsFunc(r.Rules, func(s statusRule) bool { return s.Next != "" })
	blocked := slices.ContainsFunc(r.Rules, func(s statusRule) bool {
		return slices.ContainsFunc(s.WaitsFor, func(w statusWait) bool { return !w.Work })
	})
	switch {
	case len(r.Findings) > 0 && r.Findings[0].Level == levelUnsafe, len(r.Instances) == 0:
		return ""
	case r.Control.Owner != "":
		return "rekey status --watch"
	case blocked:
		return "rekey run --dry-run, when nothing blocks any more"
	case moves:
		return "rekey run, or rekey advance RULE for one step"
	}
	return "rekey fence, so that a forgotten client of the legacy names fails loudly"
}
