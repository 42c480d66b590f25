package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// completeRules offers the plan's rules that are not named yet; at most so many, 0: any number. A plan
// that cannot be read offers none: the command itself will say why.
func (a *app) completeRules(most int) cobra.CompletionFunc {
	return func(_ *cobra.Command, named []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		p, err := a.loadPlan()
		if err != nil || most > 0 && len(named) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []cobra.Completion
		for _, r := range p.Rules {
			if !slices.Contains(named, r.Name) {
				out = append(out, cobra.CompletionWithDesc(r.Name, r.Strategy.String()+", "+r.LegacyText+" to "+r.TargetText))
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// completePhases offers the phases of the rules that are named, of all rules where none is, and of both
// strategies without a plan; only those that keep says, nil: all.
func (a *app) completePhases(keep func(phase.Strategy, phase.Phase) bool) cobra.CompletionFunc {
	return func(_ *cobra.Command, named []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		strategies := []phase.Strategy{phase.Mirror, phase.Relocate}
		if p, err := a.loadPlan(); err == nil {
			strategies = strategiesOf(p, named)
		}
		var out []cobra.Completion
		for _, s := range strategies {
			for _, ph := range phase.Of(s) {
				if (keep == nil || keep(s, ph)) && !slices.Contains(out, ph.String()) {
					out = append(out, ph.String())
				}
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

func strategiesOf(p *plan.Plan, named []string) []phase.Strategy {
	var out []phase.Strategy
	for _, r := range p.Rules {
		if (len(named) == 0 || slices.Contains(named, r.Name)) && !slices.Contains(out, r.Strategy) {
			out = append(out, r.Strategy)
		}
	}
	slices.Sort(out)
	return out
}

// completeFlag registers what a flag offers. It fails only for a flag that the command does not have.
func completeFlag(cmd *cobra.Command, flag string, offer cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, offer); err != nil {
		panic(err)
	}
}

// refuseShells has `rekey completion` refuse a shell that it does not know: cobra prints its help then, and ends with 0. The
// root has its output already, which the scripts are written to.
func refuseShells(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		var shells []string
		for _, s := range c.Commands() {
			shells = append(shells, s.CommandPath())
		}
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misused(strings.Join(shells, ", "), "there is no completion for %q", args[0])
			}
			return cmd.Help()
		}
	}
}
