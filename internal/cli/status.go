package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/control"
)

// statusOptions are the flags of `rekey status`.
type statusOptions struct {
	watch     bool
	every     time.Duration
	instances int
}

// mostInstances is how many instances a screen lists.
const mostInstances = 20

// newStatus is `rekey status`.
func newStatus(a *app) *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show where the fleet is, and what the next step waits for",
		Long: `Shows on one screen the phase of every rule, every instance of the fleet with
what it has reached, who walks the fleet at the moment, and for each rule what
its next step is blocked by and what the controller would do for it.

It changes nothing. --watch looks again every second: on a terminal as a screen
that q ends, elsewhere as a line for each thing that has changed.`,
		Example: `  rekey status
  rekey status --watch
  rekey status --json | jq '.rules[] | {rule, phase, reached, live}'`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.status(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&o.watch, "watch", false, "look again until q, or a signal")
	f.DurationVar(&o.every, "every", time.Second, "how often --watch looks")
	f.IntVar(&o.instances, "instances", mostInstances, "how many instances to list, those with something to say first; 0: all")
	return cmd
}

func (a *app) status(ctx context.Context, o statusOptions) error {
	switch {
	case o.every < 100*time.Millisecond:
		return misused("--every 1s", "--every %v is less than 100ms", o.every)
	case o.instances < 0:
		return misused("--instances 0, which lists all", "--instances %d", o.instances)
	}
	p, err := a.loadPlan()
	if err != nil {
		return err
	}
	f, err := a.openFleetOf(ctx, p)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // it was only read from
	look := func() watchedStatus {
		r, err := f.status(ctx)
		return watchedStatus{r, err}
	}
	if o.watch {
		if a.canDraw(a.stdout) && !a.json {
			return a.watch(ctx, o.every, look)
		}
		return a.watchPlain(ctx, o.every, look)
	}
	now := look()
	if now.err != nil {
		return now.err
	}
	if a.json {
		return a.printJSON(now.report)
	}
	a.printLines(statusText(now.report, o.instances))
	return nil
}

// status reads the records and says what they mean.
func (f *fleetTarget) status(ctx context.Context) (*statusReport, error) {
	server, err := askServer(ctx, f.store.Client(), f.url.String())
	if err != nil {
		return nil, err
	}
	now, err := control.Read(ctx, f.store, f.plan)
	if err != nil {
		return nil, explainControl(err)
	}
	r := statusOf(f.plan, server, &now)
	if now.Empty {
		// Without the right to look there is nothing to add.
		if others, err := otherFleets(ctx, f.store.Client(), f.plan); err == nil && len(others) > 0 {
			r.Findings = append(r.Findings, statusFinding{levelWarning,
				"there are control records of another environment here: " + strings.Join(others, ", "), "rekey status --env " + others[0]})
		}
	}
	return r, nil
}
