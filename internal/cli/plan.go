package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// planOptions are the flags of `rekey plan`.
type planOptions struct {
	acl     bool
	user    string
	maxKeys int64
	full    bool
}

// defaultMaxKeys is how many names are looked at without --full: seconds on any server.
const defaultMaxKeys = 200_000

// newPlan is `rekey plan`: is this plan right, and is its server ready. It writes nothing.
func newPlan(a *app) *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Check the plan against its server",
		Long: `Checks a plan and looks at its server, without writing anything: version and
eviction policy, what keys each rule has, target names that are there already,
other environments in the same database, the memory that a second copy will
take, and whether a user has the rights that each phase needs.

With --acl it only prints the ACL rules to add for the application's user.`,
		Example: `  rekey plan
  rekey plan --user app        check the rights of the application's user too
  rekey plan --acl --user app  print the rights that each phase needs`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.maxKeys < 1 {
				return misused("rekey plan --full, to look at all keys", "--max-keys %d is less than 1", o.maxKeys)
			}
			if o.full {
				o.maxKeys = 0
			}
			p, err := a.loadPlan()
			if err != nil {
				return err
			}
			if o.acl {
				user := o.user
				if user == "" {
					user = "USER"
				}
				return a.printACL(p, user)
			}
			report, err := a.examine(cmd.Context(), p, o)
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(report)
			} else {
				a.printPlan(p, report)
			}
			if err == nil && report.failed() {
				err = said(exitFailed)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&o.acl, "acl", false, "print the ACL rules that the application's user needs in each phase")
	cmd.Flags().StringVar(&o.user, "user", "", "the application's user on the server")
	cmd.Flags().Int64Var(&o.maxKeys, "max-keys", defaultMaxKeys, "how many names to look at")
	cmd.Flags().BoolVar(&o.full, "full", false, "look at all names")
	return cmd
}

// planReport is what `rekey plan` has found.
type planReport struct {
	Plan        string        `json:"plan"`
	Environment string        `json:"environment"`
	Databases   []int         `json:"databases"`
	Server      *serverReport `json:"server"`
	Keys        *keysReport   `json:"keys,omitempty"`
	MirrorBytes int64         `json:"mirror_bytes"` // what second copies will take
	MirrorError int64         `json:"mirror_error"` // how far that may be off, in 95 of 100 cases
	Rights      *rightsReport `json:"rights,omitempty"`
	Findings    []finding     `json:"findings"`
	Next        string        `json:"next"`
}

// finding is something that the operator should know: an error stops the walk.
type finding struct {
	Level string `json:"level"` // error or warning
	Text  string `json:"text"`
	Try   string `json:"try,omitempty"`
}

func (r *planReport) found(level, try, format string, args ...any) {
	r.Findings = append(r.Findings, finding{Level: level, Text: fmt.Sprintf(format, args...), Try: try})
}

func (r *planReport) failed() bool {
	return slices.ContainsFunc(r.Findings, func(f finding) bool { return f.Level == "error" })
}

