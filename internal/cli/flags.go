package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/phase"
)

// flagSets are the sets of flags that choose phases.
var flagSets = []phase.Flags{phase.FlagsCache, phase.FlagsRL}

// flagsOptions are the flags of `rekey flags`.
type flagsOptions struct {
	phase string
	set   string
	check bool
	table bool
}

// newFlags is `rekey flags`: phases and the environment that chooses them, both ways. It asks no
// server, and the plan only for the rules that are named.
func newFlags(a *app) *cobra.Command {
	var o flagsOptions
	cmd := &cobra.Command{
		Use:   "flags [RULE...]",
		Short: "Show the environment for a phase, and the phase of an environment",
		Long: `Where no control plane is wanted, environment variables choose the phase of a
rule: those of the set that the rule's flags: name, cache or rl.

Without options it reads the environment of its own process and prints the
phase that it chooses. With --phase it prints the environment for a phase, as
lines for a shell. With RULE it answers for these rules of the plan.`,
		Example: `  rekey flags                        the phases that this environment chooses
  rekey flags --check                the same, for a script: exit 2 if it chooses none
  rekey flags --check --phase dual   exit 1 if it chooses another phase
  eval "$(rekey flags --phase dual)"
  rekey flags --table                every phase`,
		ValidArgsFunction: a.completeRules(0),
		RunE: func(_ *cobra.Command, rules []string) error {
			sets, err := a.chosenSets(o.set, rules)
			if err != nil {
				return err
			}
			switch {
			case o.table && (o.phase != "" || o.check):
				return misused("rekey flags --table", "--table stands alone")
			case o.table:
				return a.flagTable(sets)
			case o.phase == "":
				return a.flagPhases(sets, 0, o.check)
			}
			p, err := phase.Parse(o.phase)
			if err != nil {
				return misused("rekey flags --table", "%w", err)
			}
			sets = slices.DeleteFunc(sets, func(s flagSet) bool {
				strategy, _ := s.flags.Strategy()
				return !strategy.Has(p)
			})
			if len(sets) == 0 {
				return misused("rekey flags --table", "no flags that were asked for choose phase %s", p)
			}
			if o.check {
				return a.flagPhases(sets, p, true)
			}
			return a.flagSettings(sets, p)
		},
	}
	cmd.Flags().StringVar(&o.phase, "phase", "", "print the environment that chooses this phase")
	cmd.Flags().StringVar(&o.set, "set", "", "only this set of flags: cache or rl")
	cmd.Flags().BoolVar(&o.check, "check", false, "only the exit code and errors")
	cmd.Flags().BoolVar(&o.table, "table", false, "print every phase with its environment")
	completeFlag(cmd, "phase", a.completePhases(nil))
	completeFlag(cmd, "set", cobra.FixedCompletions([]string{"cache", "rl"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// flagSet is a set of flags that was asked for, by itself or for a rule.
type flagSet struct {
	rule  string // "" without one
	flags phase.Flags
}

// label is what a line is about.
func (s flagSet) label() string {
	if s.rule != "" {
		return s.rule
	}
	return s.flags.String()
}

// chosenSets are the sets of the named rules, or those of --set, or all.
func (a *app) chosenSets(set string, rules []string) ([]flagSet, error) {
	only := phase.FlagsNone
	if set != "" {
		var err error
		if only, err = phase.ParseFlags(set); err != nil {
			return nil, misused("--set cache or --set rl", "%w", err)
		}
		if only == phase.FlagsNone {
			return nil, misused("--set cache or --set rl", "the set none has no flags")
		}
	}
	var out []flagSet
	if len(rules) == 0 {
		for _, f := range flagSets {
			if only == phase.FlagsNone || f == only {
				out = append(out, flagSet{flags: f})
			}
		}
		return out, nil
	}
	p, err := a.loadPlan()
	if err != nil {
		return nil, err
	}
	for _, name := range rules {
		i, err := ruleIndex(p, name)
		if err != nil {
			return nil, err
		}
		f := p.Rules[i].Flags
		if f == phase.FlagsNone {
			return nil, misused(fmt.Sprintf("flags: cache or flags: rl in rule %s of %s", name, p.File), "rule %q obeys no flags", name)
		}
		if only == phase.FlagsNone || f == only {
			out = append(out, flagSet{rule: name, flags: f})
		}
	}
	if len(out) == 0 {
		return nil, misused("rekey flags "+strings.Join(rules, " "), "none of these rules obeys the flags %s", only)
	}
	return out, nil
}

// flagPhases prints the phase that the process's environment chooses. want is the phase that it has
// to be, 0 for any.
func (a *app) flagPhases(sets []flagSet, want phase.Phase, quiet bool) error {
	type row struct {
		Type  string      `json:"type"`
		Rule  string      `json:"rule,omitempty"`
		Flags phase.Flags `json:"-"`
		Set   string      `json:"set"`
		Phase phase.Phase `json:"phase"`
	}
	var rows []row
	for _, s := range sets {
		p, err := phase.FromFlags(s.flags, a.lookup)
		if err != nil {
			return misused("rekey flags --table", "flags %s: %w", s.flags, err)
		}
		if want != 0 && p != want {
			return failed(fmt.Sprintf(`eval "$(rekey flags --phase %s --set %s)"`, want, s.flags), "%s: this environment chooses phase %s, not %s", s.label(), p, want)
		}
		rows = append(rows, row{Type: "phase", Rule: s.rule, Set: s.flags.String(), Phase: p})
	}
	if _, err := phase.Gated(a.lookup); err != nil {
		return misused("unset "+phase.CacheGated, "%w", err)
	}
	if quiet {
		return nil
	}
	for i, r := range rows {
		if !a.json {
			a.printf("%-12s %s\n", sets[i].label(), r.Phase)
		} else if err := a.printJSON(r); err != nil {
			return err
		}
	}
	return nil
}

// flagSettings prints the environment for a phase, as a shell reads it.
func (a *app) flagSettings(sets []flagSet, p phase.Phase) error {
	said := make(map[phase.Flags]bool)
	for _, s := range sets {
		settings, err := phase.ToFlags(s.flags, p)
		if err != nil {
			return misused("rekey flags --table", "%w", err)
		}
		if a.json {
			if err := a.printJSON(settingsObject(s, p, settings)); err != nil {
				return err
			}
			continue
		}
		if said[s.flags] { // two rules with the same flags
			continue
		}
		said[s.flags] = true
		for _, v := range settings {
			if v.Unset {
				a.printf("unset %s\n", v.Name)
			} else {
				a.printf("export %s=%s\n", v.Name, v.Value)
			}
		}
	}
	return nil
}

// settingsJSON is one environment; a variable that is to be unset is null.
type settingsJSON struct {
	Type        string             `json:"type"`
	Rule        string             `json:"rule,omitempty"`
	Set         string             `json:"set"`
	Phase       phase.Phase        `json:"phase"`
	Environment map[string]*string `json:"environment"`
}

func settingsObject(s flagSet, p phase.Phase, settings []phase.Setting) settingsJSON {
	out := settingsJSON{Type: "environment", Rule: s.rule, Set: s.flags.String(), Phase: p, Environment: make(map[string]*string)}
	for _, v := range settings {
		out.Environment[v.Name] = nil
		if !v.Unset {
			out.Environment[v.Name] = &v.Value
		}
	}
	return out
}

// flagTable prints every phase of the sets.
func (a *app) flagTable(sets []flagSet) error {
	for i, s := range sets {
		strategy, _ := s.flags.Strategy()
		if !a.json {
			if i > 0 {
				a.printf("\n")
			}
			a.printf("%s (strategy %s)\n", s.label(), strategy)
		}
		for _, p := range phase.Of(strategy) {
			settings, err := phase.ToFlags(s.flags, p)
			if err != nil {
				return fmt.Errorf("flags of phase %s: %w", p, err)
			}
			if a.json {
				if err := a.printJSON(settingsObject(s, p, settings)); err != nil {
					return err
				}
				continue
			}
			var words []string
			for _, v := range settings {
				if !v.Unset {
					words = append(words, v.String())
				}
			}
			if len(words) == 0 {
				words = []string{"(nothing set)"}
			}
			a.printf("  %-9s %s\n", p, strings.Join(words, " "))
		}
	}
	return nil
}
