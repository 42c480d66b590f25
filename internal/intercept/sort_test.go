package intercept_test

import (
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestPatternsOfSort: a pattern of SORT may name the keys of a rule by either name. On its way the rule's keys stand
// under both, or under the other.
func TestPatternsOfSort(t *testing.T) {
	server := redistest.Shared(t)
	for _, p := range allPhases {
		rules := testRules(t)
		setPhases(rules, p, p)
		client := redistest.NewConn(t, dial(t, server, rules))
		for _, c := range []struct {
			pattern string
			refused bool
		}{
			{"a:*", p != phase.Legacy},
			{"cw:test:a:*", !p.Parked()},
			{"cw:*", !p.Parked()},
			{"w:*", false},
		} {
			for _, words := range [][]string{{"SORT", "other", "BY", c.pattern}, {"SORT", "other", "GET", c.pattern}} {
				got := client.Do(words...)
				if refused := strings.HasPrefix(string(got.Str), "rekey:"); refused != c.refused {
					t.Errorf("%s: %q: got %q, want a refusal: %v", p, words, got.Append(nil), c.refused)
				}
			}
		}
	}
}
