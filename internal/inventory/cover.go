package inventory

import (
	"bytes"
	"fmt"

	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/plan"
)

// Role is what a name is to a plan.
type Role string

const (
	Uncovered Role = "none"        // no rule has it
	Legacy    Role = "legacy"      // a rule's legacy name
	Target    Role = "target"      // a rule's target name
	Own       Role = "control"     // one of rekey's own records
	Foreign   Role = "environment" // another environment's target name or record
)

// Cover is who has a name.
type Cover struct {
	Role        Role   `json:"role"`
	Rule        string `json:"rule,omitempty"`
	Environment string `json:"environment,omitempty"`
}

func (c Cover) String() string {
	switch c.Role {
	case Legacy:
		return c.Rule
	case Target:
		return c.Rule + " (target)"
	case Own:
		return "rekey's own"
	case Foreign:
		return fmt.Sprintf("environment %s", c.Environment)
	default:
		return "none"
	}
}

// maxEnvironments bounds how many other environments are told apart; the names of more are one.
const maxEnvironments = 50

// judge tells who has a name.
type judge struct {
	plan         *plan.Plan
	foreign      *sweep.Foreign
	environments map[string]bool
}

func newJudge(p *plan.Plan) *judge {
	if p == nil {
		return nil
	}
	return &judge{plan: p, foreign: sweep.ForeignTo(p), environments: make(map[string]bool)}
}

func (j *judge) cover(name []byte) Cover {
	switch rule, target := j.plan.Names().Find(name); {
	case rule >= 0 && target:
		return Cover{Role: Target, Rule: j.plan.Rules[rule].Name}
	case rule >= 0:
		return Cover{Role: Legacy, Rule: j.plan.Rules[rule].Name}
	case bytes.HasPrefix(name, []byte(j.plan.ControlPrefix())):
		return Cover{Role: Own}
	}
	env, _, ok := j.foreign.Environment(name)
	if !ok {
		return Cover{Role: Uncovered}
	}
	if !j.environments[env] && len(j.environments) >= maxEnvironments {
		env = "and others"
	}
	j.environments[env] = true
	return Cover{Role: Foreign, Environment: env}
}
