package keyname

import (
	"bytes"
	"fmt"
	"slices"
)

// Pair is one rule's mapping between legacy and target names. It does not change after [NewPair] and is safe for
// concurrent use.
//
// The mapping is a bijection between the pair's legacy names and its target names. A name that matches both
// templates is a target name; so a catch-all's legacy names are all but the target names of any environment, and
// its target names are those that come from one of them.
type Pair struct {
	name           string
	legacy, target *Template
	// prefix is the literal before all of the legacy name in the target, where the target has that form; it makes the
	// legacy name a part of the target name. It is not set in a co-located pair.
	prefix   []byte
	prefixed bool
	colocate bool
	// catchAll: the legacy template matches some of the pair's own target names.
	catchAll bool
	// fromLegacy[i] is the legacy variable that the target's i-th variable takes its value from; fromTarget is the inverse.
	fromLegacy, fromTarget [maxVars]uint8
}

// PairError is a rule whose two templates do not make a mapping.
type PairError struct {
	Rule    string
	Reason  string
	Example []byte // a name that shows it; nil: none
	Hint    string // what to do
}

func (e *PairError) Error() string {
	if e.Example == nil {
		return fmt.Sprintf("rule %q: %s; %s", e.Rule, e.Reason, e.Hint)
	}
	return fmt.Sprintf("rule %q: %s, for example %q; %s", e.Rule, e.Reason, e.Example, e.Hint)
}

// NewPair checks that the two templates map one name to one name and back. With colocate both names are kept in one
// hash slot; the target is then a literal followed by the whole legacy template. The error is a *[PairError].
func NewPair(name string, legacy, target *Template, colocate bool) (*Pair, error) {
	p := &Pair{name: name, legacy: legacy, target: target}
	if err := p.bind(); err != nil {
		return nil, err
	}
	prefix, prefixed := target.prefixOf(legacy)
	switch {
	case prefixed && len(prefix) == 0:
		return nil, p.fail("both templates are the same, so nothing would move", "write the target under another name, such as cw:{env}:"+legacy.text)
	case colocate:
		if !prefixed {
			return nil, p.fail(fmt.Sprintf("colocate wraps the whole legacy name, and the target %q is not a literal followed by the legacy template %q", target.text, legacy.text),
				"write the target as cw:{env}:"+legacy.text+", or set colocate: false")
		}
		if bytes.IndexByte(prefix, '{') >= 0 {
			return nil, p.fail(fmt.Sprintf("the literal %q before the legacy template holds a brace, which would take the place of the hash tag that colocate adds", prefix),
				"leave the brace out of the target, or set colocate: false")
		}
		p.colocate, p.target = true, target.wrapping(prefix, legacy)
	case prefixed:
		p.prefix, p.prefixed = prefix, true
	}
	if err := p.checkCatchAll(); err != nil {
		return nil, err
	}
	return p, nil
}

// bind pairs the variables of both sides.
func (p *Pair) bind() error {
	if missing := absent(p.legacy, p.target); missing != "" {
		return p.fail(fmt.Sprintf("{%s} is in the legacy template and not in the target", missing), "write every variable on both sides, or two legacy keys share one target")
	}
	if missing := absent(p.target, p.legacy); missing != "" {
		return p.fail(fmt.Sprintf("{%s} is in the target and not in the legacy template", missing), "write every variable on both sides; nothing else gives it a value")
	}
	for i, v := range p.target.vars {
		j := slices.IndexFunc(p.legacy.vars, func(u variable) bool { return u.name == v.name })
		if p.legacy.vars[j].kind != v.kind {
			return p.fail(fmt.Sprintf("{%s} ends in ... on one side only", v.name), "write it the same way on both sides, or some names would have no way back")
		}
		p.fromLegacy[i], p.fromTarget[j] = uint8(j), uint8(i)
	}
	return nil
}

// absent returns a variable of t that u lacks, or "".
func absent(t, u *Template) string {
	for _, v := range t.vars {
		if !slices.ContainsFunc(u.vars, func(w variable) bool { return w.name == v.name }) {
			return v.name
		}
	}
	return ""
}

// checkCatchAll looks at a pair whose legacy template matches target names: they must be told from legacy names in
// every environment, and something must be left.
func (p *Pair) checkCatchAll() error {
	example, ok := Overlap(p.legacy, p.target)
	if !ok {
		return nil
	}
	p.catchAll = true
	if p.target.usesEnv && p.target.anyEnv == nil {
		return &PairError{p.name, fmt.Sprintf("the legacy template matches target names, and the target %q does not say where the environment ends, so another environment's names could be taken for legacy ones", p.target.text),
			example, "put a ':' between {env} and the variables beside it"}
	}
	if p.exhausted() {
		return &PairError{p.name, "every legacy name is also a target name, so there is nothing to move", example, "give the target a prefix that no legacy name has"}
	}
	return nil
}

