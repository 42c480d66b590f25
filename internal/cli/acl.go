package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// aclLine is the rights of one phase, or of the whole walk.
type aclLine struct {
	Type     string `json:"type"`
	Strategy string `json:"strategy,omitempty"`
	Phase    string `json:"phase"` // or "all", "fleet", "operator"
	Line     string `json:"line"`
}

// strategies are those that the plan's rules have, in their order.
func strategies(p *plan.Plan) []phase.Strategy {
	var out []phase.Strategy
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		for _, r := range p.Rules {
			if r.Strategy == s {
				out = append(out, s)
				break
			}
		}
	}
	return out
}

// aclLines are the line of the whole walk and the line of each phase.
func aclLines(p *plan.Plan, user string) []aclLine {
	all := make(map[phase.Strategy][]phase.Phase)
	for _, s := range strategies(p) {
		all[s] = phase.Of(s)
	}
	out := []aclLine{
		{Type: "acl", Phase: "all", Line: grantFor(p, all).line(user)},
		{Type: "acl", Phase: fleetLine, Line: fleetGrant(p).line(user)},
		{Type: "acl", Phase: operatorLine, Line: operatorGrant(p).line(operatorUser)},
	}
	for _, s := range strategies(p) {
		for _, ph := range phase.Of(s) {
			g := grantFor(p, map[phase.Strategy][]phase.Phase{s: {ph}})
			out = append(out, aclLine{Type: "acl", Strategy: s.String(), Phase: ph.String(), Line: g.line(user)})
		}
	}
	return out
}

// printACL prints the lines for `rekey plan --acl`. It asks no server.
func (a *app) printACL(p *plan.Plan, user string) error {
	lines := aclLines(p, user)
	if a.json {
		for _, l := range lines {
			if err := a.printJSON(l); err != nil {
				return err
			}
		}
		return nil
	}
	a.printf("# For the prompt of redis-cli. Added to what the application's user may do already,\n# from legacy to prefixed and back:\n%s\n", lines[0].Line)
	a.printf("\n# Besides, where the application is an instance of a fleet:\n%s\n", lines[1].Line)
	a.printf("\n# Who walks the fleet, with sweeps and audit: a user of its own, which begins with\n"+
		"# ACL SETUSER %s reset on >PASSWORD; from server 7.2 on with %s as well:\n%s\n", operatorUser, noTouch, lines[2].Line)
	a.printf("\n# The application's rights phase by phase:\n")
	for _, l := range lines[3:] {
		a.printf("# %s, strategy %s\n%s\n", l.Phase, l.Strategy, l.Line)
	}
	return nil
}

// missing is a right that a user lacks, and where it is needed.
type missing struct {
	Right  string   `json:"right"` // +copy, or a key pattern
	Rules  []string `json:"rules"`
	Phases []string `json:"phases"`
	Why    string   `json:"why"`
}

// lack notes that a right is missing in a phase of a rule.
func (r *rightsReport) lack(right, why, rule string, p phase.Phase) {
	i := slices.IndexFunc(r.Missing, func(m missing) bool { return m.Right == right })
	if i < 0 {
		i = len(r.Missing)
		r.Missing = append(r.Missing, missing{Right: right, Why: why})
	}
	m := &r.Missing[i]
	if !slices.Contains(m.Rules, rule) {
		m.Rules = append(m.Rules, rule)
	}
	if !slices.Contains(m.Phases, p.String()) {
		m.Phases = append(m.Phases, p.String())
	}
}

// rightsReport is the check of one user.
type rightsReport struct {
	User    string    `json:"user"`
	Checked bool      `json:"checked"`
	Reason  string    `json:"reason,omitempty"` // why it was not checked
	Missing []missing `json:"missing,omitempty"`
}