// examine asks the server and judges.
func (a *app) examine(ctx context.Context, p *plan.Plan, o planOptions) (report *planReport, err error) {
	t, err := a.connect(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() { _ = t.close() }() // nothing was written
	c := t.client(p.Databases[0])
	report = &planReport{Plan: p.File, Environment: p.Environment, Databases: p.Databases, Findings: []finding{}}
	if report.Server, err = askServer(ctx, c, t.url.String()); err != nil {
		return nil, err
	}
	report.judgeServer()
	if report.Server.version.hasCopy() { // else it was said
		report.judgeCommands(lackingCommands(ctx, c, p))
	}
	if !report.Server.Cluster {
		if report.Keys, err = walkKeys(ctx, t, p, o.maxKeys); err != nil {
			return nil, fmt.Errorf("look at the keys: %w", err)
		}
		report.judgeKeys(p)
		if o.user != "" {
			if report.Rights, err = checkRights(ctx, c, p, o.user, report.Server.version); err != nil {
				return nil, err
			}
			report.judgeRights()
		}
	}
	report.Next = report.next(p, o)
	return report, nil
}

// judgeServer says what of the server stops a walk or makes it slower.
func (r *planReport) judgeServer() {
	s := r.Server
	if s.Cluster {
		r.found("error", "--redis URL of a single server or a Sentinel group", "a cluster is not supported yet: name a single server or a Sentinel group")
	}
	if !s.version.hasCopy() {
		r.found("error", "a server of version 6.2 or later", "%s %s has no COPY, without which no key can be mirrored", s.Flavor, s.Version)
	}
	if s.Role == "slave" {
		r.found("error", "--redis URL of its primary", "this server is a replica: nothing can be written to it")
	}
	if s.evicts() {
		r.found("warning", "", "%s", evictionCost(s.Eviction))
	}
}

// judgeCommands says which commands the server does not have.
func (r *planReport) judgeCommands(lacking []string) {
	if len(lacking) > 0 {
		r.found("error", "a server that has them: rename-command in its configuration takes commands away, and so do some hosts",
			"the server has no %s, which a walk needs", strings.Join(lacking, ", "))
	}
}

// judgeKeys says what of the keys stops a walk. Other environments come first: no walk can tell
// whose a legacy key is.
func (r *planReport) judgeKeys(p *plan.Plan) {
	k := r.Keys
	for _, env := range slices.Sorted(maps.Keys(k.Foreign)) {
		f := k.Foreign[env]
		r.Findings = slices.Insert(r.Findings, 0, finding{Level: "warning",
			Text: fmt.Sprintf("environment %q has names in the same database (%d target names, %d control records): the legacy names are shared, and nothing tells whose a legacy key is. No rule will leave guard without the word that they are all yours", env, f.Target, f.Control),
			Try:  "a database or a server of its own for each environment, or rekey purge RULE --claim-shared-legacy, whose verdict lets the rule leave guard (legacy, with the move strategy)"})
	}
	var needed sweep.Need
	for i := range k.Rules {
		rule := &k.Rules[i]
		if kinds := rule.uncopyable(); len(kinds) > 0 {
			r.found("error", fmt.Sprintf("strategy: move in rule %s", rule.Rule), "rule %q has keys of type %s, which the server may be unable to copy", rule.Rule, strings.Join(kinds, ", "))
		}
		if rule.Target > 0 {
			r.found("warning", leftoverTry(p, rule),
				"rule %q has target names already (%d): leftovers of an earlier try are stale, and those of a half-done migration may be newer than the legacy ones", rule.Rule, rule.Target)
		}
		needed = needed.Plus(rule.Copies)
		if len(rule.Big) > 0 && rule.Strategy == phase.Mirror.String() {
			r.found("warning", fmt.Sprintf("strategy: move in rule %s, which never copies a key", rule.Rule), "%s", bigText(rule))
		}
	}
	r.MirrorBytes, r.MirrorError = needed.Bytes, needed.Error
	if room, limited := r.Server.room(); limited && r.MirrorBytes > room {
		r.found("error", "more memory (maxmemory), or strategy: move for the biggest rules, which takes none",
			"the second copies will take %s, and %s are left", needed, bytesText(max(0, room)))
	}
}

// bigText says what the big keys of a rule cost.
func bigText(rule *ruleReport) string {
	first := rule.Big[0]
	what := "a " + first.Type
	if first.Elements > 0 {
		what = fmt.Sprintf("a %s of %d elements", first.Type, first.Elements)
	}
	count := plural(len(rule.Big), "big key")
	if len(rule.Big) == bigKept {
		count = fmt.Sprintf("%d big keys or more", bigKept)
	}
	return fmt.Sprintf("rule %q has %s: the biggest, %s and %s, stalls the server for about %s whenever it is copied: by the backfill, and again by every write that cannot be replayed on both names",
		rule.Rule, count, what, bytesText(first.Bytes), sweep.StallText(first.CopyStall()))
}

// leftoverTry is what to do about target names before the first step.
func leftoverTry(p *plan.Plan, rule *ruleReport) string {
	adopt := fmt.Sprintf("rekey adopt %s --reads target, if an application has read them", rule.Rule)
	if rule.Strategy == phase.Relocate.String() {
		return adopt + "; rekey reverse " + rule.Rule + " --assume-phase hold, if not"
	}
	return adopt + "; rekey purge " + rule.Rule + " --assume-phase legacy, if not"
}

// judgeRights says which rights are missing.
func (r *planReport) judgeRights() {
	if !r.Rights.Checked {
		r.found("warning", "rekey plan --acl --user "+r.Rights.User, "the rights of user %q were not checked: %s", r.Rights.User, r.Rights.Reason)
		return
	}
	// Rights that the same phases need are one line.
	for i, m := range r.Rights.Missing {
		same := func(o missing) bool { return slices.Equal(o.Phases, m.Phases) }
		if slices.ContainsFunc(r.Rights.Missing[:i], same) {
			continue
		}
		var lacking []string
		for _, o := range r.Rights.Missing[i:] {
			if same(o) {
				lacking = append(lacking, o.Right)
			}
		}
		r.found("error", "rekey plan --acl --user "+r.Rights.User, "user %q lacks in %s: %s",
			r.Rights.User, strings.Join(m.Phases, ", "), strings.Join(lacking, " "))
	}
}

// next is the command to type next: what mends the first error, else the first warning, that a
// command of rekey mends; else this one again when the errors are mended.
func (r *planReport) next(p *plan.Plan, o planOptions) string {
	for _, level := range []string{"error", "warning"} {
		for _, f := range r.Findings {
			if f.Level == level && strings.HasPrefix(f.Try, "rekey ") {
				return f.Try
			}
		}
		if level == "error" && r.failed() {
			return "rekey plan, when that is mended"
		}
	}
	if o.user == "" {
		return "rekey plan --user USER, with the application's user (default, if it logs in as none)"
	}
	return firstStep(p)
}

// firstStep is the first command of a walk.
func firstStep(p *plan.Plan) string {
	var steps []string
	for _, f := range flagSets {
		if slices.ContainsFunc(p.Rules, func(r plan.Rule) bool { return r.Flags == f }) {
			strategy, _ := f.Strategy()
			steps = append(steps, fmt.Sprintf("rekey flags --phase %s --set %s", phase.Walk(strategy)[1], f))
		}
	}
	if len(steps) == 0 {
		return "open the plan in the application, rekey.Open(ctx, plan, rekey.WithPhases(...)), at the second phase of the walk"
	}
	return strings.Join(steps, " && ")
}
