package keyname

import (
	"bytes"
	"strings"
	"testing"
)

// The answers are those of Redis 7.0, Valkey 8.0 and Redis 8.0 to KEYS.
func TestGlobMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", false}, // KEYS and SCAN do not ask; see GlobMatchKey
		{"*", "a", true},
		{"a*", "a", true},
		{"a*c", "abbc", true},
		{"a*c", "abbd", false},
		{"?", "", false},
		{"?", "\xff", true},
		{"a?c", "abc", true},
		{"[abc]", "b", true},
		{"[abc]", "d", false},
		{"[^abc]", "d", true},
		{"[^abc]", "a", false},
		{"[a-c]", "b", true},
		{"[c-a]", "b", true},
		{"[a-c", "b", true},
		{"[", "[", false},
		{"[^", "x", true},
		{"[]a]", "a]", false},
		{"[]", "]", false},
		{`[\]]`, "]", true},
		{`[\-a]`, "-", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{`a\`, `a\`, true},
		{"[\x80-\x7f]", "\x00", true}, // signed: from -128 to 127
		{"[\x01-\xff]", "\x80", false},
		{"[\x01-\xff]", "\x00", true},
		{"a\x00*", "a\x00b", true},
		{strings.Repeat("a*", 1000) + "b", strings.Repeat("a", 1100) + "b", true},
		{strings.Repeat("a*", 1001) + "b", strings.Repeat("a", 1100) + "b", false},
		{strings.Repeat("a*", 1001), strings.Repeat("a", 1100), true},
	} {
		if got := GlobMatch([]byte(c.pattern), []byte(c.name)); got != c.want {
			t.Errorf("GlobMatch(%.40q, %.40q): got %v, want %v", c.pattern, c.name, got, c.want)
		}
	}
	if !GlobMatchKey([]byte("*"), nil) || GlobMatchKey([]byte("**"), nil) || !GlobMatchKey([]byte("a*"), []byte("ab")) {
		t.Error("GlobMatchKey: * alone matches the empty key and ** does not")
	}
}

// TestGlobMatchIsNotExponential would not end in a year with plain backtracking.
func TestGlobMatchIsNotExponential(t *testing.T) {
	pattern := bytes.Repeat([]byte("a*"), 200)
	name := bytes.Repeat([]byte("a"), 5000)
	if GlobMatch(append(pattern, 'b'), name) {
		t.Error("a name without b matches a pattern that ends in b")
	}
}

// referenceGlob is a glob's definition: the first element of the pattern takes a part of the name, the rest the rest.
func referenceGlob(pattern, name []byte) bool {
	if len(name) == 0 && len(pattern) > 0 {
		return false // the server's loop is not entered
	}
	return referenceTail(pattern, name)
}

func referenceTail(pattern, name []byte) bool {
	switch {
	case len(pattern) == 0:
		return len(name) == 0
	case pattern[0] == '*':
		return referenceTail(pattern[1:], name) || len(name) > 0 && referenceTail(pattern, name[1:])
	case len(name) == 0:
		return false
	case pattern[0] == '?':
		return referenceTail(pattern[1:], name[1:])
	case pattern[0] == '[':
		set, rest := referenceClass(pattern[1:])
		return set[name[0]] && referenceTail(rest, name[1:])
	case pattern[0] == '\\' && len(pattern) > 1:
		return pattern[1] == name[0] && referenceTail(pattern[2:], name[1:])
	default:
		return pattern[0] == name[0] && referenceTail(pattern[1:], name[1:])
	}
}

// referenceClass returns the bytes of a class, and the pattern behind it.
func referenceClass(class []byte) (set [256]bool, rest []byte) {
	negated := len(class) > 0 && class[0] == '^'
	if negated {
		class = class[1:]
	}
	for len(class) > 0 && class[0] != ']' {
		if class[0] == '\\' && len(class) > 1 {
			set[class[1]] = true
			class = class[2:]
			continue
		}
		if len(class) > 2 && class[1] == '-' {
			for c := range 256 {
				from, to, at := int(int8(class[0])), int(int8(class[2])), int(int8(c))
				if from <= at && at <= to || to <= at && at <= from {
					set[c] = true
				}
			}
			class = class[3:]
			continue
		}
		set[class[0]] = true
		class = class[1:]
	}
	if len(class) > 0 {
		class = class[1:]
	}
	if negated {
		for c := range set {
			set[c] = !set[c]
		}
	}
	return set, class
}
