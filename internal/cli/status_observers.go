package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// observers are the processes that obey flags. Nobody leads them, so what they may not do is said here: be in
// a phase that may not stand beside that of another process, or of the fleet.
func observers(p *plan.Plan, s *control.Status) []statusFinding {
	var names []string
	for i := range s.Instances {
		if in := &s.Instances[i]; observes(in) {
			names = append(names, nameOf(in))
		}
	}
	if len(names) == 0 {
		return nil
	}
	var out []statusFinding
	for i := range p.Rules {
		out = append(out, besides(p, s, i)...)
	}
	what := "obeys flags and cannot be led"
	if len(names) > 1 {
		what = "obey flags and cannot be led"
	}
	if unled(s) {
		out = append(out, statusFinding{levelWarning,
			fmt.Sprintf("%s %s: there is no fleet of environment %s that could be", someOf(names), what, p.Environment),
			"rekey flags --table, for the way by flags; to be led, open the application with rekey.WithFleet"})
	} else {
		out = append(out, statusFinding{levelWarning, fmt.Sprintf("%s %s, so no step can be made", someOf(names), what), "open it with rekey.WithFleet, or stop it"})
	}
	return append(out, ungated(p, s)...)
}

// observes says whether an instance lives and obeys flags.
func observes(in *control.InstanceStatus) bool { return in.Observer && !in.Lost && in.Bad == "" }

// unled says that nobody but observers is there, and nothing is recorded of where a fleet should be.
func unled(s *control.Status) bool {
	return !slices.ContainsFunc(s.Instances, func(in control.InstanceStatus) bool { return !in.Observer }) &&
		!slices.ContainsFunc(s.Rules, func(r control.RuleStatus) bool { return r.Target != nil })
}

func nameOf(in *control.InstanceStatus) string {
	return fmt.Sprintf("%s (%s, pid %d)", cmp.Or(in.Name, shortID(in.ID)), in.Host, in.PID)
}

// someOf is a few names in a line.
func someOf(names []string) string {
	const most = 3
	if more := len(names) - most; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

// besides finds where observers are in a rule that may not stand beside each other, or beside the fleet.
func besides(p *plan.Plan, s *control.Status, rule int) []statusFinding {
	name, strategy := p.Rules[rule].Name, p.Rules[rule].Strategy
	who := make(map[phase.Phase][]string) // who is where
	led := make(map[phase.Phase]bool)     // where those are who are led
	if t := s.Rules[rule].Target; t != nil {
		led[t.Phase] = true
	}
	for i := range s.Instances {
		in := &s.Instances[i]
		at := in.Rules[name].Phase
		switch {
		case at == 0 || in.Lost || in.Bad != "":
		case in.Observer:
			who[at] = append(who[at], nameOf(in))
		default:
			led[at] = true
		}
	}
	var out []statusFinding
	for _, at := range phases(strategy) {
		for _, beside := range phases(strategy) {
			if len(who[at]) == 0 || phase.Beside(strategy, at, beside) {
				continue
			}
			text := fmt.Sprintf("rule %s: %s obeys flags and is in %s", name, someOf(who[at]), at)
			try := "stop it, or set its flags to the fleet's phase: rekey flags --table"
			switch {
			case led[beside]:
				text += fmt.Sprintf(" beside the fleet in %s", beside)
			case len(who[beside]) > 0 && at < beside: // each pair once
				text += fmt.Sprintf(" beside %s in %s", someOf(who[beside]), beside)
				try = "set the flags of all to one phase, one flip after the other: rekey flags --table"
			default:
				continue
			}
			out = append(out, statusFinding{levelUnsafe, text + ": values can be lost, or read old", try})
		}
	}
	return out
}

// phases are all of a strategy.
func phases(s phase.Strategy) (out []phase.Phase) {
	for p := phase.Legacy; int(p) < phase.Count; p++ {
		if s.Has(p) {
			out = append(out, p)
		}
	}
	return out
}

// ungated are steps that flags have made, or not made, without the verdict of their gate.
func ungated(p *plan.Plan, s *control.Status) []statusFinding {
	var out []statusFinding
	for _, r := range p.Rules {
		var held, went []string
		for i := range s.Instances {
			in := &s.Instances[i]
			switch state := in.Rules[r.Name]; {
			case !observes(in):
			case state.Ungated > 0:
				went = append(went, nameOf(in))
			case state.Held > 0:
				held = append(held, nameOf(in))
			}
		}
		if len(went) > 0 {
			out = append(out, statusFinding{levelWarning, fmt.Sprintf("rule %s: %s went by flags where no verdict says that the step was safe", r.Name, someOf(went)),
				"CW_CACHE_GATED=1 in its environment, with which flags wait for the verdict"})
		}
		if len(held) > 0 {
			out = append(out, statusFinding{levelWarning, fmt.Sprintf("rule %s: %s was held by CW_CACHE_GATED until a verdict came, or is", r.Name, someOf(held)),
				"the sweep that the process's log names"})
		}
	}
	return out
}
