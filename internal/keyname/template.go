package keyname

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

const (
	// maxVars bounds the variables of one template, so that a reading of a name fits on the stack.
	maxVars = 16
	// maxTemplate bounds a template's length: overlap costs the product of two lengths.
	maxTemplate = 1024
)

// kind is what a variable may hold.
type kind uint8

const (
	segment     kind = iota + 1 // one or more bytes other than ':'
	rest                        // one or more bytes of any kind
	environment                 // one or more of [A-Za-z0-9_-]: {env} left open, see [Template.AnyEnvironment]
)

type variable struct {
	name string
	kind kind
}

// Template is a checked key template. It does not change after [Parse] and is safe for concurrent use.
type Template struct {
	text string
	// lits and vars alternate: lits[0] vars[0] lits[1] ... vars[n-1] lits[n].
	lits [][]byte
	vars []variable
	// pivot is the variable that takes what the others leave: the {rest...} one, or else the last. -1: no variable.
	pivot int
	// anyEnv is the same template with {env} as a variable; nil where there is no {env} or where the environment
	// could not be told from its neighbours.
	anyEnv *Template
	// usesEnv says that {env} is written in the template; open, that it is still a variable.
	usesEnv, open bool
	// inner is set in the target of a co-located pair: its last variable then holds the wrapped form of a name of inner.
	inner *Template
}

// SyntaxError is a template that cannot be used.
type SyntaxError struct {
	Text   string // the template as written
	Offset int    // where in Text, in bytes
	Reason string // what is wrong and what to write instead
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("template %q, byte %d: %s", e.Text, e.Offset, e.Reason)
}

// ValidEnvironment reports whether env can be the name of an environment: [A-Za-z0-9_-]+.
func ValidEnvironment(env string) bool {
	for i := range len(env) {
		if !envBytes.has(env[i]) {
			return false
		}
	}
	return env != ""
}

// Parse reads a template and fills in {env}. The error is a *[SyntaxError].
func Parse(text, env string) (*Template, error) {
	t, err := parse(text, env, fillEnvironment)
	if err != nil {
		return nil, err
	}
	if t.usesEnv {
		// An error here says that the environment cannot be told from the bytes beside it. The template is good
		// all the same; whoever needs to tell environments apart asks AnyEnvironment.
		if open, err := parse(text, env, openEnvironment); err == nil {
			t.anyEnv = open
		}
	}
	return t, nil
}

// String returns the template as written.
func (t *Template) String() string { return t.text }

// Vars returns the variables' names in the order of the template, {env} not among them.
func (t *Template) Vars() []string {
	if t.inner != nil {
		return t.inner.Vars()
	}
	names := make([]string, 0, len(t.vars))
	for _, v := range t.vars {
		if v.kind != environment {
			names = append(names, v.name)
		}
	}
	return names
}

// Prefix returns the bytes that every name of the template begins with: all up to the first variable.
func (t *Template) Prefix() []byte {
	if t.inner != nil && t.vars[0].kind == rest { // not where the environment was left open before it
		return append(bytes.Clone(t.lits[0]), '{')
	}
	return bytes.Clone(t.lits[0])
}

// Glob returns a pattern for SCAN MATCH that every name of the template matches. Others may match too.
func (t *Template) Glob() []byte {
	glob := AppendGlobLiteral(nil, t.lits[0])
	for i, v := range t.vars {
		switch {
		case t.inner != nil && v.kind == rest:
			glob = append(glob, "{?*}*"...)
		default:
			glob = append(glob, "?*"...)
		}
		glob = AppendGlobLiteral(glob, t.lits[i+1])
	}
	return glob
}

// AnyEnvironment returns the same template with {env} standing for any environment's name, the same one wherever
// it is written. It is false where the template has no {env}, and where a name does not tell the environment:
// app-{env}-{id} reads app-prod-eu-1 as environment prod and as environment prod-eu.
func (t *Template) AnyEnvironment() (*Template, bool) { return t.anyEnv, t.anyEnv != nil }

// HasEnvironment reports whether {env} is written in the template.
func (t *Template) HasEnvironment() bool { return t.usesEnv }

// prefixOf returns the literal that stands in t before all of u, when t is a literal followed by u.
func (t *Template) prefixOf(u *Template) ([]byte, bool) {
	if !slices.Equal(t.vars, u.vars) || !bytes.HasSuffix(t.lits[0], u.lits[0]) ||
		!slices.EqualFunc(t.lits[1:], u.lits[1:], bytes.Equal) {
		return nil, false
	}
	return t.lits[0][:len(t.lits[0])-len(u.lits[0])], true
}

// environments of a template while it is parsed.
type envMode uint8

