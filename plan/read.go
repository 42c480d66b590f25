package plan

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// located is a value with its line.
type located[T any] struct {
	value T
	line  int
}

// document is a plan as it was written: every key known, every value of its type, defaults filled in.
type document struct {
	file        string
	lookup      func(string) (string, bool)
	seen        bool // version was written
	environment located[string]
	control     located[string]
	server      Server
	lines       struct{ server, fleet, databases int }
	databases   []int
	fleet       Fleet
	soak        time.Duration
	allow       []string
	rules       []rawRule
}

type rawRule struct {
	line                                  int
	name, legacy, target, strategy, flags located[string]
	colocate                              bool
}

// fields is what to do with each key of a mapping.
type fields map[string]func(ast.Node) error

// read takes the document apart by hand and not through struct tags, so that each value keeps its line and no error
// quotes the source, which holds a password.
func read(file string, data []byte, lookup func(string) (string, bool)) (*document, error) {
	d := &document{
		file: file, lookup: lookup, databases: []int{0}, soak: DefaultSoak,
		control: located[string]{value: DefaultControlPrefix},
		fleet:   Fleet{Lease: DefaultLease, Renew: DefaultRenew, Margin: DefaultMargin},
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))                          // a byte order mark, which the parser takes for a part of the first key
	parsed, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey()) // mapping names both lines
	if err != nil {
		return nil, d.syntax(err)
	}
	var docs []ast.Node
	for _, doc := range parsed.Docs {
		if doc.Body != nil {
			docs = append(docs, doc.Body)
		}
	}
	if len(docs) != 1 {
		return nil, d.fail(0, fmt.Sprintf("%d documents in the file", len(docs)), "write one plan: version, environment, server, rules")
	}
	if err := d.top(docs[0]); err != nil {
		return nil, err
	}
	if !d.seen {
		return nil, d.fail(0, "no version", "write version: 1 in the first line")
	}
	return d, nil
}

func (d *document) top(n ast.Node) error {
	return d.mapping(n, "the plan", fields{
		"version":        d.version,
		"environment":    d.raw(&d.environment),
		"control_prefix": d.text(&d.control),
		"server": func(n ast.Node) error {
			d.lines.server = line(n)
			return d.mapping(n, "server", fields{
				"url":      d.url,
				"sentinel": d.strings(&d.server.Sentinel),
				"tls": func(n ast.Node) error {
					return d.mapping(n, "tls", fields{
						"ca": d.string(&d.server.TLS.CA), "cert": d.string(&d.server.TLS.Cert), "key": d.string(&d.server.TLS.Key),
					})
				},
				"evicts": func(n ast.Node) error {
					d.server.Evicts = new(bool)
					return d.bool(d.server.Evicts)(n)
				},
			})
		},
		"databases": d.numbers,
		"fleet": func(n ast.Node) error {
			d.lines.fleet = line(n)
			return d.mapping(n, "fleet", fields{
				"lease": d.duration(&d.fleet.Lease), "renew": d.duration(&d.fleet.Renew), "margin": d.duration(&d.fleet.Margin),
			})
		},
		"soak":  d.duration(&d.soak),
		"audit": func(n ast.Node) error { return d.mapping(n, "audit", fields{"allow": d.strings(&d.allow)}) },
		"rules": func(n ast.Node) error { return d.sequence(n, "rules", d.rule) },
	})
}

func (d *document) rule(n ast.Node) error {
	r := rawRule{line: line(n)}
	err := d.mapping(n, "a rule", fields{
		"name": d.text(&r.name), "legacy": d.text(&r.legacy), "target": d.text(&r.target),
		"strategy": d.text(&r.strategy), "colocate": d.bool(&r.colocate), "flags": d.text(&r.flags),
	})
	d.rules = append(d.rules, r)
	return err
}

// mapping calls the function of each key that is there. An unknown key and one that is there twice are errors.
func (d *document) mapping(n ast.Node, what string, known fields) error {
	m, ok := n.(ast.MapNode)
	if !ok {
		return d.fail(line(n), what+" is no mapping", "write key: value with the keys "+keys(known))
	}
	seen := make(map[string]int)
	for it := m.MapRange(); it.Next(); {
		key, at := it.Key().GetToken().Value, it.Key().GetToken().Position.Line
		set, ok := known[key]
		if !ok {
			hint := "the keys of " + what + " are " + keys(known)
			if key == "cluster" {
				hint = "a cluster is not supported yet"
			}
			return d.fail(at, fmt.Sprintf("%s has no key %q", what, key), hint)
		}
		if first, twice := seen[key]; twice {
			return d.fail(at, fmt.Sprintf("%q is written twice, first in line %d", key, first), "remove one of them")
		}
		seen[key] = at
		if err := set(it.Value()); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) sequence(n ast.Node, what string, each func(ast.Node) error) error {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		return d.fail(line(n), what+" is no list", "write "+what+": [...], or a line with - for each")
	}
	for _, v := range s.Values {
		if err := each(v); err != nil {
			return err
		}
	}
	return nil
}

