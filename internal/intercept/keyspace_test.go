package intercept_test

import (
	"slices"
	"testing"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
)

// TestEmptyName: a key may have no name at all, and the patterns that show it on the bare server show it here.
func TestEmptyName(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	bare.Do("MSET", "", "1", "other", "2")
	names := func(v resp.Value) (out []string) {
		for _, e := range v.Elems {
			out = append(out, string(e.Str))
		}
		slices.Sort(out)
		return out
	}
	for _, p := range allPhases {
		rules := testRules(t)
		setPhases(rules, p, p)
		client := redistest.NewConn(t, dial(t, server, rules))
		for _, pattern := range []string{"*", "", "**", "o*", "?*"} {
			want := names(bare.Do("KEYS", pattern))
			if got := names(client.Do("KEYS", pattern)); !slices.Equal(got, want) {
				t.Errorf("%s: KEYS %q: got %q, want %q", p, pattern, got, want)
			}
			if got := names(client.Do("SCAN", "0", "MATCH", pattern, "COUNT", "100").Elems[1]); !slices.Equal(got, want) {
				t.Errorf("%s: SCAN MATCH %q: got %q, want %q", p, pattern, got, want)
			}
		}
	}
}

// TestEmptyPattern: an empty pattern matches the key without a name and no other, also where everything must be asked
// of the server because a rule gives its keys another name altogether.
func TestEmptyPattern(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	bare.Do("MSET", "old:1", "v", "", "v")
	legacy, err := keyname.Parse("old:{id}", "test")
	if err != nil {
		t.Fatal(err)
	}
	target, err := keyname.Parse("cw:{env}:new:{id}", "test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := keyname.NewPair("renamed", legacy, target, false)
	if err != nil {
		t.Fatal(err)
	}
	set, err := keyname.NewSet([]*keyname.Pair{pair}, []byte("rekey:test:"))
	if err != nil {
		t.Fatal(err)
	}
	rules := &intercept.Rules{Set: set, Stats: intercept.NewStats(1)}
	setPhases(rules, phase.Dual)
	for _, words := range [][]string{{"KEYS", ""}, {"SCAN", "0", "MATCH", ""}, {"SCAN", "0", "MATCH", "*", "MATCH", ""}} {
		names := redistest.NewConn(t, dial(t, server, rules)).Do(words...)
		if words[0] == "SCAN" {
			names = names.Elems[1]
		}
		if len(names.Elems) != 1 || len(names.Elems[0].Str) != 0 {
			t.Errorf("%q: got %d names, want the empty one", words, len(names.Elems))
		}
	}
}

// TestPatternsThatEndInTheMiddle: a backslash at the end of a pattern stands for itself, and a class of characters may be
// left open. What is asked of the server must match no less.
func TestPatternsThatEndInTheMiddle(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	names := []string{"a:1", `a:\`, `a:1\`, "a:*", "a:1*", "a:b", "a:[", "a:]", "b:^"}
	logical := func(v resp.Value) (out []string) {
		for _, e := range v.Elems {
			out = append(out, string(e.Str))
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	for _, p := range allPhases {
		rules := testRules(t)
		setPhases(rules, p, p)
		client := redistest.NewConn(t, dial(t, server, rules))
		for _, pattern := range []string{`a:\`, `a:1\`, `a:*\`, `\`, `*\`, "a:[^1", "a:[*", "a:[", "[^1]:[^1", `a:[^\`, `a:\*`, `a:[\]]`, `a:\[`, "a:[1-", "a:[^a-", `a:\\`, `*\\`, "a:[]", "a:[^]"} {
			bare.Do("FLUSHALL")
			for _, name := range names {
				bare.Do("SET", name, "v")
			}
			want := logical(bare.Do("KEYS", pattern))
			bare.Do("FLUSHALL")
			for _, name := range names {
				client.Do("SET", name, "v")
			}
			if got := logical(client.Do("KEYS", pattern)); !slices.Equal(got, want) {
				t.Errorf("%s: KEYS %q: got %q, want %q", p, pattern, got, want)
			}
			if got := logical(client.Do("SCAN", "0", "MATCH", pattern, "COUNT", "100").Elems[1]); !slices.Equal(got, want) {
				t.Errorf("%s: SCAN MATCH %q: got %q, want %q", p, pattern, got, want)
			}
		}
	}
}
