package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/control"
)

// newFence is `rekey fence`.
func newFence(a *app) *cobra.Command {
	var o control.FenceOptions
	var execute bool
	cmd := &cobra.Command{
		Use:   "fence",
		Short: "Make a forgotten client of dead names fail loudly",
		Long: `Once nobody uses the legacy names of a rule any more, a client that was forgotten
should get an error and not an answer from nowhere. fence computes the key
patterns of the server's users without the names that are dead, and prints the
commands that set them. With --execute it sets them.

ACL SETUSER lives until the server restarts: ACL SAVE, or the configuration, keeps
it.`,
		Example: `  rekey fence
  rekey fence --user app --execute`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.fence(cmd.Context(), o, execute)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&execute, "execute", false, "do it; without it nothing is changed")
	f.StringSliceVar(&o.Users, "user", nil, "only this user of the server (default: all that may touch a dead name)")
	f.StringSliceVar(&o.Keep, "keep", nil, "a key pattern that the users need beside the plan's names")
	return cmd
}

// fenceJSON is a fence, and whether it stands.
type fenceJSON struct {
	Type string `json:"type"`
	Dry  bool   `json:"dry_run"`
	control.Fence
}

func (a *app) fence(ctx context.Context, o control.FenceOptions, execute bool) error {
	f, err := a.openFleet(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // all that was written was answered
	fence, err := control.PlanFence(ctx, f.store, f.plan, o)
	if err != nil {
		return explainControl(err)
	}
	if execute {
		if err := fence.Apply(ctx, f.store, owner()); err != nil {
			return explainControl(err)
		}
	}
	if a.json {
		return a.printJSON(fenceJSON{"fence", !execute, fence})
	}
	a.printLines(fenceLines(&fence, execute))
	return nil
}

func fenceLines(f *control.Fence, done bool) []line {
	var out []line
	add := func(kind lineKind, text string) { out = append(out, line{kind, text}) }
	if len(f.Rules) == 0 {
		add(plainLine, "No rule is at a phase in which its legacy names are dead, so there is nothing to fence off.")
		return out
	}
	add(plainLine, "dead       the legacy names of "+namesText(f.Rules))
	if len(f.Alive) > 0 {
		add(plainLine, "alive      "+namesText(f.Alive))
	}
	for _, u := range f.Users {
		add(plainLine, "")
		add(headLine, "user "+u.User)
		add(plainLine, "  before   "+patternsText(u.Before))
		add(plainLine, "  after    "+patternsText(u.After))
		add(plainLine, "  "+u.Line)
		add(plainLine, "  undo     "+u.Undo)
	}
	if len(f.Notes) > 0 {
		add(plainLine, "")
	}
	for _, n := range f.Notes {
		add(waitLine, "note       "+n)
	}
	add(plainLine, "")
	switch {
	case len(f.Users) == 0:
		add(goodLine, "No user may touch a dead name.")
	case done:
		add(goodLine, "The fence stands: "+plural(len(f.Users), "user")+" changed.")
		add(plainLine, "")
		add(plainLine, "Next: ACL SAVE, or the same lines in the server's configuration")
	default:
		add(plainLine, "Nothing was changed.")
		add(plainLine, "")
		add(plainLine, "Next: rekey fence --execute")
	}
	return out
}

func patternsText(patterns []string) string {
	if len(patterns) == 0 {
		return "(no keys)"
	}
	return strings.Join(patterns, " ")
}