const (
	fillEnvironment envMode = iota + 1 // {env} becomes a literal
	openEnvironment                    // {env} becomes a variable
)

// scanner reads one template.
type scanner struct {
	t    *Template
	env  string
	lit  []byte
	ends []int // where each variable ends in the text, for errors
}

func parse(text, env string, mode envMode) (*Template, error) {
	s := &scanner{t: &Template{text: text, pivot: -1, open: mode == openEnvironment}, env: env}
	if text == "" {
		return nil, s.fail(0, "a template cannot be empty")
	}
	for at := 0; at < len(text); {
		n, err := s.next(at)
		if err != nil {
			return nil, err
		}
		at += n
	}
	s.t.lits = append(s.t.lits, s.lit)
	if n := s.t.size(); n > maxTemplate {
		return nil, s.fail(0, "%d bytes are too long; a template has at most %d", n, maxTemplate)
	}
	if err := s.readable(); err != nil {
		return nil, err
	}
	return s.t, nil
}

// next reads one literal byte, one doubled brace or one variable and says how long it was.
func (s *scanner) next(at int) (int, error) {
	text := s.t.text[at:]
	switch {
	case strings.HasPrefix(text, "{{"), strings.HasPrefix(text, "}}"):
		s.lit = append(s.lit, text[0])
		return 2, nil
	case text[0] == '}':
		return 0, s.fail(at, "a } without its {; write }} for a literal brace")
	case text[0] != '{':
		s.lit = append(s.lit, text[0])
		return 1, nil
	}
	end := strings.IndexByte(text, '}')
	if end < 0 {
		return 0, s.fail(at, "a { without its }; write {{ for a literal brace")
	}
	if err := s.variable(at, text[1:end]); err != nil {
		return 0, err
	}
	return end + 1, nil
}

func (s *scanner) variable(at int, body string) error {
	v := variable{name: body, kind: segment}
	if name, ok := strings.CutSuffix(body, "..."); ok {
		v = variable{name: name, kind: rest}
	}
	if !validVariable(v.name) {
		return s.fail(at, "{%s} is no variable; write {name} or {name...} with a name of letters, digits and _, or {{ for a literal brace", body)
	}
	if v.name == "env" {
		return s.environment(at, v.kind)
	}
	if slices.ContainsFunc(s.t.vars, func(u variable) bool { return u.name == v.name }) {
		return s.fail(at, "{%s} is written twice; a variable stands once on each side", v.name)
	}
	return s.add(at, v, len(body)+2)
}

// environment adds {env}: as literal bytes, or as a variable that may be written more than once.
func (s *scanner) environment(at int, k kind) error {
	if k == rest {
		return s.fail(at, "{env...} is no variable; write {env}")
	}
	if !ValidEnvironment(s.env) {
		return s.fail(at, "{env} needs an environment of [A-Za-z0-9_-]+, and it is %q", s.env)
	}
	s.t.usesEnv = true
	if !s.t.open {
		s.lit = append(s.lit, s.env...)
		return nil
	}
	return s.add(at, variable{name: "env", kind: environment}, len("{env}"))
}

func (s *scanner) add(at int, v variable, length int) error {
	if len(s.t.vars) == maxVars {
		return s.fail(at, "more than %d variables", maxVars)
	}
	s.t.lits = append(s.t.lits, s.lit)
	s.t.vars = append(s.t.vars, v)
	s.ends = append(s.ends, at+length)
	s.lit = nil
	return nil
}

// readable refuses a template that reads some name in two ways (the package comment has the proof) and finds
// the pivot.
func (s *scanner) readable() error {
	t := s.t
	for i, v := range t.vars {
		at := s.ends[i]
		if i > 0 && bytes.IndexByte(t.lits[i], ':') < 0 {
			return s.fail(s.ends[i-1], "{%s} and {%s} need a literal with a ':' between them, or a name could be read in two ways",
				t.vars[i-1].name, v.name)
		}
		if v.kind != rest {
			continue
		}
		if t.pivot >= 0 {
			return s.fail(at, "{%s...} and {%s...} in one template could read a name in two ways; only one variable may end in ...",
				t.vars[t.pivot].name, v.name)
		}
		t.pivot = i
	}
	if t.pivot < 0 {
		t.pivot = len(t.vars) - 1
	}
	return nil
}

func (s *scanner) fail(at int, format string, args ...any) error {
	return &SyntaxError{Text: s.t.text, Offset: at, Reason: fmt.Sprintf(format, args...)}
}

// size is the length of the shortest name.
func (t *Template) size() int {
	n := len(t.vars)
	for _, lit := range t.lits {
		n += len(lit)
	}
	return n
}

func validVariable(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