// scalar returns a value's text, with ${VAR} expanded.
func (d *document) scalar(n ast.Node) (string, error) {
	text, err := d.unexpanded(n)
	if err != nil {
		return "", err
	}
	text, err = expand(text, d.lookup)
	if err != nil {
		reason, hint, _ := strings.Cut(err.Error(), "; ")
		return "", d.fail(line(n), reason, hint)
	}
	return text, nil
}

func (d *document) unexpanded(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	case *ast.NullNode:
		return "", d.fail(line(n), "a key without a value", `write a value, "" for an empty one, or leave the key out`)
	default:
		return "", d.fail(line(n), fmt.Sprintf("a %s where one value belongs", strings.ToLower(n.Type().String())), "write a plain or quoted value")
	}
}

func (d *document) raw(to *located[string]) func(ast.Node) error {
	return func(n ast.Node) (err error) {
		to.line = line(n)
		to.value, err = d.unexpanded(n)
		return err
	}
}

func (d *document) text(to *located[string]) func(ast.Node) error {
	return func(n ast.Node) error {
		to.line = line(n)
		return d.string(&to.value)(n)
	}
}

func (d *document) string(to *string) func(ast.Node) error {
	return func(n ast.Node) (err error) {
		*to, err = d.scalar(n)
		return err
	}
}

func (d *document) strings(to *[]string) func(ast.Node) error {
	return func(n ast.Node) error {
		return d.sequence(n, "this", func(n ast.Node) error {
			text, err := d.scalar(n)
			if err == nil && text == "" {
				err = d.fail(line(n), "an empty entry in a list", "remove it")
			}
			*to = append(*to, text)
			return err
		})
	}
}

func (d *document) bool(to *bool) func(ast.Node) error {
	return func(n ast.Node) error {
		text, err := d.scalar(n)
		if err != nil {
			return err
		}
		if text != "true" && text != "false" {
			return d.fail(line(n), fmt.Sprintf("%q is neither true nor false", text), "write true or false")
		}
		*to = text == "true"
		return nil
	}
}

func (d *document) duration(to *time.Duration) func(ast.Node) error {
	return func(n ast.Node) error {
		text, err := d.scalar(n)
		if err != nil {
			return err
		}
		if *to, err = time.ParseDuration(text); err != nil {
			return d.fail(line(n), fmt.Sprintf("%q is no duration", text), "write a number with its unit: 500ms, 15s, 10m")
		}
		return nil
	}
}

func (d *document) numbers(n ast.Node) error {
	d.databases, d.lines.databases = nil, line(n)
	return d.sequence(n, "databases", func(n ast.Node) error {
		text, err := d.scalar(n)
		if err != nil {
			return err
		}
		db, err := strconv.Atoi(text)
		if err != nil || db < 0 {
			return d.fail(line(n), fmt.Sprintf("%q is no database", text), "write their numbers: databases: [0]")
		}
		if slices.Contains(d.databases, db) {
			return d.fail(line(n), fmt.Sprintf("database %d is written twice", db), "remove one of them")
		}
		d.databases = append(d.databases, db)
		return nil
	})
}

func (d *document) version(n ast.Node) error {
	d.seen = true
	text, err := d.scalar(n)
	if err == nil && text != "1" {
		err = d.fail(line(n), fmt.Sprintf("version %q is not known", text), "write version: 1, or use a newer rekey")
	}
	return err
}

func (d *document) url(n ast.Node) error {
	text, err := d.scalar(n)
	if err != nil || text == "" {
		return err
	}
	if d.server.URL, err = ParseURL(text); err != nil {
		reason, hint, _ := strings.Cut(err.Error(), ": ")
		return d.fail(line(n), reason, hint)
	}
	return nil
}

// syntax is an error of the YAML parser without the source that it quotes.
func (d *document) syntax(err error) error {
	var at yaml.Error
	if !errors.As(err, &at) {
		return d.fail(0, "the file is no YAML", "check its indentation and quotes")
	}
	n := 0
	if t := at.GetToken(); t != nil && t.Position != nil {
		n = t.Position.Line
	}
	return d.fail(n, "the file is no YAML: "+at.GetMessage(), "check its indentation and quotes")
}

func (d *document) fail(line int, reason, hint string) error {
	return &Error{File: d.file, Line: line, Reason: reason, Hint: hint}
}

func line(n ast.Node) int {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		// A block mapping's own token is the first ':'.
		return m.Values[0].Key.GetToken().Position.Line
	}
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

func keys(known fields) string { return strings.Join(slices.Sorted(maps.Keys(known)), ", ") }
