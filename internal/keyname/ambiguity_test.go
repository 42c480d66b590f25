package keyname

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestReadableIsExact holds the rule that templates are refused by against the definition: some name has two readings.
// The definition is decided on the product of the template's automaton with itself, without the rule.
func TestReadableIsExact(t *testing.T) {
	seen := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		tmpl := &Template{pivot: -1}
		n := rapid.IntRange(1, 4).Draw(t, "vars")
		for i := range n {
			tmpl.lits = append(tmpl.lits, drawLiteral(t))
			tmpl.vars = append(tmpl.vars, variable{string(rune('a' + i)), rapid.SampledFrom([]kind{segment, rest}).Draw(t, "kind")})
		}
		tmpl.lits = append(tmpl.lits, drawLiteral(t))
		s := &scanner{t: tmpl, ends: make([]int, n)}
		got, want := s.readable() == nil, !ambiguous(tmpl.chain(allBytes))
		seen[want]++
		if got != want {
			t.Fatalf("lits %q vars %v: readable %v, want %v", tmpl.lits, tmpl.vars, got, want)
		}
	})
	if seen[true] == 0 || seen[false] == 0 {
		t.Fatalf("only one kind was drawn: %v", seen)
	}
}

func drawLiteral(t *rapid.T) []byte {
	return []byte(rapid.SampledFrom([]string{"", "x", ":", "x:", ":x", "::", "xy", ":x:", "x:x"}).Draw(t, "literal"))
}

// ambiguous reports whether two different runs of the automaton accept one name: a pair of different states can be
// reached from the beginning, and the end from it.
func ambiguous(c chain) bool {
	type pair struct {
		a, b   int
		parted bool
	}
	seen := map[pair]bool{{}: true}
	queue := []pair{{}}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if at == (pair{len(c), len(c), true}) {
			return true
		}
		for _, i := range c.moves(at.a) {
			for _, j := range c.moves(at.b) {
				next := pair{i.to, j.to, at.parted || i.to != j.to}
				if _, ok := i.bytes.pick(j.bytes); ok && !seen[next] {
					seen[next] = true
					queue = append(queue, next)
				}
			}
		}
	}
	return false
}

// readings lists every way to read a name, by trying all: the slow second opinion on read.
func readings(t *Template, name []byte) [][]string {
	var out [][]string
	var try func(i int, left []byte, values []string)
	try = func(i int, left []byte, values []string) {
		left, ok := bytes.CutPrefix(left, t.lits[i])
		switch {
		case !ok:
		case i == len(t.vars):
			if len(left) == 0 {
				out = append(out, append([]string(nil), values...))
			}
		default:
			for n := 1; n <= len(left); n++ {
				if t.vars[i].kind == segment && left[n-1] == ':' {
					return
				}
				try(i+1, left[n:], append(values, string(left[:n])))
			}
		}
	}
	try(0, name, nil)
	return out
}

// TestReadFindsTheOneReading compares read with a search of all readings, on names that match and on names that nearly do.
func TestReadFindsTheOneReading(t *testing.T) {
	templates := someTemplates(t)
	matched := 0
	rapid.Check(t, func(t *rapid.T) {
		tmpl := rapid.SampledFrom(templates).Draw(t, "template")
		name := drawName(t, tmpl)
		all := readings(tmpl, name)
		var r reading
		ok := tmpl.read(name, &r)
		if len(all) > 1 || ok != (len(all) == 1) {
			t.Fatalf("%q reads %q: got %v, and there are %d readings %q", tmpl, name, ok, len(all), all)
		}
		if !ok {
			return
		}
		matched++
		for i := range tmpl.vars {
			if got, want := string(name[r[i].from:r[i].to]), all[0][i]; got != want {
				t.Fatalf("%q reads %q: variable %d got %q, want %q", tmpl, name, i, got, want)
			}
		}
	})
	if matched < 10 {
		t.Fatalf("only %d names matched", matched)
	}
}

func someTemplates(t testing.TB) []*Template {
	var out []*Template
	for _, text := range []string{
		"{a}", "{a...}", "x{a}", "{a}x", "{a...}x", "x:{a}:x", "{a}:{b}", "{a}:{b...}", "{a...}:{b}", "{a}x:{b...}:x{c}",
		"{a}:x{b}:{c}", "{a...}::{b}", "{a}::{b...}", "{a}:{b...}:{c}", "x", "{{{a}}}", "{a}:x:{b...}x",
	} {
		out = append(out, mustParse(t, text))
	}
	return out
}

// drawName draws bytes that are formatted by the template, or nearly.
func drawName(t *rapid.T, tmpl *Template) []byte {
	value := rapid.SliceOfN(rapid.SampledFrom([]byte("xy::{}\x00\xff")), 0, 4)
	name := bytes.Clone(tmpl.lits[0])
	for i := range tmpl.vars {
		name = append(append(name, value.Draw(t, "value")...), tmpl.lits[i+1]...)
	}
	if rapid.IntRange(0, 3).Draw(t, "spoil") == 0 {
		return append(name, value.Draw(t, "more")...)
	}
	return name
}
