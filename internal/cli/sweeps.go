package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// sweepTexts are what `--help` says of each job.
var sweepTexts = map[sweep.Kind]struct{ short, long string }{
	sweep.Purge: {"Remove target keys left by an earlier try", `Removes the target keys of a rule: leftovers of an earlier try, or of a walk
back, which are stale. Without --execute it only counts them.`},
	sweep.Backfill: {"Give every legacy key its target copy", `Copies every legacy key that has no target to its target name, on the server,
with its TTL. It never overwrites a target key.`},
	sweep.Verify: {"Compare the two names of every key", `Compares type, value and TTL of the two names of every key, and ends with exit
code 1 when any differ. --repair mends them, with --execute.`},
	sweep.Reverse: {"Give every target key its legacy copy", `Prepares the way back: gives every target key its legacy copy (strategy move:
brings every key home to its legacy name). What reads see wins.`},
	sweep.Cleanup: {"Remove legacy keys whose target is there", `Removes legacy keys that have a target, and names the others for a decision.
Without --execute it only counts them.`},
	sweep.Relocate: {"Move every legacy key to its target name", `Moves every legacy key of a rule of the move strategy to its target name.`},
}

// claimHelp is what --claim-shared-legacy says.
const claimHelp = "your word that all legacy names are this environment's, although others have names in the database"

// bigKeysHelp is what --big-keys says before its defaults.
var bigKeysHelp = map[sweep.Kind]string{
	sweep.Backfill: "keys whose copy stalls the server: skip, now, or move (in drain)",
	sweep.Reverse:  "keys whose copy stalls the server: skip or now",
	sweep.Verify:   "keys that differ, and whose repair stalls the server: skip or now",
}

// overcommitHelp is what --overcommit says.
const overcommitHelp = "your word that the server's memory will do for copies that do not seem to fit"

// What to give in the place of an amount that is none.
const (
	tryRate      = "--rate 1000, for so many keys in a second; 0 is no limit"
	tryNice      = "--nice 1, to sleep as long as was worked; 0 does not sleep"
	tryBatch     = "--batch 500, for so many names at once"
	tryTolerance = "--ttl-tolerance 1s; 0 is to the millisecond"
)

// sweepOptions are the flags of a sweep.
type sweepOptions struct {
	all          bool
	phase        string
	execute      bool
	repair       bool
	removeStrays bool
	claim        bool
	overcommit   bool
	minIdle      time.Duration
	tolerance    time.Duration
	examples     int
	showKeys     bool
	anew         bool
	wait         time.Duration
	unthrottled  bool
	rate, nice   float64
	batch        int
	trash        time.Duration
	undo         bool
	bigKeys      string
	bigStall     time.Duration
	sample       float64
}

