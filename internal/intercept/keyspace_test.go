package intercept_test

import (
	"slices"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
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
