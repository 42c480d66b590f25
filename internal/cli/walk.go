package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// walkOptions are the flags of the commands that take rules from phase to phase: run, advance, rollback.
type walkOptions struct {
	all          bool
	to           string
	dryRun       bool
	yes          bool
	takeOver     bool
	noInstances  bool
	soak         time.Duration
	wait         time.Duration
	monitor      time.Duration
	forget       []string
	strangers    []string
	skip         []string
	purge        bool
	removeStrays bool
	claim        bool
	overcommit   bool
}

// addFlags adds the flags that all three have.
func (o *walkOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be done, and change nothing")
	f.DurationVar(&o.wait, "wait", control.DefaultPatience, "how long an instance, a replica or the server is waited for; 0: not at all")
	f.StringSliceVar(&o.forget, "forget", nil, "an instance, by name or id, that you know to be dead: its lease is not waited for")
	f.StringSliceVar(&o.strangers, "allow-stranger", nil, "a user, client name or address that may stay past rekey, beside the plan's")
	f.DurationVar(&o.monitor, "monitor", 0, "how long an audit also listens to the server's commands")
	f.BoolVar(&o.noInstances, "no-instances", false, "your word that no process uses the keys; wants a clean audit")
}

// options are what the controller is told.
func (o *walkOptions) options(f *fleetTarget, now *control.Status, observe func(control.Event)) (control.Options, error) {
	forget, err := namedInstances(now, o.forget)
	if err != nil {
		return control.Options{}, err
	}
	out := control.Options{
		Client: f.store.Client(), Owner: owner(), TakeOver: o.takeOver, NoInstances: o.noInstances, Soak: o.soak, Forget: forget,
		AllowStranger: o.strangers, Monitor: o.monitor, Purge: o.purge, RemoveStrays: o.removeStrays, ClaimSharedLegacy: o.claim, Overcommit: o.overcommit,
		Patience: o.wait, Progress: observe,
	}
	if o.wait == 0 {
		out.Patience = -1 // 0 is the default there
	}
	for _, name := range o.skip {
		g, err := phase.ParseGate(name)
		if err != nil || !slices.Contains(skippable(), g.String()) {
			return out, misused("--skip "+strings.Join(skippable(), " or --skip "), "--skip %s: only gates that a step is safe without can be left out", name)
		}
		out.SkipAsked = append(out.SkipAsked, g)
	}
	return out, nil
}

// namedInstances gives the ids of instances by name, id, or as much of the id as the status shows. A name that
// several have names none: a live one could be taken for dead.
func namedInstances(now *control.Status, names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		var found []string
		for i := range now.Instances {
			in := &now.Instances[i]
			if name != "" && (in.ID == name || in.Name == name || len(name) >= idShown && strings.HasPrefix(in.ID, name)) {
				found = append(found, in.ID)
			}
		}
		switch len(found) {
		case 0:
			return nil, misused("rekey status, which lists the instances", "--forget %s: the fleet has no such instance", name)
		case 1:
			out = append(out, found[0])
		default:
			return nil, misused("--forget with the id that rekey status shows", "--forget %s: %d instances have this name", name, len(found))
		}
	}
	return out, nil
}

// skippable are the gates that are asked for and necessary for nothing.
func skippable() []string {
	var out []string
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		for _, step := range phase.Steps(s) {
			for _, g := range step.Asked {
				if !slices.Contains(out, g.String()) {
					out = append(out, g.String())
				}
			}
		}
	}
	return out
}

// goalPhase reads --to or --until; 0 where it is not given.
func goalPhase(flag, name string) (phase.Phase, error) {
	if name == "" {
		return 0, nil
	}
	p, err := phase.Parse(name)
	if err != nil {
		return 0, misused("--"+flag+" with a phase of the rule's strategy, as rekey status shows them", "--%s: %w", flag, err)
	}
	return p, nil
}