// newSweep is `rekey purge` and its like.
func newSweep(a *app, kind sweep.Kind) *cobra.Command {
	var o sweepOptions
	text := sweepTexts[kind]
	cmd := &cobra.Command{
		Use:   kind.String() + " [RULE...]",
		Short: text.short,
		Long: text.long + `

The phase is that of the fleet, which every instance must have reached. Where
there is no fleet that can tell, --assume-phase is your word that every process
is in this phase, and stays there until the sweep has ended.

A sweep that was interrupted goes on when the same command is given again.`,
		Example:           fmt.Sprintf("  rekey %s sessions\n  rekey %[1]s sessions --assume-phase %[2]s", kind, kind.Phases(strategyOf(kind))[0]),
		ValidArgsFunction: a.completeRules(0),
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.sweep(cmd.Context(), kind, names, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.all, "all", false, "all rules of the plan that have the phase")
	f.StringVar(&o.phase, "assume-phase", "", "the phase that every process is in, where no fleet tells")
	f.IntVar(&o.examples, "examples", sweep.DefaultExamples, "how many problems to name")
	f.BoolVar(&o.anew, "anew", false, "begin anew where an interrupted sweep would go on")
	f.DurationVar(&o.wait, "wait", time.Minute, "how long a server that does not answer, or is not ready, is waited for in the middle; 0: not at all")
	f.BoolVar(&o.unthrottled, "unthrottled", false, "as fast as the server can, whoever else waits for it")
	f.Float64Var(&o.rate, "rate", 0, "keys in a second; 0: no limit")
	f.IntVar(&o.batch, "batch", sweep.DefaultPage, "names that the server looks at at once")
	f.Float64Var(&o.nice, "nice", 0, "sleep so many times as long as was worked")
	f.BoolVar(&o.showKeys, "show-keys", false, "print names of keys; they hold identifiers of sessions")
	if kind == sweep.Purge || kind == sweep.Cleanup || kind == sweep.Verify {
		f.BoolVar(&o.execute, "execute", false, "do it; without it nothing is changed")
	}
	switch kind {
	case sweep.Backfill, sweep.Reverse, sweep.Verify:
		f.StringVar(&o.bigKeys, "big-keys", "", bigKeysHelp[kind]+"; skip, and now with --unthrottled")
		f.DurationVar(&o.bigStall, "big-stall", sweep.DefaultBigStall, "how long a copy may stall the server")
	}
	switch kind {
	case sweep.Purge:
		f.BoolVar(&o.claim, "claim-shared-legacy", false, claimHelp)
	case sweep.Backfill:
		f.BoolVar(&o.overcommit, "overcommit", false, overcommitHelp)
	case sweep.Verify:
		f.BoolVar(&o.repair, "repair", false, "mend what differs")
		f.Float64Var(&o.sample, "sample", 0, "look at random keys only: a part of them (0.01), or about so many (10000)")
		f.DurationVar(&o.tolerance, "ttl-tolerance", 0, "how far apart two TTLs may be")
	case sweep.Cleanup:
		f.BoolVar(&o.removeStrays, "remove-strays", false, "remove legacy keys without a target too (phase sealed)")
		f.DurationVar(&o.trash, "trash", 0, "keep what is removed for this long, where --undo finds it; 0: remove it")
		f.BoolVar(&o.undo, "undo", false, "bring back what is in the trash, where nothing was written since")
		f.DurationVar(&o.minIdle, "min-idle", 0, "keep and name legacy keys that were used within this time")
	}
	completeFlag(cmd, "assume-phase", a.completePhases(func(s phase.Strategy, p phase.Phase) bool {
		return slices.Contains(kind.Phases(s), p)
	}))
	return cmd
}

// strategyOf is a strategy that has the job.
func strategyOf(kind sweep.Kind) phase.Strategy {
	if len(kind.Phases(phase.Mirror)) > 0 {
		return phase.Mirror
	}
	return phase.Relocate
}

// check refuses numbers that say nothing, with one that does. A flag takes NaN and Inf for numbers.
func (o *sweepOptions) check() error {
	for _, f := range []struct {
		flag  string
		holds bool
		value any
		try   string
	}{
		{"--rate", sweep.Amount(o.rate), o.rate, tryRate},
		{"--nice", sweep.Amount(o.nice), o.nice, tryNice},
		{"--batch", o.batch >= 0, o.batch, tryBatch},
		{"--sample", sweep.Amount(o.sample), o.sample, "--sample 0.01, for one key in a hundred, or --sample 10000, for about so many"},
		{"--wait", o.wait >= 0, o.wait, "--wait 1m; 0 does not wait at all"},
		{"--ttl-tolerance", o.tolerance >= 0, o.tolerance, tryTolerance},
		{"--big-stall", o.bigStall >= 0, o.bigStall, fmt.Sprintf("--big-stall %v", sweep.DefaultBigStall)},
		{"--min-idle", o.minIdle >= 0, o.minIdle, "--min-idle 24h; 0 does not look at it"},
		{"--trash", o.trash >= 0, o.trash, "--trash 24h; 0 removes at once"},
	} {
		if !f.holds {
			return misused(f.try, "%s %v is less than 0, or no finite number", f.flag, f.value)
		}
	}
	if !o.undo {
		return nil
	}
	for _, f := range []struct {
		flag  string
		given bool
	}{{"--trash", o.trash != 0}, {"--remove-strays", o.removeStrays}, {"--min-idle", o.minIdle != 0}} {
		if f.given {
			return misused("rekey cleanup --undo, without "+f.flag, "--undo together with %s: it brings back all that is in the trash", f.flag)
		}
	}
	return nil
}

// sweep runs one job over the rules.
func (a *app) sweep(ctx context.Context, kind sweep.Kind, names []string, o sweepOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	p, err := a.loadPlan()
	if err != nil {
		return err
	}
	rules, err := chosenRules(p, names, o.all)
	if err != nil {
		return err
	}
	assumed, err := assumedPhase(kind, o.phase)
	if err != nil {
		return err
	}
	if o.execute && kind == sweep.Verify && !o.repair {
		return misused("rekey verify --repair --execute", "--execute without --repair: verify changes nothing by itself")
	}
	if o.bigKeys != "" && kind == sweep.Verify && !o.repair {
		return misused("rekey verify --repair --big-keys "+o.bigKeys, "--big-keys without --repair: verify copies nothing by itself")
	}
	f, err := a.openFleetOf(ctx, p)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // the sweep has connections of its own
	now, err := control.Read(ctx, f.store, p)
	if err != nil {
		return explainControl(err)
	}
	if o.all {
		able := slices.DeleteFunc(slices.Clone(rules), func(i int) bool {
			at, _, _ := sweepPhase(&now, i, kind, assumed)
			return !slices.Contains(kind.Phases(p.Rules[i].Strategy), at)
		})
		if len(able) > 0 { // else the first one says why
			rules = able
		}
	}
	return a.sweepRules(ctx, f, &now, rules, kind, assumed, o)
}

// sweepRules sweeps one rule after the other. Where there is a fleet the lock is held meanwhile, so that
// nobody takes it to another phase.
func (a *app) sweepRules(ctx context.Context, f *fleetTarget, now *control.Status, rules []int, kind sweep.Kind, assumed phase.Phase, o sweepOptions) (err error) {
	var led *control.Controller
	defer func() {
		if led != nil {
			err = errors.Join(err, led.Close())
		}
	}()
	code := exitDone
	for _, i := range rules {
		at, isLed, err := sweepPhase(now, i, kind, assumed)
		if err != nil {
			return err
		}
		if isLed && led == nil {
			if led, err = control.Open(ctx, f.plan, control.Options{Client: f.store.Client(), Owner: owner()}); err != nil {
				return explainControl(err)
			}
		}
		run := sweep.Run
		if isLed {
			run = led.Sweep
		}
		got, err := a.sweepRule(ctx, run, f.store.Client(), f.plan, i, kind, at, o)
		if err != nil {
			return explainSweep(err)
		}
		// A violation says more than a gate.
		if code != exitFailed && got != exitDone {
			code = got
		}
	}
	if code != exitDone {
		return said(code)
	}
	return nil
}

// assumedPhase reads --assume-phase; 0 where it is not given.
func assumedPhase(kind sweep.Kind, name string) (phase.Phase, error) {
	if name == "" {
		return 0, nil
	}
	p, err := phase.Parse(name)
	if err != nil {
		return 0, misused(fmt.Sprintf("rekey %s RULE --assume-phase %s, when it is so", kind, phasesText(kind)), "--assume-phase: %w", err)
	}
	return p, nil
}

// phasesText are the phases in which a job may run, by any strategy.
func phasesText(kind sweep.Kind) string {
	var out []string
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		for _, p := range kind.Phases(s) {
			if !slices.Contains(out, p.String()) {
				out = append(out, p.String())
			}
		}
	}
	return strings.Join(out, "|")
}

