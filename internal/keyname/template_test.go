package keyname

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func mustParse(t testing.TB, text string) *Template {
	t.Helper()
	tmpl, err := Parse(text, "prod")
	if err != nil {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	return tmpl
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		text, env string
		offset    int
		reason    string
	}{
		{"", "prod", 0, "cannot be empty"},
		{"a{id", "prod", 1, "a { without its }"},
		{"a}b", "prod", 1, "a } without its {"},
		{"a{}", "prod", 1, "{} is no variable"},
		{"a{1d}", "prod", 1, "{1d} is no variable"},
		{"a{i-d}", "prod", 1, "{i-d} is no variable"},
		{"a{...}", "prod", 1, "{...} is no variable"},
		{"{id}:{id}", "prod", 5, "{id} is written twice"},
		{"{id}:{id...}", "prod", 5, "{id} is written twice"},
		{"{env...}", "prod", 0, "{env...} is no variable"},
		{"cw:{env}:x", "", 3, "{env} needs an environment"},
		{"cw:{env}:x", "a:b", 3, "{env} needs an environment"},
		{"{a}{b}", "prod", 3, "{a} and {b} need a literal with a ':'"},
		{"{a}-{b}", "prod", 3, "{a} and {b} need a literal with a ':'"},
		{"{a...}{b}", "prod", 6, "{a} and {b} need a literal with a ':'"},
		{"{a...}x{b...}", "prod", 6, "{a} and {b} need a literal with a ':'"},
		{"{a...}:{b...}", "prod", 13, "{a...} and {b...} in one template"},
		{"{a...}:{b}:{c...}", "prod", 17, "{a...} and {c...} in one template"},
		{strings.Repeat("x", maxTemplate+1), "prod", 0, "too long"},
		{manyVars(maxVars + 1), "prod", strings.LastIndex(manyVars(maxVars+1), "{"), "more than 16 variables"},
	} {
		_, err := Parse(c.text, c.env)
		var got *SyntaxError
		if !errors.As(err, &got) {
			t.Errorf("Parse(%.40q): got %v, want a SyntaxError", c.text, err)
			continue
		}
		if got.Offset != c.offset || !strings.Contains(got.Reason, c.reason) {
			t.Errorf("Parse(%.40q): got byte %d %q, want byte %d %q", c.text, got.Offset, got.Reason, c.offset, c.reason)
		}
	}
}

func manyVars(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, "{v"+strings.Repeat("x", i)+"}")
	}
	return strings.Join(parts, ":")
}

func TestTemplateParts(t *testing.T) {
	for _, c := range []struct {
		text, prefix, glob string
		vars               []string
	}{
		{"secure_session:{id}", "secure_session:", "secure_session:?*", []string{"id"}},
		{"cw:{env}:{a}:{b...}", "cw:prod:", "cw:prod:?*:?*", []string{"a", "b"}},
		{"{key...}", "", "?*", []string{"key"}},
		{"fixed", "fixed", "fixed", []string{}},
		{"{{{id}}}", "{", "{?*}", []string{"id"}},
		{"a*b?[c]\\{x}", "a*b?[c]\\", `a\*b\?\[c\]\\?*`, []string{"x"}},
	} {
		got := mustParse(t, c.text)
		if got.String() != c.text || string(got.Prefix()) != c.prefix || string(got.Glob()) != c.glob || !slices.Equal(got.Vars(), c.vars) {
			t.Errorf("%q: got String %q Prefix %q Glob %q Vars %q, want Prefix %q Glob %q Vars %q",
				c.text, got, got.Prefix(), got.Glob(), got.Vars(), c.prefix, c.glob, c.vars)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		text, name string
		want       bool
	}{
		{"session:{id}", "session:abc", true},
		{"session:{id}", "session:", false},
		{"session:{id}", "session:a:b", false},
		{"session:{id}", "session", false},
		{"session:{id}", "session:a b{}\n\x00\xff", true},
		{"session:{id}:access_code", "session:1:access_code", true},
		{"session:{id}:access_code", "session::access_code", false},
		{"session:{id}:access_code", "session:1:access_codes", false},
		{"session:{id}:access_code", "session:access_code", false},
		{"q:{type}:{key...}", "q:t:a:b::", true},
		{"q:{type}:{key...}", "q::a", false},
		{"q:{type}:{key...}", "q:t:", false},
		{"{a...}:{b}", "1:2:3", true},
		{"{a...}:{b}", ":::x", true},
		{"{a...}:{b}", "1:2:", false},
		{"{a...}:{b}", ":2", false},
		{"{a}x:y{b...}z:w{c}", "1x:y:z:wz:w3", true},
		{"{a}x:y{b...}z:w{c}", "xx:y1z:w3", true},
		{"{a}x:y{b...}z:w{c}", "x:y1z:w3", false},
		{"{a}x:y{b...}z:w{c}", "1x:yz:w3", false},
		{"fixed", "fixed", true},
		{"fixed", "fixedx", false},
		{"{{{id}}}", "{a}", true},
		{"{{{id}}}", "{}", false},
		{"cw:{env}:{id}", "cw:prod:1", true},
		{"cw:{env}:{id}", "cw:staging:1", false},
		{"aa{id}aa", "aaa", false},
		{"aa{id}aa", "aaaaa", true},
	} {
		if got := mustParse(t, c.text).Match([]byte(c.name)); got != c.want {
			t.Errorf("%q matches %q: got %v, want %v", c.text, c.name, got, c.want)
		}
	}
}

func TestAnyEnvironment(t *testing.T) {
	for _, c := range []struct {
		text, name, env string
	}{
		{"cw:{env}:{key...}", "cw:staging:x:y", "staging"},
		{"cw:{env}:{key...}", "cw:prod:x", "prod"},
		{"cw:{env}:{key...}", "cw:a b:x", ""},
		{"cw:{env}:{key...}", "cw::x", ""},
		{"{key...}:{env}", "a:b:dev", "dev"},
		{"{env}:{key...}:{env}", "dev:x:dev", "dev"},
		{"{env}:{key...}:{env}", "dev:x:prod", ""},
	} {
		open, ok := mustParse(t, c.text).AnyEnvironment()
		if !ok {
			t.Fatalf("%q: the environment is not told", c.text)
		}
		env, ok := open.EnvironmentOf([]byte(c.name))
		if string(env) != c.env || ok != (c.env != "") {
			t.Errorf("%q reads %q as environment %q, %v; want %q", c.text, c.name, env, ok, c.env)
		}
	}
	for _, text := range []string{"session:{id}", "cw-{env}-{id}", "cw:{env}{id}"} {
		if _, ok := mustParse(t, text).AnyEnvironment(); ok {
			t.Errorf("%q tells the environment, and should not", text)
		}
	}
}
