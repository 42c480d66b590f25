package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/phase"
)

// restoreOptions are the flags of `rekey restore-phase`.
type restoreOptions struct {
	phase    string
	takeOver bool
}

// newRestore is `rekey restore-phase`.
func newRestore(a *app) *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore-phase RULE --phase PHASE",
		Short: "Say where a rule is, after its control record was lost or turned back",
		Long: `FLUSHALL, an old snapshot or a replica that lagged can take the control records
away or turn them back. Then no instance follows them and no step is made, until
somebody who knows says in which phase the fleet is: rekey status shows what the
instances that live have reached, and the log of the application what it was
before.

A wrong word loses data. Nothing is moved by it: only the record is written.`,
		Example:           `  rekey restore-phase sessions --phase dual`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeRules(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.restore(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.phase, "phase", "", "the phase that the fleet is in")
	f.BoolVar(&o.takeOver, "take-over", false, "take the lock from whoever holds it")
	completeFlag(cmd, "phase", a.completePhases(nil))
	return cmd
}

func (a *app) restore(ctx context.Context, rule string, o restoreOptions) error {
	p, err := a.loadPlan()
	if err != nil {
		return err
	}
	index, err := ruleIndex(p, rule)
	if err != nil {
		return err
	}
	strategy := p.Rules[index].Strategy
	try := fmt.Sprintf("rekey restore-phase %s --phase with one of %v", rule, phase.Of(strategy))
	if o.phase == "" {
		return misused(try, "no phase is named")
	}
	at, err := phase.Parse(o.phase)
	if err != nil {
		return misused(try, "--phase: %w", err)
	}
	if !slices.Contains(phase.Of(strategy), at) {
		return misused(try, "rule %s has strategy %s, which has no phase %s", rule, strategy, at)
	}
	f, err := a.openFleetOf(ctx, p)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // all that was written was answered
	c, err := control.Open(ctx, p, control.Options{Client: f.store.Client(), Owner: owner(), TakeOver: o.takeOver})
	if err != nil {
		return explainControl(err)
	}
	if err := errors.Join(c.RestorePhase(ctx, rule, at), c.Close()); err != nil {
		return explainControl(err)
	}
	if a.json {
		return a.printJSON(struct {
			Type  string      `json:"type"`
			Rule  string      `json:"rule"`
			Phase phase.Phase `json:"phase"`
		}{"result", rule, at})
	}
	a.printf("rule %s: its control record says %s\n\nNext: rekey status\n", rule, at)
	return nil
}