// walkCommand is one of run, advance and rollback, on its way.
type walkCommand struct {
	name  string // of the command
	goals []control.Goal
	walkOptions
}

// walk takes the rules to their goals, or says what it would do.
func (a *app) walk(ctx context.Context, p *plan.Plan, w walkCommand) error {
	if err := a.ownEnvironment(p, w); err != nil {
		return err
	}
	f, err := a.openFleetOf(ctx, p)
	if err != nil {
		return err
	}
	defer func() { _ = f.close() }() // all that was written was answered
	now, err := control.Read(ctx, f.store, p)
	if err != nil {
		return explainControl(err)
	}
	events := a.newEvents(ruleNames(p))
	defer events.Close()
	o, err := w.options(f, &now, events.happened)
	if err != nil {
		return err
	}
	walks, err := f.preview(ctx, w, &now, o)
	if err != nil {
		return err
	}
	if w.dryRun {
		return a.dryRun(w, walks)
	}
	if err := a.confirm(ctx, f, w, walks); err != nil {
		return err
	}
	if now.Empty && !w.noInstances {
		// A controller begins with records of its own, and records of an environment that nobody is in hold up the
		// walks of those who share the database.
		none := noFleet(p)
		return &failure{code: exitGate, err: errors.New(none.Text), try: none.Try}
	}
	c, err := control.Open(ctx, p, o)
	if err != nil {
		return explainControl(err)
	}
	err = errors.Join(c.Walk(ctx, w.goals), c.Close())
	events.Close()
	if err != nil {
		return explainControl(err)
	}
	return a.walked(ctx, f, w, walks)
}

// ownEnvironment: where no instance could say that it is of another environment, --env may not choose one
// that the plan does not name.
func (a *app) ownEnvironment(p *plan.Plan, w walkCommand) error {
	if !w.noInstances || a.env == "" {
		return nil
	}
	data, err := os.ReadFile(p.File)
	if err != nil {
		return fmt.Errorf("read the plan again: %w", err)
	}
	if own, err := plan.Parse(p.File, data, a.lookup); err != nil || own.Environment != p.Environment {
		return misused(fmt.Sprintf("environment: %s in %s, and no --env", p.Environment, p.File),
			"--no-instances wants the plan's own environment, and --env says %s", p.Environment)
	}
	return nil
}

// preview is what would be done.
func (f *fleetTarget) preview(ctx context.Context, w walkCommand, now *control.Status, o control.Options) ([]dryWalk, error) {
	steps, err := o.Preview(ctx, f.store, f.plan, w.goals)
	if err != nil {
		return nil, explainControl(err)
	}
	walks := dryWalks(f.plan, now, w.goals, steps, cmp.Or(o.Soak, f.plan.Soak))
	for _, d := range walks {
		// With --all a rule on the other side of the phase stays where it is.
		if d.stays() && !w.all {
			where, other := w.other(&d)
			return nil, misused(other+", which goes the other way", "%s", where)
		}
	}
	return walks, nil
}

// other says that the command does not lead a rule to its goal, and which one does.
func (w *walkCommand) other(d *dryWalk) (where, command string) {
	name := "rollback"
	if w.name == "rollback" {
		name = "advance"
	}
	return fmt.Sprintf("rule %s is in %s, from where %s does not lead to %s", d.Rule, d.From, w.name, d.To),
		fmt.Sprintf("rekey %s %s --to %s", name, d.Rule, d.To)
}

