package plan

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/phase"
)

// check makes a plan of a document: what no single value can say.
func (d *document) check(s settings) (*Plan, error) {
	p := &Plan{
		File: d.file, Server: d.server, Databases: d.databases, Fleet: d.fleet, Soak: d.soak, Audit: Audit{Allow: d.allow},
	}
	steps := []func(*Plan) error{
		func(p *Plan) error { return d.checkEnvironment(p, s) },
		d.checkServer, d.checkFleet, d.checkRules, d.checkNames,
	}
	for _, step := range steps {
		if err := step(p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// checkEnvironment takes --env, else the plan's, else what an application gave as its default.
func (d *document) checkEnvironment(p *Plan, s settings) error {
	at := 0
	switch {
	case s.environment != "":
		p.Environment = s.environment
	case d.environment.line > 0:
		at = d.environment.line
		env, err := expand(d.environment.value, d.lookup)
		if err != nil {
			reason, hint, _ := strings.Cut(err.Error(), "; ")
			return d.fail(at, reason, hint)
		}
		p.Environment = env
	case s.fallback != "":
		p.Environment = s.fallback
	default:
		return d.fail(0, "no environment", "write environment: in the plan, or give --env; an application passes plan.WithDefaultEnvironment")
	}
	if !keyname.ValidEnvironment(p.Environment) {
		return d.fail(at, fmt.Sprintf("environment %q is not of [A-Za-z0-9_-]+", p.Environment), "use letters, digits, _ and - in its name")
	}
	return nil
}

func (d *document) checkServer(p *Plan) error {
	at := d.lines.server
	for i, addr := range p.Server.Sentinel {
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			return d.fail(at, fmt.Sprintf("sentinel %d of %d is no address", i+1, len(p.Server.Sentinel)), "write host:port, such as 127.0.0.1:26379")
		}
	}
	tls := p.Server.TLS
	if (tls.Cert == "") != (tls.Key == "") {
		return d.fail(at, "tls has only one of cert and key", "write both, or neither")
	}
	if tls != (TLS{}) && p.Server.URL != "" && !strings.HasPrefix(string(p.Server.URL), "rediss://") {
		return d.fail(at, "tls is set and the server's URL is not encrypted", "write rediss:// in the URL, or remove tls")
	}
	if len(p.Databases) == 0 {
		return d.fail(d.lines.databases, "no database", "write databases: [0], or leave it out")
	}
	if db, ok := p.Server.URL.Database(); ok && !slices.Contains(p.Databases, db) {
		return d.fail(at, fmt.Sprintf("the server's URL names database %d, and the rules do not hold there", db),
			fmt.Sprintf("write databases: [%d], or take the database out of the URL", db))
	}
	return nil
}

func (d *document) checkFleet(p *Plan) error {
	f := p.Fleet
	switch {
	case f.Lease <= 0 || f.Renew <= 0 || f.Margin <= 0:
		return d.fail(d.lines.fleet, "lease, renew and margin must be more than nothing", "leave fleet out for 15s, 5s and 3s")
	case f.Renew >= f.Lease-f.Margin:
		return d.fail(d.lines.fleet, fmt.Sprintf("a lease of %v that is renewed every %v is not renewed in time to stop %v before its end", f.Lease, f.Renew, f.Margin),
			"keep renew less than lease minus margin; 15s, 5s and 3s are the defaults")
	case p.Soak < 0:
		return d.fail(0, fmt.Sprintf("soak %v is negative", p.Soak), "write 0s for no soak")
	}
	return nil
}

func (d *document) checkRules(p *Plan) error {
	if len(d.rules) == 0 {
		return d.fail(0, "no rules", `write at least one: rules: [{name: sessions, legacy: "session:{id}", target: "cw:{env}:session:{id}"}]`)
	}
	for i, raw := range d.rules {
		r, err := d.checkRule(raw)
		if err != nil {
			return err
		}
		for _, earlier := range p.Rules[:i] {
			if earlier.Name == r.Name {
				return d.failRule(r.Line, r.Name, fmt.Sprintf("the name is taken by the rule in line %d", earlier.Line), "give one of them another name")
			}
		}
		p.Rules = append(p.Rules, r)
	}
	return nil
}

func (d *document) checkRule(raw rawRule) (Rule, error) {
	r := Rule{
		Name: raw.name.value, LegacyText: raw.legacy.value, TargetText: raw.target.value,
		Strategy: phase.Mirror, Colocate: raw.colocate, Line: raw.line,
	}
	if !validRule(r.Name) {
		return r, d.fail(raw.line, fmt.Sprintf("%q is no name for a rule", r.Name), "give every rule a name of [a-z0-9_-]+")
	}
	for _, t := range []struct{ key, text string }{{"legacy", r.LegacyText}, {"target", r.TargetText}} {
		if t.text == "" {
			return r, d.failRule(raw.line, r.Name, "no "+t.key+" template", "write both, such as legacy: \"session:{id}\" and target: \"cw:{env}:session:{id}\"")
		}
	}
	var err error
	if raw.strategy.line > 0 {
		if r.Strategy, err = phase.ParseStrategy(raw.strategy.value); err != nil {
			return r, d.failRule(raw.strategy.line, r.Name, fmt.Sprintf("strategy %q is not known", raw.strategy.value), "write mirror or move")
		}
	}
	if raw.flags.line > 0 {
		if r.Flags, err = phase.ParseFlags(raw.flags.value); err != nil {
			return r, d.failRule(raw.flags.line, r.Name, fmt.Sprintf("flags %q are not known", raw.flags.value), "write cache, rl or none")
		}
	}
	if want, ok := r.Flags.Strategy(); ok && want != r.Strategy {
		return r, d.failRule(raw.flags.line, r.Name, fmt.Sprintf("flags: %v choose phases of strategy %v, and the rule's is %v", r.Flags, want, r.Strategy),
			fmt.Sprintf("write strategy: %v, or flags: none", want))
	}
	return r, nil
}

// checkNames compiles the templates and holds that no name can be taken for another.
func (d *document) checkNames(p *Plan) error {
	control, reserved, err := d.controlNames(p)
	if err != nil {
		return err
	}
	p.control, p.controlText = string(control), d.control.value
	var pairs []*keyname.Pair
	for i, r := range p.Rules {
		raw := d.rules[i]
		legacy, err := keyname.Parse(r.LegacyText, p.Environment)
		if err != nil {
			return d.template(raw.legacy.line, r.Name, "legacy", err)
		}
		target, err := keyname.Parse(r.TargetText, p.Environment)
		if err != nil {
			return d.template(raw.target.line, r.Name, "target", err)
		}
		pair, err := keyname.NewPair(r.Name, legacy, target, r.Colocate)
		var refused *keyname.PairError
		if errors.As(err, &refused) {
			return &Error{File: d.file, Line: r.Line, Rules: []string{r.Name}, Example: refused.Example, Reason: refused.Reason, Hint: refused.Hint, Err: err}
		}
		if err != nil {
			return d.failRule(r.Line, r.Name, err.Error(), "")
		}
		pairs = append(pairs, pair)
	}
	if p.names, err = keyname.NewSet(pairs, control, reserved...); err != nil {
		return d.overlap(p, err)
	}
	return nil
}

// controlNames fills in the control prefix, and makes the template of every environment's control names: a catch-all of
// one environment must not move another's.
func (d *document) controlNames(p *Plan) (prefix []byte, reserved []*keyname.Template, err error) {
	at := d.control.line
	t, err := keyname.Parse(d.control.value, p.Environment)
	if err != nil {
		return nil, nil, d.template(at, "", "control_prefix", err)
	}
	if len(t.Vars()) > 0 {
		return nil, nil, d.fail(at, fmt.Sprintf("control_prefix has the variable {%s}", t.Vars()[0]), "write no variable but {env}")
	}
	if t.HasEnvironment() {
		every, err := keyname.Parse(d.control.value+"{name...}", p.Environment)
		if err != nil {
			return nil, nil, d.template(at, "", "control_prefix", err)
		}
		open, ok := every.AnyEnvironment()
		if !ok {
			return nil, nil, d.fail(at, fmt.Sprintf("control_prefix %q does not say where the environment ends", d.control.value),
				fmt.Sprintf("write a ':' behind {env}, such as %q", DefaultControlPrefix))
		}
		reserved = append(reserved, open)
	}
	return t.Prefix(), reserved, nil
}

// template is an error in a template's text.
func (d *document) template(at int, rule, key string, err error) error {
	e := &Error{File: d.file, Line: at, Err: err}
	if rule != "" {
		e.Rules = []string{rule}
	}
	var syntax *keyname.SyntaxError
	if !errors.As(err, &syntax) {
		e.Reason = fmt.Sprintf("%s: %v", key, err)
		return e
	}
	reason, hint, _ := strings.Cut(syntax.Reason, "; ")
	e.Reason, e.Hint = fmt.Sprintf("%s %q, byte %d: %s", key, syntax.Text, syntax.Offset, reason), hint
	return e
}

// overlapHints is what to do about two rules in each other's way.
var overlapHints = map[keyname.Conflict]string{
	keyname.BothLegacy:     "narrow one of the legacy templates, so that every key has one rule",
	keyname.BothTarget:     "give the targets different literals, so that two keys never share one name",
	keyname.TargetIsLegacy: "choose a target that the other rule's legacy template does not match, or narrow that template",
	keyname.UnderControl:   "choose another control_prefix, or another template",
}

func (d *document) overlap(p *Plan, err error) error {
	var o *keyname.OverlapError
	if !errors.As(err, &o) {
		return d.fail(d.control.line, err.Error(), "choose another control_prefix")
	}
	e := &Error{File: d.file, Rules: []string{o.A}, Example: o.Example, Reason: o.Kind.String(), Hint: overlapHints[o.Kind], Err: err}
	if i, ok := p.Index(o.A); ok {
		e.Line = p.Rules[i].Line
	}
	if i, ok := p.Index(o.B); ok {
		e.Rules = append(e.Rules, o.B)
		e.Reason = fmt.Sprintf("(lines %d and %d) %s", e.Line, p.Rules[i].Line, e.Reason)
		e.Line = max(e.Line, p.Rules[i].Line)
	}
	return e
}

func (d *document) failRule(at int, rule, reason, hint string) error {
	return &Error{File: d.file, Line: at, Rules: []string{rule}, Reason: reason, Hint: hint}
}

func validRule(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return name != ""
}
