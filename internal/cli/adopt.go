package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// adoptOptions are the flags of `rekey adopt`.
type adoptOptions struct {
	reads    string
	leave    string
	execute  bool
	stopped  bool
	claim    bool
	ttls     time.Duration
	examples int
	showKeys bool
}

// newAdopt is `rekey adopt`.
func newAdopt(a *app) *cobra.Command {
	var o adoptOptions
	cmd := &cobra.Command{
		Use:   "adopt RULE --reads target|legacy",
		Short: "Make one copy the truth after a half-done migration",
		Long: `An earlier release has left keys under both names, and they may differ. adopt
makes one copy the truth: where both names exist, the one that the release read
wins; where only one exists, it stays. Differences are listed first; then every
key is left under the legacy or the target name alone, and the rule at that
phase.

Every process of the old release is stopped first. A release that never read
target names (flags 00) needs no adoption: purge removes what it left. Where the
fleet's record has the rule at another phase, or somebody walks the fleet,
nothing is done.`,
		Example: `  rekey adopt sessions --reads target                     what would be done
  rekey adopt sessions --reads target --leave legacy --execute`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeRules(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.adopt(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.reads, "reads", "", "the name that the old release read first: target or legacy")
	f.StringVar(&o.leave, "leave", "legacy", "where every key is left: legacy or prefixed")
	f.BoolVar(&o.execute, "execute", false, "do it; without it nothing is changed")
	f.BoolVar(&o.stopped, "assume-stopped", false, "your word that the clients that are connected do not use the rule's keys")
	f.BoolVar(&o.claim, "claim-shared-legacy", false, claimHelp)
	f.DurationVar(&o.ttls, "ttl-tolerance", time.Second, "how far apart two TTLs may be: the old release set them one after the other")
	f.IntVar(&o.examples, "examples", sweep.DefaultExamples, "how many differences to name")
	f.BoolVar(&o.showKeys, "show-keys", false, "print names of keys; they hold identifiers of sessions")
	completeFlag(cmd, "reads", cobra.FixedCompletions([]string{"target", "legacy"}, cobra.ShellCompDirectiveNoFileComp))
	completeFlag(cmd, "leave", cobra.FixedCompletions([]string{"legacy", "prefixed"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// adopt runs the adoption of one rule.
func (a *app) adopt(ctx context.Context, rule string, o adoptOptions) (err error) {
	p, err := a.loadPlan()
	if err != nil {
		return err
	}
	index, err := ruleIndex(p, rule)
	if err != nil {
		return err
	}
	reads, err := sweep.ParseName(o.reads)
	if err != nil {
		return misused("--reads target or --reads legacy: the name that the old release read first", "--reads: say which name the old release read")
	}
	leave, err := phase.Parse(o.leave)
	if err != nil || !leave.Parked() {
		return misused("--leave legacy or --leave prefixed", "--leave %q: a rule is left at legacy or at prefixed", o.leave)
	}
	if o.ttls < 0 {
		return misused(tryTolerance, "--ttl-tolerance %v is less than 0", o.ttls)
	}
	f, err := a.openFleetOf(ctx, p)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // the sweep has connections of its own
	adopt := sweep.Adopt
	if o.execute { // a walk beside it would take names away that it has looked at
		led, locked := control.Open(ctx, p, control.Options{Client: f.store.Client(), Owner: owner()})
		if locked != nil {
			return explainControl(locked)
		}
		defer func() { err = errors.Join(err, led.Close()) }()
		adopt = led.Adopt
	}
	targets, err := f.store.Targets(ctx)
	if err != nil {
		return explainControl(err)
	}
	led := ledElsewhere(targets, rule, leave)
	if o.execute && led != nil {
		return led
	}
	writers, err := control.Writers(ctx, f.store, p)
	if errors.Is(err, context.Canceled) {
		return err
	}
	known := err == nil
	if o.execute && !o.stopped && (!known || len(writers) > 0) {
		return refuseAdoption(writers, known)
	}
	progress := a.newProgress()
	result, err := adopt(ctx, sweep.AdoptOptions{
		Client: f.store.Client(), Plan: p, Rule: rule, Reads: reads, Leave: leave,
		Execute: o.execute, ClaimSharedLegacy: o.claim, TTLTolerance: o.ttls, Examples: examples(o.examples), OnProgress: progress.report,
	})
	switch {
	case errors.Is(err, context.Canceled):
		return err // an adoption has no checkpoint
	case err != nil:
		return explainSweep(err)
	}
	out := adoptJSON{
		Type: "result", Rule: rule, Reads: reads.String(), Leave: leave, Dry: !o.execute,
		Differ: result.Differ(), Problems: result.Problems, Moved: result.Moved, Replaced: result.Replaced, Dropped: result.Dropped,
		Notes: result.Notes, Clients: texts(writers), ClientsKnown: known,
	}
	if led != nil {
		out.Notes = append(out.Notes, led.Error())
	}
	for _, e := range result.Examples {
		out.Examples = append(out.Examples, shownProblem(p, index, e, o.showKeys))
	}
	out.Next = adoptNext(p, index, o, leave)
	if a.json {
		return a.printJSON(out)
	}
	a.printAdoption(&out)
	return nil
}

// ledElsewhere refuses an adoption that takes the keys away from where the fleet's record says that they are: the
// next instance would begin there, find none of them and write anew. It is nil where the record agrees, or there is none.
func ledElsewhere(targets map[string]fleet.Target, rule string, leave phase.Phase) error {
	t, ok := targets[rule]
	if !ok || t.Phase == leave {
		return nil
	}
	walk := "rollback"
	if leave == phase.Prefixed {
		walk = "run"
	}
	return &failure{code: exitGate, err: fmt.Errorf("the fleet's record has rule %s at %s, and the next instance would look for its keys there, not at %s", rule, t.Phase, leave),
		try: fmt.Sprintf("rekey %s %s, which takes keys and record to %s; where the record is wrong, rekey restore-phase %[2]s --phase %[3]s, and then adopt", walk, rule, leave)}
}

// refuseAdoption names who is still there.
func refuseAdoption(writers []control.Stranger, known bool) error {
	if !known {
		return &failure{code: exitGate, try: "--assume-stopped, when every process of the old release is stopped",
			err: fmt.Errorf("the server does not list its clients to this user, so nobody knows whether writers are left")}
	}
	return &failure{code: exitGate, try: "stop them, or --assume-stopped when none of them uses this rule's keys",
		err: fmt.Errorf("%s connected that may write:\n  %s", plural(len(writers), "client"), strings.Join(texts(writers), "\n  "))}
}

func texts(writers []control.Stranger) []string {
	out := []string{}
	for _, w := range writers {
		out = append(out, w.String())
	}
	return out
}

// adoptJSON is the result of an adoption.
type adoptJSON struct {
	Type         string                `json:"type"`
	Rule         string                `json:"rule"`
	Reads        string                `json:"reads"`
	Leave        phase.Phase           `json:"leave"`
	Dry          bool                  `json:"dry_run"`
	Differ       int64                 `json:"differ"`
	Problems     map[sweep.Class]int64 `json:"problems"`
	Examples     []problemJSON         `json:"examples,omitempty"`
	Moved        int64                 `json:"moved"`
	Replaced     int64                 `json:"replaced"`
	Dropped      int64                 `json:"dropped"`
	Notes        []string              `json:"notes,omitempty"`
	Clients      []string              `json:"other_clients"`
	ClientsKnown bool                  `json:"other_clients_known"`
	Next         string                `json:"next"`
}

// adoptNext is the command after an adoption.
func adoptNext(p *plan.Plan, rule int, o adoptOptions, leave phase.Phase) string {
	name := p.Rules[rule].Name
	switch {
	case !o.execute:
		return fmt.Sprintf("rekey adopt %s --reads %s --leave %s --execute", name, o.reads, o.leave)
	case leave == phase.Legacy:
		return fmt.Sprintf("rekey purge %s --assume-phase legacy, which proves that no target key is left", name)
	default:
		return fmt.Sprintf("rekey restore-phase %s --phase prefixed, which tells a fleet where the rule begins; where flags lead with CW_CACHE_GATED=1, "+
			"before the first process starts, %s, which proves that it may begin there", name, proofOfPrefixed(p.Rules[rule]))
	}
}

// proofOfPrefixed is the command that proves the last step to prefixed, to processes that look for it before they begin there.
func proofOfPrefixed(r plan.Rule) string {
	last := phase.Sealed
	if r.Strategy == phase.Relocate {
		last = phase.Move
	}
	step, _ := phase.StepBetween(r.Strategy, last, phase.Prefixed)
	return fmt.Sprintf("rekey %s %s --assume-phase %s", step.Gates[0].Sweep(), r.Name, last)
}

func (a *app) printAdoption(r *adoptJSON) {
	would := ""
	if r.Dry {
		would = "dry run, "
	}
	a.printf("adopt %s (%sthe release read %s names, every key is left at %s)\n", r.Rule, would, r.Reads, r.Leave)
	a.printf("  %d keys with two names that differ\n", r.Differ)
	for _, class := range slices.Sorted(maps.Keys(r.Problems)) {
		a.printf("  %-10s %d\n", class, r.Problems[class])
		a.printExamples(r.Examples, class)
	}
	a.printf("  %d had one name and %s the other\n", r.Moved, tense(r.Dry, "would get", "got"))
	a.printf("  %d had two, and the one that stays %s the other's value\n", r.Replaced, tense(r.Dry, "would get", "got"))
	a.printf("  %d had two, and the other one %s removed\n", r.Dropped, tense(r.Dry, "would be", "was"))
	for _, n := range r.Notes {
		a.printf("  note: %s\n", n)
	}
	if r.Dry && len(r.Clients) > 0 {
		a.printf("  clients that may write, to be stopped before --execute:\n    %s\n", strings.Join(r.Clients, "\n    "))
	}
	a.printf("\nNext: %s\n", r.Next)
}

func tense(dry bool, would, did string) string {
	if dry {
		return would
	}
	return did
}
