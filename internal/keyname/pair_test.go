package keyname

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func mustPair(t testing.TB, name, legacy, target string, colocate bool) *Pair {
	t.Helper()
	p, err := NewPair(name, mustParse(t, legacy), mustParse(t, target), colocate)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPairMaps(t *testing.T) {
	for _, c := range []struct {
		legacy, target string
		colocate       bool
		l, p           string
	}{
		{"secure_session:{id}", "cw:{env}:secure_session:{id}", false, "secure_session:abc", "cw:prod:secure_session:abc"},
		{"session:{sid}:access_code", "cw:{env}:code:{sid}", false, "session:7:access_code", "cw:prod:code:7"},
		{"q:{type}:{key...}", "cw:{env}:{key...}:{type}", false, "q:list:a:b", "cw:prod:a:b:list"},
		{"{key...}", "cw:{env}:{key...}", false, "a b\x00\xff", "cw:prod:a b\x00\xff"},
		{"fixed", "cw:{env}:fixed", false, "fixed", "cw:prod:fixed"},
		{"secure_session:{id}", "cw:{env}:secure_session:{id}", true, "secure_session:abc", "cw:prod:{secure_session:abc}"},
		{"{key...}", "cw:{env}:{key...}", true, "a{b}c", "cw:prod:{b}:a{b}c"},
		{"{key...}", "cw:{env}:{key...}", true, "{user:1}", "cw:prod:{user:1}:{user:1}"},
		{"{key...}", "cw:{env}:{key...}", true, "user:1", "cw:prod:{user:1}"},
		{"{key...}", "cw:{env}:{key...}", true, "x{{y}}", "cw:prod:{{y}:x{{y}}"},
		{"{key...}", "cw:{env}:{key...}", true, "a}b", "cw:prod:{" + slotTag(Slot([]byte("a}b"))) + "}:a}b"},
		{"{key...}", "cw:{env}:{key...}", true, "{}x", "cw:prod:{" + slotTag(Slot([]byte("{}x"))) + "}:{}x"},
	} {
		p := mustPair(t, "r", c.legacy, c.target, c.colocate)
		got, ok := p.AppendTarget([]byte("before "), []byte(c.l))
		if want := "before " + c.p; !ok || string(got) != want {
			t.Errorf("%q to %q, %q: got %q, %v, want %q", c.legacy, c.target, c.l, got, ok, want)
		}
		back, ok := p.AppendLegacy([]byte("before "), []byte(c.p))
		if want := "before " + c.l; !ok || string(back) != want {
			t.Errorf("%q to %q, back from %q: got %q, %v, want %q", c.legacy, c.target, c.p, back, ok, want)
		}
		if !p.Target().Match([]byte(c.p)) || !GlobMatch(p.Target().Glob(), []byte(c.p)) || !bytes.HasPrefix([]byte(c.p), p.Target().Prefix()) {
			t.Errorf("%q: Match, Glob %q or Prefix %q of the target do not hold for it", c.p, p.Target().Glob(), p.Target().Prefix())
		}
	}
}

// With the environment left open a co-located target begins with what is before the environment, not with the brace.
func TestPrefixOfAnyEnvironment(t *testing.T) {
	open, ok := mustPair(t, "r", "slot:{id}", "cw:{env}:slot:{id}", true).Target().AnyEnvironment()
	if !ok || string(open.Prefix()) != "cw:" {
		t.Errorf("got %q, %v", open.Prefix(), ok)
	}
}

func TestPairLeavesOtherNames(t *testing.T) {
	for _, c := range []struct {
		legacy, target string
		colocate       bool
		l, p           string // no legacy name, no target name
	}{
		{"s:{id}", "cw:{env}:s:{id}", false, "s:a:b", "cw:prod:s:a:b"},
		{"s:{id}", "cw:{env}:s:{id}", false, "x", "cw:staging:s:1"},
		// A catch-all leaves target names of any environment, and has no counterpart for them.
		{"{key...}", "cw:{env}:{key...}", false, "cw:prod:x", "cw:prod:cw:prod:x"},
		{"{key...}", "cw:{env}:{key...}", false, "cw:staging:x", "cw:prod:cw:staging:x"},
		{"{key...}", "cw:{env}:{key...}", true, "cw:prod:{x}", "cw:prod:{x}:cw:staging:{x}"},
		{"{key...}", "cw:{env}:{key...}", true, "cw:staging:{a}:x{a}", "cw:prod:{x}:cw:prod:{x}"},
		// Tags that are not the name's own.
		{"{key...}", "cw:{env}:{key...}", true, "cw:dev:{x}", "cw:prod:{a}:x{b}"},
		{"{key...}", "cw:{env}:{key...}", true, "cw:dev:{x}", "cw:prod:{abc}:a}b"},
		{"{key...}", "cw:{env}:{key...}", true, "cw:dev:{x}", "cw:prod:{a}:b"},
		{"{key...}", "cw:{env}:{key...}", true, "cw:dev:{x}", "cw:prod:{a{b}"},
		{"{key...}", "cw:{env}:{key...}", true, "cw:dev:{x}", "cw:prod:{}"},
		{"{key...}", "cw:{env}:{key...}", true, "cw:dev:{x}", "cw:prod:{a}x"},
		{"s:{id}", "cw:{env}:s:{id}", true, "s:", "cw:prod:{t:1}"},
	} {
		p := mustPair(t, "r", c.legacy, c.target, c.colocate)
		if got, ok := p.AppendTarget([]byte("before"), []byte(c.l)); ok || string(got) != "before" {
			t.Errorf("%q to %q took %q for a legacy name: %q", c.legacy, c.target, c.l, got)
		}
		if got, ok := p.AppendLegacy([]byte("before"), []byte(c.p)); ok || string(got) != "before" {
			t.Errorf("%q to %q took %q for a target name: %q", c.legacy, c.target, c.p, got)
		}
	}
}

func TestNewPairRefuses(t *testing.T) {
	for _, c := range []struct {
		legacy, target string
		colocate       bool
		want           string
	}{
		{"s:{id}", "cw:s", false, "{id} is in the legacy template and not in the target"},
		{"s", "cw:{id}", false, "{id} is in the target and not in the legacy template"},
		{"s:{id}", "cw:{id...}", false, "{id} ends in ... on one side only"},
		{"s:{id}", "s:{id}", false, "both templates are the same"},
		{"s:{id}", "s:{id}", true, "both templates are the same"},
		{"s:{id}", "cw:t:{id}", true, "not a literal followed by the legacy template"},
		{"s:{a}:{b}", "cw:s:{b}:{a}", true, "not a literal followed by the legacy template"},
		{"s:{id}", "{{cw}}:s:{id}", true, "holds a brace"},
		{"{key...}", "cw-{env}-{key...}", false, "does not say where the environment ends"},
		{"{a}:{b}", "{b}:{a}", false, "every legacy name is also a target name"},
		{"cw:x:{a}", "{b}", false, "{a} is in the legacy"},
		{"x:{a...}", "{a...}", false, "every legacy name is also a target name"},
	} {
		_, err := NewPair("sessions", mustParse(t, c.legacy), mustParse(t, c.target), c.colocate)
		var got *PairError
		if !errors.As(err, &got) {
			t.Errorf("%q to %q: got %v, want a PairError", c.legacy, c.target, err)
			continue
		}
		if !strings.Contains(got.Reason, c.want) || got.Rule != "sessions" || got.Hint == "" || len(got.Example) == 0 {
			t.Errorf("%q to %q: got %+v (%v), want %q with rule, hint and example", c.legacy, c.target, got, err, c.want)
		}
	}
}

func TestColocated(t *testing.T) {
	for _, c := range []struct {
		legacy, target string
		colocate, want bool
	}{
		{"s:{id}", "cw:{env}:s:{id}", false, false},
		{"s:{id}", "cw:{env}:s:{id}", true, true},
		{"{{app}}:s:{id}", "cw:{{app}}:s:{id}", false, true},
		{"{{app}}:s:{id}", "cw:{{apq}}:s:{id}", false, false},
		// id may begin with a brace: s:{}x} hashes all of itself.
		{"s:{{{id}}}", "cw:s:{{{id}}}", false, false},
		{"{{a}}x", "{{a}}y", false, true},
		{"foo", "x{{foo}}", false, true},
	} {
		p := mustPair(t, "r", c.legacy, c.target, c.colocate)
		if got := p.Colocated(); got != c.want {
			t.Errorf("%q to %q, colocate %v: got %v, want %v", c.legacy, c.target, c.colocate, got, c.want)
		}
	}
}

// pairsToCheck are mappings of every form: a prefix, another order, a suffix, a catch-all, co-located.
func pairsToCheck(t testing.TB) []*Pair {
	return []*Pair{
		mustPair(t, "prefix", "s:{id}", "cw:{env}:s:{id}", false),
		mustPair(t, "order", "q:{a}:{b...}:{c}", "cw:{env}:{c}:{b...}:q:{a}", false),
		mustPair(t, "suffix", "{key...}", "{key...}:{env}", false),
		mustPair(t, "catchall", "{key...}", "cw:{env}:{key...}", false),
		mustPair(t, "inside", "cw:{key...}", "cw:{env}:v:{key...}", false),
		mustPair(t, "colocated", "s:{id...}", "cw:{env}:s:{id...}", true),
		mustPair(t, "colocated catchall", "{key...}", "cw:{env}:{key...}", true),
		mustPair(t, "colocated brace", "s{{:{id...}", "cw:s{{:{id...}", false),
	}
}

// checkBijection holds for one name that there and back is the same name, whichever side it is of.
func checkBijection(t interface{ Fatalf(string, ...any) }, p *Pair, name []byte) (mapped bool) {
	if target, ok := p.AppendTarget(nil, name); ok {
		mapped = true
		back, ok := p.AppendLegacy(nil, target)
		if !ok || !bytes.Equal(back, name) {
			t.Fatalf("rule %s: %q became %q and came back as %q, %v", p.Name(), name, target, back, ok)
		}
		if !p.Target().Match(target) || !GlobMatch(p.Target().Glob(), target) || !GlobMatch(p.Legacy().Glob(), name) {
			t.Fatalf("rule %s: %q and %q do not match their templates or globs", p.Name(), name, target)
		}
		if p.Colocated() && Slot(name) != Slot(target) {
			t.Fatalf("rule %s: %q is in slot %d and %q in slot %d", p.Name(), name, Slot(name), target, Slot(target))
		}
	}
	if legacy, ok := p.AppendLegacy(nil, name); ok {
		again, ok := p.AppendTarget(nil, legacy)
		if !ok || !bytes.Equal(again, name) {
			t.Fatalf("rule %s: target %q came from %q, which becomes %q, %v", p.Name(), name, legacy, again, ok)
		}
		if mapped {
			t.Fatalf("rule %s: %q is a legacy and a target name", p.Name(), name)
		}
		mapped = true
	}
	return mapped
}

func TestPairIsABijection(t *testing.T) {
	pairs := pairsToCheck(t)
	mapped := 0
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom(pairs).Draw(t, "pair")
		name := drawAnyName(t)
		if rapid.Bool().Draw(t, "of the pair") {
			// Names of nothing but drawn bytes are rarely of the pair.
			name = drawName(t, rapid.SampledFrom([]*Template{p.Legacy(), p.Target()}).Draw(t, "side"))
		}
		if checkBijection(t, p, name) {
			mapped++
		}
	})
	if mapped < 10 {
		t.Fatalf("only %d names were mapped", mapped)
	}
}

func drawAnyName(t *rapid.T) (name []byte) {
	for range rapid.IntRange(0, 4).Draw(t, "parts") {
		name = append(name, rapid.OneOf(
			rapid.SampledFrom([]string{"cw:prod:", "cw:dev:", "s:", "q:", ":q:", "v:", ":prod", "{", "}", "{}", "}:", "{a}", ":"}),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 3), func(b []byte) string { return string(b) }),
		).Draw(t, "part")...)
	}
	return name
}