// walked says where everything is now, and what was not to be led to the goal.
func (a *app) walked(ctx context.Context, f *fleetTarget, w walkCommand, walks []dryWalk) error {
	now, err := control.Read(ctx, f.store, f.plan)
	if err != nil {
		return explainControl(err)
	}
	type ruleJSON struct {
		Rule  string `json:"rule"`
		Phase string `json:"phase"`
	}
	out := struct {
		Type    string     `json:"type"`
		Command string     `json:"command"`
		Rules   []ruleJSON `json:"rules"`
		Notes   []string   `json:"notes,omitempty"`
		Next    string     `json:"next"`
	}{"result", w.name, []ruleJSON{}, nil, walkNext(f.plan, &now, w)}
	for _, d := range walks {
		if d.stays() {
			where, other := w.other(&d)
			out.Notes = append(out.Notes, fmt.Sprintf("%s; %s does", where, other))
		}
	}
	for _, g := range w.goals {
		i, _ := f.plan.Index(g.Rule)
		at := phase.Legacy
		if t := now.Rules[i].Target; t != nil {
			at = t.Phase
		}
		out.Rules = append(out.Rules, ruleJSON{g.Rule, at.String()})
	}
	if a.json {
		return a.printJSON(out)
	}
	phases := make(map[string][]string)
	var order []string
	for _, r := range out.Rules {
		if phases[r.Phase] == nil {
			order = append(order, r.Phase)
		}
		phases[r.Phase] = append(phases[r.Phase], r.Rule)
	}
	a.printf("\n")
	for _, at := range order {
		a.printf("at %s: %s\n", at, namesText(phases[at]))
	}
	for _, n := range out.Notes {
		a.printf("note: %s\n", n)
	}
	a.printf("\nNext: %s\n", out.Next)
	return nil
}

// walkNext is the command after a walk.
func walkNext(p *plan.Plan, now *control.Status, w walkCommand) string {
	moving, legacy := false, true
	for i := range now.Rules {
		t := now.Rules[i].Target
		moving = moving || t != nil && !t.Phase.Parked()
		legacy = legacy && (t == nil || t.Phase == phase.Legacy)
	}
	switch {
	case moving:
		return "rekey run, which goes on, or rekey rollback, which goes back"
	case legacy:
		return "rekey purge --all, which counts the target keys that are left; the next try wants none"
	}
	return "rekey fence, so that a forgotten client of the legacy names fails loudly"
}

// dryRun says what would be done.
func (a *app) dryRun(w walkCommand, walks []dryWalk) error {
	if a.json {
		if err := a.printJSON(struct {
			Type    string    `json:"type"`
			Command string    `json:"command"`
			Rules   []dryWalk `json:"rules"`
		}{"dry_run", w.name, walks}); err != nil {
			return err
		}
	} else {
		a.printLines(dryLines(walks))
		a.printf("\nNothing was changed.\n")
	}
	if slices.ContainsFunc(walks, func(d dryWalk) bool { return len(d.Blocked) > 0 }) {
		return said(exitGate)
	}
	return nil
}

// confirm asks at a terminal before a whole walk; elsewhere it wants --yes.
func (a *app) confirm(ctx context.Context, f *fleetTarget, w walkCommand, walks []dryWalk) error {
	if w.name != "run" || w.yes {
		return nil
	}
	if in, ok := a.stdin.(*os.File); !ok || !term.IsTerminal(in.Fd()) || a.json {
		return misused("rekey run --dry-run, and then rekey run --yes", "run asks before it begins, and there is nobody at a terminal to ask")
	}
	a.printLines(dryLines(walks))
	a.printf("\nWalk environment %s at %s? [y/N] ", f.plan.Environment, f.url)
	answer, err := a.answer(ctx)
	if err != nil {
		return err
	}
	if answer != "y" && answer != "yes" {
		return failed("rekey run --dry-run", "nothing was changed")
	}
	a.printf("\n")
	return nil
}

// answer reads a line of standard input.
func (a *app) answer(ctx context.Context) (string, error) {
	read := make(chan string, 1)
	go func() { // it ends with the line, or with the process
		text, _ := bufio.NewReader(a.stdin).ReadString('\n') // no answer is the answer no
		read <- strings.ToLower(strings.TrimSpace(text))
	}()
	select {
	case text := <-read:
		return text, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