// checkRights asks the server, with ACL DRYRUN, whether a user may do what each phase needs. An
// error is a server that does not answer; that it cannot tell is in the report.
func checkRights(ctx context.Context, c *redis.Client, p *plan.Plan, user string, version serverVersion) (*rightsReport, error) {
	report := &rightsReport{User: user}
	for i, rule := range p.Rules {
		legacy, target := sampleNames(p, i)
		for _, ph := range phase.Of(rule.Strategy) {
			onLegacy, onTarget := touches(ph)
			for _, side := range []struct {
				touched bool
				name    string
				glob    string
			}{{onLegacy, legacy, pattern(p.Names().Pair(i).Legacy())}, {onTarget, target, pattern(p.Names().Pair(i).Target())}} {
				if !side.touched {
					continue
				}
				allowed, err := mayTouch(ctx, c, user, side.name)
				if err != nil {
					return report.undecided(err)
				}
				if !allowed {
					report.lack(side.glob, "the keys themselves", rule.Name, ph)
				}
			}
			for _, r := range rightsIn(ph) {
				if r.before72 && version.frozenClock() {
					continue
				}
				verdict, err := dryrun(ctx, c, user, named(r.probe, legacy, target)...)
				if err != nil {
					return report.undecided(err)
				}
				if verdict == deniedCommand {
					report.lack("+"+r.word, r.why, rule.Name, ph)
				}
			}
		}
	}
	report.Checked = true
	return report, nil
}

// undecided ends a check: the server does not answer, or answers that it cannot tell.
func (r *rightsReport) undecided(err error) (*rightsReport, error) {
	text := err.Error()
	lower := strings.ToLower(text)
	switch {
	case strings.HasPrefix(text, "NOPERM"):
		r.Reason = "the user of this command may not use ACL DRYRUN"
	case strings.Contains(lower, "unknown subcommand"), strings.Contains(lower, "unknown command"):
		r.Reason = "the server has no ACL DRYRUN (it came with 7.0)"
	case strings.Contains(lower, "not found"):
		return nil, failed("rekey plan --acl --user "+r.User, "the server has no user %q", r.User)
	default:
		return nil, fmt.Errorf("ACL DRYRUN: %w", err)
	}
	r.Missing = nil
	return r, nil
}

// verdict is what ACL DRYRUN says.
type verdict uint8

const (
	allowed verdict = iota
	deniedCommand
	deniedKey
)

// dryrun asks whether a user may send a command.
func dryrun(ctx context.Context, c *redis.Client, user string, words ...string) (verdict, error) {
	args := []any{"ACL", "DRYRUN", user}
	for _, w := range words {
		args = append(args, w)
	}
	text, err := c.Do(ctx, args...).Text()
	switch {
	case err != nil:
		return 0, err
	case text == "OK":
		return allowed, nil
	case strings.Contains(text, "permissions to run"):
		return deniedCommand, nil
	default:
		return deniedKey, nil
	}
}

// touching are commands of one key; an application's user has some of them.
var touching = [][]string{
	{"EXISTS", nameL}, {"GET", nameL}, {"TYPE", nameL}, {"TTL", nameL}, {"HGETALL", nameL}, {"SMEMBERS", nameL},
	{"SET", nameL, ""}, {"DEL", nameL}, {"UNLINK", nameL}, {"INCR", nameL}, {"EXPIRE", nameL, "1"}, {"SADD", nameL, ""},
	{"HSET", nameL, "", ""}, {"HGET", nameL, ""}, {"ZADD", nameL, "1", ""}, {"LPUSH", nameL, ""}, {"LPOP", nameL}, {"XADD", nameL, "*", "", ""},
}

// mayTouch reports whether a user's patterns cover a name, asked with the commands that it has. A
// user that has none of them touches no key that matters here.
func mayTouch(ctx context.Context, c *redis.Client, user, name string) (bool, error) {
	for _, probe := range touching {
		v, err := dryrun(ctx, c, user, named(probe, name, name)...)
		switch {
		case err != nil:
			return false, err
		case v == allowed:
			return true, nil
		case v == deniedKey:
			return false, nil
		}
	}
	return true, nil
}

// named puts the two names of a key into a probe.
func named(probe []string, legacy, target string) []string {
	out := make([]string, len(probe))
	for i, w := range probe {
		switch w {
		case nameL:
			w = legacy
		case nameP:
			w = target
		}
		out[i] = w
	}
	return out
}

// sampleNames are the two names of a key that no application has.
func sampleNames(p *plan.Plan, rule int) (legacy, target string) {
	legacy = variables(p.Rules[rule].LegacyText, p.Environment, func(string) string { return "rekey-plan-check" })
	name, ok := p.Names().Pair(rule).AppendTarget(nil, []byte(legacy))
	if !ok {
		// A catch-all whose sample is somebody's target name: any other byte will do.
		legacy += "-"
		name, _ = p.Names().Pair(rule).AppendTarget(nil, []byte(legacy))
	}
	return legacy, string(name)
}
