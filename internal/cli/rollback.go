package cli

import (
	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/phase"
)

// newRollback is `rekey rollback`.
func newRollback(a *app) *cobra.Command {
	var o walkOptions
	cmd := &cobra.Command{
		Use:   "rollback [RULE...|--all]",
		Short: "Walk back to legacy, from wherever the fleet is",
		Long: `Goes the same way back, through the gates that the way back has: no value that
was written on the way is lost. Without a RULE all rules go back.

--take-over wins over whoever walks the fleet at the moment: its next write is
refused. What it was doing is safe to be gone on with from there.`,
		Example: `  rekey rollback --dry-run
  rekey rollback
  rekey rollback sessions --to dual
  rekey rollback --take-over`,
		ValidArgsFunction: a.completeRules(0),
		RunE: func(cmd *cobra.Command, rules []string) error {
			p, err := a.loadPlan()
			if err != nil {
				return err
			}
			if o.all && len(rules) > 0 {
				_, err := chosenRules(p, rules, o.all)
				return err
			}
			to, err := goalPhase("to", o.to)
			if err != nil {
				return err
			}
			goals, err := control.Backward(p, rules, to)
			if err != nil {
				return explainGoals(p, rules, err)
			}
			o.all = len(rules) == 0
			return a.walk(cmd.Context(), p, walkCommand{"rollback", goals, o})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.all, "all", false, "all rules of the plan, as without a rule")
	f.StringVar(&o.to, "to", "", "the phase to go back to (default legacy)")
	f.BoolVar(&o.takeOver, "take-over", false, "take the lock from whoever walks the fleet")
	o.addFlags(cmd)
	f.BoolVar(&o.removeStrays, "remove-strays", false, "remove legacy keys without a target, where a step back wants none: what reads do not see any more")
	completeFlag(cmd, "to", a.completePhases(func(_ phase.Strategy, p phase.Phase) bool { return p != phase.Prefixed }))
	return cmd
}