// sweepRule sweeps one rule, prints what came of it and returns its exit code.
func (a *app) sweepRule(ctx context.Context, run func(context.Context, sweep.Options) (sweep.Result, error), c *redis.Client, p *plan.Plan, rule int, kind sweep.Kind, at phase.Phase, o sweepOptions) (int, error) {
	big, err := o.big()
	if err != nil {
		return exitUsage, err
	}
	progress := a.newProgress().withBars()
	defer progress.Close()
	result, err := run(ctx, sweep.Options{
		Client: c, Plan: p, Rule: p.Rules[rule].Name, Kind: kind, Phase: at,
		Execute: o.execute, Repair: o.repair, RemoveStrays: o.removeStrays, ClaimSharedLegacy: o.claim, Overcommit: o.overcommit, MinIdle: o.minIdle, TTLTolerance: o.tolerance,
		Examples: examples(o.examples), OnProgress: progress.report, Anew: o.anew, Patience: o.wait,
		Sample: o.sample, BigKeys: big, BigStall: o.bigStall, Trash: o.trash, Undo: o.undo, Throttled: !o.unthrottled, Rate: o.rate, Nice: o.nice, Page: o.batch,
	})
	progress.Close()
	if err != nil {
		return exitFailed, err
	}
	out := sweepJSON{
		Type: "result", Kind: kind.String(), Rule: p.Rules[rule].Name, Phase: at, Dry: dry(kind, o), Undo: o.undo,
		Counts: result.Counts, Problems: result.Problems, Sample: result.Sample, Held: heldSeconds(result.Held), Notes: result.Notes, Gates: result.Verdict.Gates, Stored: result.Stored,
	}
	if out.Gates == nil {
		out.Gates = []sweep.GateVerdict{}
	}
	for _, e := range result.Examples {
		out.Examples = append(out.Examples, shownProblem(p, rule, e, o.showKeys))
	}
	for _, e := range result.Repairs {
		out.Repairs = append(out.Repairs, shownProblem(p, rule, e, o.showKeys))
	}
	if a.json {
		err = a.printJSON(out)
	} else {
		a.printSweep(&out)
	}
	return out.code(), err
}

