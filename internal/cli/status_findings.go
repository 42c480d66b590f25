package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// findings are what the operator should know of the fleet, the unsafe first.
func (f *fleetRecords) findings(p *plan.Plan) []statusFinding {
	out := f.lostRecords(p)
	out = append(out, f.observers(p)...)
	out = append(out, f.otherPlan(p)...)
	if len(f.instances) == 0 && len(f.targets) == 0 {
		out = append(out, statusFinding{levelWarning,
			fmt.Sprintf("there is no fleet of environment %s here: no process has joined, and nothing is recorded under %s", p.Environment, p.ControlPrefix()),
			"open the application with rekey.WithFleet; where no process uses the keys, rekey run --no-instances"})
	} else if len(f.instances) == 0 {
		out = append(out, statusFinding{levelWarning, "every process that had joined has left", "start the application, or rekey run --no-instances where no process uses the keys"})
	}
	if versions := f.versions(); len(versions) > 1 {
		out = append(out, statusFinding{Level: levelWarning, Text: "the instances are of different versions: " + strings.Join(versions, ", ")})
	}
	slices.SortStableFunc(out, func(a, b statusFinding) int {
		return strings.Compare(a.Level, b.Level) // unsafe, warning
	})
	return out
}

// lostRecords: instances have reached what no record tells of.
func (f *fleetRecords) lostRecords(p *plan.Plan) []statusFinding {
	var out []statusFinding
	for _, r := range p.Rules {
		t, recorded := f.targets[r.Name]
		var furthest fleet.RuleState
		for _, in := range f.instances {
			if s := in.Rules[r.Name]; !in.Observer && s.Epoch != "" && s.Mark.Compare(furthest.Mark) >= 0 {
				furthest = s
			}
		}
		if furthest.Epoch == "" || recorded && t.Epoch == furthest.Epoch && t.Mark.Compare(furthest.Mark) >= 0 {
			continue
		}
		text := fmt.Sprintf("the control record of rule %s is gone, and instances are in %s", r.Name, furthest.Phase)
		if recorded {
			text = fmt.Sprintf("the control record of rule %s was turned back: it says %s, and instances were already led to %s", r.Name, t.Phase, furthest.Phase)
		}
		out = append(out, statusFinding{levelUnsafe, text, fmt.Sprintf("rekey restore-phase %s --phase %s", r.Name, furthest.Phase)})
	}
	return out
}

// observers obey flags. Beside a fleet that is led they are safe only in a phase that may stand beside
// its own.
func (f *fleetRecords) observers(p *plan.Plan) []statusFinding {
	var out []statusFinding
	for _, in := range f.sorted() {
		if !in.Observer || in.Lost(f.now) {
			continue
		}
		var bad []string
		for _, r := range p.Rules {
			t, ok := f.targets[r.Name]
			at := in.Rules[r.Name].Phase
			if ok && at != 0 && !phase.Beside(r.Strategy, at, t.Phase) {
				bad = append(bad, fmt.Sprintf("%s in %s beside %s", r.Name, at, t.Phase))
			}
		}
		finding := statusFinding{levelWarning, nameOf(&in) + " obeys flags, so no step can be made", "open it with rekey.WithFleet"}
		if len(bad) > 0 {
			finding.Level = levelUnsafe
			finding.Text = fmt.Sprintf("%s obeys flags and uses %s: values can be lost or read old", nameOf(&in), strings.Join(bad, ", "))
			finding.Try = "stop it, or set its flags: rekey flags --table"
		}
		out = append(out, finding)
	}
	return out
}

// otherPlan: the records, or whole instances, are of another plan than this one.
func (f *fleetRecords) otherPlan(p *plan.Plan) []statusFinding {
	var out []statusFinding
	unknown := make(map[string]bool)
	for rule := range f.targets {
		if _, ok := p.Index(rule); !ok {
			unknown[rule] = true
		}
	}
	for _, in := range f.instances {
		for rule := range in.Rules {
			if _, ok := p.Index(rule); !ok {
				unknown[rule] = true
			}
		}
	}
	var differ []string
	for i, r := range p.Rules {
		if t, ok := f.targets[r.Name]; ok && t.Hash != p.Hash(i) {
			differ = append(differ, r.Name)
		}
	}
	if len(unknown) > 0 {
		names := slices.Sorted(maps.Keys(unknown))
		out = append(out, statusFinding{levelWarning,
			fmt.Sprintf("the fleet has %s that %s does not have: %s", plural(len(names), "rule"), p.File, strings.Join(names, ", ")),
			"rekey status -f FILE, with the plan that the instances run with"})
	}
	if len(differ) > 0 {
		out = append(out, statusFinding{levelWarning,
			fmt.Sprintf("the fleet has another plan than %s: templates, databases, environment or strategy differ in %s", p.File, strings.Join(differ, ", ")),
			"rekey status -f FILE, with the plan that the instances run with"})
	}
	return out
}

func (f *fleetRecords) versions() []string {
	seen := make(map[string]bool)
	for _, in := range f.instances {
		if in.Version != "" && !in.Lost(f.now) {
			seen[in.Version] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// nextOf is the command that comes next.
func nextOf(r *statusReport) string {
	moves := slices.ContainsFunc(r.Rules, func(s statusRule) bool { return s.Next != "" })
	blocked := slices.ContainsFunc(r.Rules, func(s statusRule) bool {
		return slices.ContainsFunc(s.WaitsFor, func(w statusWait) bool { return !w.Work })
	})
	switch {
	case len(r.Findings) > 0 && r.Findings[0].Level == levelUnsafe, len(r.Instances) == 0:
		return "" // the findings say what to try
	case r.Control.Owner != "":
		return "rekey status --watch"
	case blocked:
		return "rekey advance --all --dry-run, when nothing blocks any more"
	case moves:
		return "rekey run, or rekey advance RULE for one step"
	}
	return "rekey fence, so that a forgotten client of the legacy names fails loudly"
}
