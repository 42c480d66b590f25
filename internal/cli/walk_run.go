package cli

import (
	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/phase"
)

// newRun is `rekey run`.
func newRun(a *app) *cobra.Command {
	var o walkOptions
	cmd := &cobra.Command{
		Use:   "run [RULE...]",
		Short: "Walk the whole fleet to prefixed, through every gate",
		Long: `Takes rules from the phase that they are in to prefixed, one step at a time:
before each step every live instance has reached the phase before, and what the
step wants proven is proven by a sweep. Without a RULE all rules go, at the same
time; one that is held up does not hold up the others.

It may be killed at any moment: nothing is lost by it, and the same command goes
on from there. It asks before it begins; --yes begins at once. Exit code 3 says
that a gate does not hold, and what holds it.`,
		Example: `  rekey run --dry-run
  rekey run --yes
  rekey run sessions --until settled --soak 30m`,
		ValidArgsFunction: a.completeRules(0),
		RunE: func(cmd *cobra.Command, rules []string) error {
			p, err := a.loadPlan()
			if err != nil {
				return err
			}
			until, err := goalPhase("until", o.to)
			if err != nil {
				return err
			}
			goals, err := control.Forward(p, rules, until)
			if err != nil {
				return explainGoals(p, rules, err)
			}
			o.all = len(rules) == 0
			return a.walk(cmd.Context(), p, walkCommand{"run", goals, o})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "until", "", "the phase to stop in (default prefixed)")
	f.DurationVar(&o.soak, "soak", 0, "how long no read may fall back before a step that asks for it; less than 0: not at all (default: the plan's)")
	f.BoolVar(&o.yes, "yes", false, "begin without asking")
	o.addFlags(cmd)
	o.addGateFlags(cmd)
	completeFlag(cmd, "until", a.completePhases(func(_ phase.Strategy, p phase.Phase) bool { return p != phase.Legacy }))
	return cmd
}

// addGateFlags adds what an operator may say of the gates on the way forward.
func (o *walkOptions) addGateFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.purge, "purge", false, "remove target keys that an earlier try left, where a step wants none")
	f.BoolVar(&o.claim, "claim-shared-legacy", false, claimHelp)
	f.BoolVar(&o.overcommit, "overcommit", false, overcommitHelp)
	f.StringSliceVar(&o.skip, "skip", nil, "leave out a gate that a step is safe without: verified or quiet")
	completeFlag(cmd, "skip", cobra.FixedCompletions(skippable(), cobra.ShellCompDirectiveNoFileComp))
}