// big is what to do with big keys.
func (o *sweepOptions) big() (sweep.BigKeys, error) {
	switch {
	case o.bigKeys == "" && o.unthrottled:
		return sweep.BigNow, nil // as fast as the server can
	case o.bigKeys == "":
		return sweep.BigSkip, nil
	}
	big, err := sweep.ParseBigKeys(o.bigKeys)
	if err != nil {
		return 0, misused("--big-keys skip, now or move", "--big-keys: %w", err)
	}
	return big, nil
}

// examples: 0 of the flag is none, and 0 of the option is the default.
func examples(n int) int {
	if n <= 0 {
		return -1
	}
	return n
}

// dry says that the run changed nothing because it was not told to.
func dry(kind sweep.Kind, o sweepOptions) bool {
	return !o.execute && (kind == sweep.Purge || kind == sweep.Cleanup || kind == sweep.Verify && o.repair)
}

// explainSweep gives the errors of sweeps their exit codes and their last line: a sweep's error ends
// with what to do, behind its last semicolon.
func explainSweep(err error) error {
	if errors.As(err, new(*failure)) {
		return err // it is explained already
	}
	if errors.As(err, new(*control.HeldError)) || errors.As(err, new(*control.FencedError)) || errors.Is(err, fleet.ErrRestore) {
		return explainControl(err)
	}
	if errors.Is(err, sweep.ErrOptions) {
		return misused("the same command with --help, which says what each flag takes", "%w", err)
	}
	code := exitFailed
	if errors.As(err, new(*sweep.SharedError)) {
		code = exitGate
	}
	text := err.Error()
	var refused *sweep.PhaseError
	if errors.As(err, &refused) {
		if len(refused.Want) == 0 {
			return misused("--all, which takes the rules that it can", "%w", err)
		}
		text, _, _ = strings.Cut(text, ";")
		command, to := wayTo(refused)
		return misused(fmt.Sprintf("rekey %s %s --to %s, or --assume-phase %[3]s without a fleet, when every process is there", command, refused.Rule, to), "%s", text)
	}
	if i := strings.LastIndex(text, "; "); i > 0 {
		return &failure{code: code, err: errors.New(text[:i]), try: text[i+2:]}
	}
	return &failure{code: code, err: err, try: "the same command again"}
}

// wayTo is the command that takes a fleet to a phase in which the sweep may run, and that phase: the nearest one on the walk.
func wayTo(refused *sweep.PhaseError) (command string, to phase.Phase) {
	order, walk := phase.Of(refused.Strategy), phase.Walk(refused.Strategy)
	at := slices.Index(order, refused.Phase)
	command, to = "advance", refused.Want[0]
	nearest := len(order) + 1
	for _, want := range refused.Want {
		ahead := slices.Index(order, want) - at
		if distance := max(ahead, -ahead); slices.Contains(walk, want) && distance < nearest {
			command, to, nearest = "advance", want, distance
			if ahead < 0 {
				command = "rollback"
			}
		}
	}
	return command, to
}
