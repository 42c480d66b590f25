package control

import (
	"slices"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// Way is the direction in which a rule may go to its goal.
type Way uint8

const (
	EitherWay Way = iota
	OnlyForward
	OnlyBack
)

// wrong says whether a step is not of the way.
func (w Way) wrong(back bool) bool { return w == OnlyForward && back || w == OnlyBack && !back }

// Goal is where one rule is to go.
type Goal struct {
	Rule  string
	To    phase.Phase
	Way   Way // a rule that is on the other side of its goal stays where it is
	Steps int // how many steps at most; 0: to the goal
}

func (g Goal) check(p *plan.Plan) (int, error) {
	rule, ok := p.Index(g.Rule)
	if !ok {
		return 0, usage("the plan has no rule %q; rekey status lists those that there are", g.Rule)
	}
	if s := p.Rules[rule].Strategy; !s.Has(g.To) {
		return 0, usage("rule %s has strategy %v, which has no phase %v", g.Rule, s, g.To)
	}
	return rule, nil
}

// goals are one for each rule; no rules: all of the plan. A phase that is zero is the end of the way.
func goals(p *plan.Plan, rules []string, to phase.Phase, way Way) ([]Goal, error) {
	all := len(rules) == 0
	if all {
		for _, r := range p.Rules {
			rules = append(rules, r.Name)
		}
	}
	var out []Goal
	for _, name := range rules {
		g := Goal{Rule: name, To: to, Way: way}
		rule, ok := p.Index(name)
		if ok && to == 0 {
			if g.To = phase.Prefixed; way == OnlyBack {
				g.To = phase.Legacy
			}
		}
		if all && !p.Rules[rule].Strategy.Has(g.To) {
			continue // the phase is of the other strategy's rules
		}
		if _, err := g.check(p); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(out, func(o Goal) bool { return o.Rule == name }) {
			out = append(out, g)
		}
	}
	if len(out) == 0 {
		return nil, usage("no rule of the plan has phase %v", to)
	}
	return out, nil
}

// Forward are the goals of a run: rules (none: all) go forward until a phase (0: prefixed).
func Forward(p *plan.Plan, rules []string, until phase.Phase) ([]Goal, error) {
	return goals(p, rules, until, OnlyForward)
}

// Backward are the goals of a rollback: rules (none: all) go back to a phase (0: legacy).
func Backward(p *plan.Plan, rules []string, to phase.Phase) ([]Goal, error) {
	return goals(p, rules, to, OnlyBack)
}
