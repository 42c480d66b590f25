package keyname

import (
	"bytes"
	"testing"
)

// names that are easy to get wrong; testdata/fuzz holds what a fuzzer found worth keeping besides.
var oddNames = []string{
	"", "s:abc", "cw:prod:s:abc", "cw:prod:{s:abc}", "cw:prod:{a}:x{a}", "q:a:b:c:d", "a{b}c", "{}x", "a}b", "x{{y}}", "{user:1}", "user:1",
	"a:prod", "cw:prod:cw:prod:x", "cw:staging:x", "s:\x00\n\xff\xfe {}", "cw:prod:{}", "cw:prod:{a{b}", "s{:x", "cw:s{:x}",
}

// FuzzPair: both ways the mapping is undone exactly, and co-located names share a slot, for arbitrary bytes.
func FuzzPair(f *testing.F) {
	for _, name := range oddNames {
		f.Add([]byte(name))
	}
	pairs := pairsToCheck(f)
	f.Fuzz(func(t *testing.T, name []byte) {
		for _, p := range pairs {
			checkBijection(t, p, name)
		}
	})
}

// FuzzColocateInjective: two different names never share a target.
func FuzzColocateInjective(f *testing.F) {
	f.Add([]byte("user:1"), []byte("{user:1}"))
	f.Add([]byte("{a}:x"), []byte("x"))
	f.Add([]byte("a}b"), []byte("{}a}b"))
	p := mustPair(f, "catchall", "{key...}", "cw:{env}:{key...}", true)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		x, ok := p.AppendTarget(nil, a)
		y, also := p.AppendTarget(nil, b)
		if ok && also && bytes.Equal(x, y) && !bytes.Equal(a, b) {
			t.Fatalf("%q and %q share %q", a, b, x)
		}
	})
}

// FuzzTemplate: any text is refused or reads its names in the one way there is, and two templates overlap if a name is in both.
func FuzzTemplate(f *testing.F) {
	f.Add("s:{id}", "cw:{env}:s:{id}", []byte("s:abc"))
	f.Add("q:{a}:{b...}:{c}", "{key...}", []byte("q:1:2:3:4"))
	f.Add("{{{id}}}", "{a...}x:{b}", []byte("{x:}"))
	f.Add("{a}{b}", "{env}:{env}", []byte("prod:prod"))
	f.Fuzz(func(t *testing.T, first, second string, name []byte) {
		if len(first)+len(second) > 60 || len(name) > 40 {
			return // the search of all readings is exponential
		}
		a, errA := Parse(first, "prod")
		b, errB := Parse(second, "prod")
		for _, tmpl := range []*Template{a, b} {
			if tmpl == nil {
				continue
			}
			if n := len(readings(tmpl, name)); n > 1 || (n == 1) != tmpl.Match(name) {
				t.Fatalf("%q has %d readings of %q, and Match says %v", tmpl, n, name, tmpl.Match(name))
			}
			if tmpl.Match(name) && !GlobMatch(tmpl.Glob(), name) {
				t.Fatalf("%q matches %q, and its glob %q does not", tmpl, name, tmpl.Glob())
			}
		}
		if errA != nil || errB != nil {
			return
		}
		example, ok := Overlap(a, b)
		if ok && (!a.Match(example) || !b.Match(example)) {
			t.Fatalf("Overlap(%q, %q): %q is not a name of both", a, b, example)
		}
		if both := a.Match(name) && b.Match(name); both && (!ok || len(example) > len(name)) {
			t.Fatalf("Overlap(%q, %q): got %q, %v, and %q is a name of both", a, b, example, ok, name)
		}
	})
}

// FuzzGlob compares with the definition of a glob, written as recursion.
func FuzzGlob(f *testing.F) {
	for _, pattern := range []string{"", "*", "**a", "a*b*c", "[^a]", "[a-", "[", "[^", `\`, `a\`, `[\]]`, "[z-a]", "[]a]", "?*?", "[a-]", "*a*a*a*b"} {
		f.Add([]byte(pattern), []byte("abc"))
		f.Add([]byte(pattern), []byte(""))
		f.Add([]byte(pattern), []byte("aaaaab"))
	}
	f.Fuzz(func(t *testing.T, pattern, name []byte) {
		if len(pattern) > 24 || len(name) > 24 || bytes.Count(pattern, []byte("*")) > 6 {
			return // the reference is exponential in the stars
		}
		if got, want := GlobMatch(pattern, name), referenceGlob(pattern, name); got != want {
			t.Fatalf("GlobMatch(%q, %q): got %v, want %v", pattern, name, got, want)
		}
		literal := AppendGlobLiteral(nil, name)
		if !GlobMatch(literal, name) || len(name) > 0 && GlobMatch(literal, append([]byte("x"), name...)) {
			t.Fatalf("the glob %q of the literal %q does not match it alone", literal, name)
		}
	})
}