func (p *Pair) fail(reason, hint string) error {
	return &PairError{Rule: p.name, Reason: reason, Example: p.example(), Hint: hint}
}

// example is a legacy name of the rule that shows what its keys look like.
func (p *Pair) example() []byte {
	name, _ := Overlap(p.legacy, p.legacy)
	return name
}

// Name returns the rule's name.
func (p *Pair) Name() string { return p.name }

// Legacy returns the legacy template.
func (p *Pair) Legacy() *Template { return p.legacy }

// Target returns the target template. In a pair with colocate it matches the names as they are in the server, with
// the braces that colocate adds; its String is still what was written.
func (p *Pair) Target() *Template { return p.target }

// Colocate reports whether colocate was asked for.
func (p *Pair) Colocate() bool { return p.colocate }

// Colocated reports whether both names of every key are in one hash slot.
func (p *Pair) Colocated() bool { return p.colocate || p.tagged() }

// CatchAll reports whether the legacy template also matches some of the pair's own target names.
func (p *Pair) CatchAll() bool { return p.catchAll }

// tagged reports whether both templates hash the same literal whatever the variables hold: {{app}}:a:{id} to
// {{app}}:b:{id}. A tag with a variable does not count: {{{id}}} hashes another part of the name where the value of id
// begins with a brace.
func (p *Pair) tagged() bool {
	if len(p.legacy.vars) == 0 && p.target.inner == nil {
		return Slot(p.legacy.lits[0]) == Slot(p.target.lits[0])
	}
	l, ok := usableTag(p.legacy.lits[0])
	t, also := usableTag(p.target.lits[0])
	return ok && also && bytes.Equal(l, t)
}

// AppendTarget appends the target name of a legacy name. It is false, and dst as it was, for a name that is no
// legacy name of this pair. It allocates only where dst has no room. dst and legacy must not share memory.
func (p *Pair) AppendTarget(dst, legacy []byte) ([]byte, bool) {
	var r reading
	if !p.legacy.read(legacy, &r) || p.catchAll && p.ownTarget(legacy) {
		return dst, false
	}
	switch {
	case p.colocate:
		return appendWrapped(append(dst, p.target.lits[0]...), legacy), true
	case p.prefixed:
		return append(append(dst, p.prefix...), legacy...), true
	}
	return p.target.format(dst, legacy, &r, &p.fromLegacy), true
}

// AppendLegacy appends the legacy name of a target name: the exact inverse of AppendTarget.
func (p *Pair) AppendLegacy(dst, target []byte) ([]byte, bool) {
	at := len(dst)
	var r reading
	if !p.target.read(target, &r) {
		return dst, false
	}
	switch {
	case p.colocate:
		legacy, ok := p.target.unwrap(target, &r)
		if !ok {
			return dst, false
		}
		dst = append(dst, legacy...)
	case p.prefixed:
		dst = append(dst, target[len(p.prefix):]...)
	default:
		dst = p.legacy.format(dst, target, &r, &p.fromTarget)
	}
	if p.catchAll && p.ownTarget(dst[at:]) {
		return dst[:at], false
	}
	return dst, true
}

// legacyOf is AppendLegacy to room, but where the legacy name is a part of the target name it returns that part.
func (p *Pair) legacyOf(room, target []byte) ([]byte, bool) {
	if !p.colocate && !p.prefixed {
		return p.AppendLegacy(room, target)
	}
	var r reading
	if !p.target.read(target, &r) {
		return nil, false
	}
	if p.prefixed {
		return target[len(p.prefix):], true
	}
	return p.target.unwrap(target, &r)
}

// format appends the name that t has for the values that were read in name.
func (t *Template) format(dst, name []byte, r *reading, from *[maxVars]uint8) []byte {
	dst = append(dst, t.lits[0]...)
	for i := range t.vars {
		v := r[from[i]]
		dst = append(append(dst, name[v.from:v.to]...), t.lits[i+1]...)
	}
	return dst
}

// ownTarget reports whether name is a target name of this pair in any environment.
func (p *Pair) ownTarget(name []byte) bool {
	if p.target.anyEnv != nil {
		return p.target.anyEnv.Match(name)
	}
	return p.target.Match(name)
}
