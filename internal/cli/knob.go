package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/sweep"
)

// knobOptions are the flags of `rekey knob`.
type knobOptions struct {
	all, pause, resume, reset bool
	rate, nice                float64
	batch                     int
}

// newKnob is `rekey knob`.
func newKnob(a *app) *cobra.Command {
	var o knobOptions
	cmd := &cobra.Command{
		Use:   "knob [RULE...]",
		Short: "Turn the speed of sweeps while they run, or show what is set",
		Long: `Changes how fast the sweeps of a rule go, or stops them for a while, without
ending them: also those that rekey run has started. What is set is kept beside
the other records, goes before the words that a sweep was started with, and
counts for later sweeps too, until --reset. Without flags it shows what is set.`,
		Example: `  rekey knob
  rekey knob sessions --rate 20000 --batch 100
  rekey knob --all --pause
  rekey knob --all --resume
  rekey knob --all --reset
  rekey knob --reset`,
		ValidArgsFunction: a.completeRules(0),
		RunE: func(cmd *cobra.Command, rules []string) error {
			var k sweep.Knobs
			if cmd.Flags().Changed("rate") {
				k.Rate = &o.rate
			}
			if cmd.Flags().Changed("batch") {
				k.Batch = &o.batch
			}
			if cmd.Flags().Changed("nice") {
				k.Nice = &o.nice
			}
			if o.pause || o.resume {
				k.Paused = &o.pause
			}
			return a.knob(cmd.Context(), rules, o, k)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&o.all, "all", false, "every rule, where nothing is set for it alone")
	f.Float64Var(&o.rate, "rate", 0, "keys in a second; 0: no limit")
	f.IntVar(&o.batch, "batch", 0, "names that the server looks at at once")
	f.Float64Var(&o.nice, "nice", 0, "sleep so many times as long as was worked")
	f.BoolVar(&o.pause, "pause", false, "stop between two pages")
	f.BoolVar(&o.resume, "resume", false, "go on")
	f.BoolVar(&o.reset, "reset", false, "forget what is set; without a rule and without --all, all there is")
	return cmd
}

func (a *app) knob(ctx context.Context, names []string, o knobOptions, k sweep.Knobs) error {
	switch {
	case o.pause && o.resume:
		return misused("one of them", "--pause and --resume at once")
	case o.reset && k.Set():
		return misused("one after the other", "--reset together with what is to be set")
	case !sweep.Amount(o.rate):
		return misused(tryRate, "--rate %v is less than 0, or no finite number", o.rate)
	case !sweep.Amount(o.nice):
		return misused(tryNice, "--nice %v is less than 0, or no finite number", o.nice)
	case k.Batch != nil && o.batch < 1:
		return misused(tryBatch, "--batch %d is less than 1", o.batch)
	case o.all && len(names) > 0:
		return misused("either --all or the names", "both --all and rules by name")
	case k.Set() && !o.all && len(names) == 0:
		return misused("rekey knob --all with the same flags, or with the name of a rule", "no rule is named")
	}
	p, err := a.loadPlan()
	if err != nil {
		return err
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
	c := f.store.Client()
	switch {
	case o.all:
		names = []string{sweep.AllRules}
	case o.reset && len(names) == 0:
		names = []string{""} // whatever there is, also what this version cannot read
	}
	for _, name := range names {
		switch {
		case o.reset:
			err = sweep.ResetKnobs(ctx, c, p, name)
		case k.Set():
			err = sweep.TurnKnobs(ctx, c, p, name, k)
		}
		if err != nil {
			return explainSweep(err)
		}
	}
	now, err := sweep.ReadKnobs(ctx, c, p)
	if err != nil {
		return explainSweep(err)
	}
	return a.printKnobs(now)
}

// printKnobs shows what is set.
func (a *app) printKnobs(all map[string]sweep.Knobs) error {
	if a.json {
		return a.printJSON(struct {
			Type  string                 `json:"type"`
			Knobs map[string]sweep.Knobs `json:"knobs"`
		}{"knobs", all})
	}
	if len(all) == 0 {
		a.printf("nothing is set: sweeps go as they were started\n")
	}
	for _, rule := range slices.Sorted(maps.Keys(all)) {
		name := rule
		if rule == sweep.AllRules {
			name = "all rules"
		}
		a.printf("%s: %s\n", name, knobText(all[rule]))
	}
	return nil
}

func knobText(k sweep.Knobs) string {
	var out []string
	if k.Paused != nil {
		out = append(out, map[bool]string{true: "paused", false: "not paused"}[*k.Paused])
	}
	if k.Rate != nil {
		text := fmt.Sprintf("%g keys/s", *k.Rate)
		if *k.Rate == 0 {
			text = "no limit of keys/s"
		}
		out = append(out, text)
	}
	if k.Batch != nil {
		out = append(out, fmt.Sprintf("batch %d", *k.Batch))
	}
	if k.Nice != nil {
		out = append(out, fmt.Sprintf("nice %g", *k.Nice))
	}
	return strings.Join(out, ", ")
}
