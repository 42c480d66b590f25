package cli

import (
	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// newAdvance is `rekey advance`.
func newAdvance(a *app) *cobra.Command {
	var o walkOptions
	cmd := &cobra.Command{
		Use:   "advance RULE...|--all",
		Short: "Take rules one step forward, or to a phase",
		Long: `Makes one step with each rule, or as many as lead to the phase that --to names.
A step is made when every live instance has reached the phase before and what it
wants proven is proven; otherwise the exit code is 3, and the output says what
holds it up.`,
		Example: `  rekey advance sessions --dry-run
  rekey advance sessions
  rekey advance --all --to guard`,
		ValidArgsFunction: a.completeRules(0),
		RunE: func(cmd *cobra.Command, rules []string) error {
			p, err := a.loadPlan()
			if err != nil {
				return err
			}
			if _, err := chosenRules(p, rules, o.all); err != nil {
				return err
			}
			to, err := goalPhase("to", o.to)
			if err != nil {
				return err
			}
			goals, err := control.Forward(p, rules, to)
			if err != nil {
				return explainGoals(p, rules, err)
			}
			for i := range goals {
				if to == 0 {
					goals[i].Steps = 1
				}
			}
			return a.walk(cmd.Context(), p, walkCommand{"advance", goals, o})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.all, "all", false, "all rules of the plan")
	f.StringVar(&o.to, "to", "", "the phase to go to (default: the next one)")
	f.DurationVar(&o.soak, "soak", 0, "how long no read may fall back before a step that asks for it; less than 0: not at all (default: the plan's)")
	o.addFlags(cmd)
	o.addGateFlags(cmd)
	completeFlag(cmd, "to", a.completePhases(func(_ phase.Strategy, p phase.Phase) bool { return p != phase.Legacy }))
	return cmd
}

// explainGoals says which rules and phases there are.
func explainGoals(p *plan.Plan, rules []string, err error) error {
	for _, name := range rules {
		if _, err := ruleIndex(p, name); err != nil {
			return err
		}
	}
	return misused("a phase of the rule's strategy: mirror has legacy, guard, dual, settled, drain, sealed, prefixed; move has legacy, hold, move, prefixed", "%w", err)
}
