package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/control"
)

// newFreeze is `rekey freeze`.
func newFreeze(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "freeze [RULE...]",
		Short: "Stop all steps of rules, forward and back, until they are thawed",
		Long: `Nobody takes a frozen rule from one phase to another: a walk that is under way
stops in front of its next step. Applications go on as they are. Without a RULE
every rule is frozen.`,
		Example: `  rekey freeze
  rekey freeze sessions`,
		ValidArgsFunction: a.completeRules(0),
		RunE: func(cmd *cobra.Command, rules []string) error {
			return a.setFrozen(cmd.Context(), rules, true)
		},
	}
}

// newThaw is `rekey thaw`.
func newThaw(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "thaw [RULE...]",
		Short: "Let frozen rules move again",
		Long: `Ends a freeze. Nothing moves by that alone: rekey run, advance and rollback can
make steps again. Without a RULE every rule is thawed.`,
		Example: `  rekey thaw
  rekey thaw sessions`,
		ValidArgsFunction: a.completeRules(0),
		RunE: func(cmd *cobra.Command, rules []string) error {
			return a.setFrozen(cmd.Context(), rules, false)
		},
	}
}

// frozenJSON is the result of a freeze or a thaw.
type frozenJSON struct {
	Type    string   `json:"type"`
	Frozen  bool     `json:"frozen"`
	Changed []string `json:"changed"`
	Already []string `json:"already"`
}

func (a *app) setFrozen(ctx context.Context, names []string, frozen bool) error {
	p, err := a.loadPlan()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = ruleNames(p)
	}
	for _, name := range names {
		if _, err := ruleIndex(p, name); err != nil {
			return err
		}
	}
	f, err := a.openFleetOf(ctx, p)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // all that was written was answered
	set, word := control.Thaw, "thawed"
	if frozen {
		set, word = control.Freeze, "frozen"
	}
	changed, err := set(ctx, f.store, p, names, owner())
	if err != nil {
		return explainControl(err)
	}
	out := frozenJSON{"result", frozen, slices.Concat([]string{}, changed), []string{}}
	for _, name := range names {
		if !slices.Contains(changed, name) {
			out.Already = append(out.Already, name)
		}
	}
	if a.json {
		return a.printJSON(out)
	}
	if len(out.Changed) > 0 {
		a.printf("%s: %s\n", word, strings.Join(out.Changed, ", "))
	}
	if len(out.Already) > 0 {
		a.printf("%s before: %s\n", word, strings.Join(out.Already, ", "))
	}
	if next := "rekey thaw " + strings.Join(names, " "); frozen {
		a.printf("\nNext: %s\n", fmt.Sprintf("%s, when they may move again", next))
	}
	return nil
}
