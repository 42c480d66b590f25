package keys_test

import (
	"errors"
	"path"
	"strings"
	"testing"

	"github.com/classwaves/rekey/classwaves"
	"github.com/classwaves/rekey/classwaves/keys"
)

// names are the builders by the rule of the plan that their names must be of.
var names = []struct {
	rule  string
	build func(a, b string) (string, error)
	parts int
}{
	{"query_cache", keys.QueryCache, 2},
	{"query_cache_locks", keys.QueryCacheLock, 2},
	{"tag_versions", func(a, _ string) (string, error) { return keys.TagVersion(a) }, 1},
	{"session_analytics", func(a, _ string) (string, error) { return keys.AnalyticsSession(a) }, 1},
	{"group_analytics", func(a, _ string) (string, error) { return keys.AnalyticsGroup(a) }, 1},
	{"dashboards", func(a, _ string) (string, error) { return keys.AnalyticsDashboard(a) }, 1},
	{"secure_sessions", func(a, _ string) (string, error) { return keys.SecureSession(a) }, 1},
	{"teacher_sessions", func(a, _ string) (string, error) { return keys.TeacherSessions(a) }, 1},
	{"session_codes", func(a, _ string) (string, error) { return keys.SessionAccessCode(a) }, 1},
	{"access_codes", func(a, _ string) (string, error) { return keys.AccessCode(a) }, 1},
	{"csrf", func(a, _ string) (string, error) { return keys.CSRF(a) }, 1},
	{"csrf_previous", func(a, _ string) (string, error) { return keys.CSRFPrevious(a) }, 1},
	{"rate_limits", keys.RateLimit, 2},
}

// TestEachNameIsOfItsRule: what a builder makes is a legacy name of its rule, and every rule has a
// builder.
func TestEachNameIsOfItsRule(t *testing.T) {
	p, err := classwaves.Plan("test")
	if err != nil {
		t.Fatal(err)
	}
	built := make(map[string]bool)
	for _, n := range names {
		built[n.rule] = true
		for _, id := range []string{"a", "a_b", "{a}", "with space", "new\nline", "\x00\xff", "*?[", strings.Repeat("x", keys.MaxBytes)} {
			name, err := n.build(id, id)
			if err != nil {
				t.Errorf("%s of %q: %v", n.rule, id, err)
				continue
			}
			rule, target := p.Names().Find([]byte(name))
			if rule < 0 || p.Rules[rule].Name != n.rule || target {
				t.Errorf("%s of %q: %q is of rule %d, target %v", n.rule, id, name, rule, target)
			}
		}
	}
	for _, r := range p.Rules {
		if !built[r.Name] {
			t.Errorf("rule %s has no builder in this test", r.Name)
		}
	}
}

// TestNothingIsReplaced: what a template's variable cannot hold is refused, and two identifiers never
// give one name.
func TestNothingIsReplaced(t *testing.T) {
	for _, n := range names {
		for _, bad := range []string{"", strings.Repeat("x", keys.MaxBytes+1)} {
			_, err := n.build(bad, bad)
			var invalid *keys.InvalidError
			if !errors.As(err, &invalid) {
				t.Errorf("%s of %d bytes: got %v, want an InvalidError", n.rule, len(bad), err)
			}
		}
		withColon, err := n.build("a:b", "c")
		if free := n.rule == "tag_versions"; free != (err == nil) {
			t.Errorf("%s of a:b: %q, %v", n.rule, withColon, err)
		}
	}
	one, _ := keys.QueryCache("list", "a:b")
	other, _ := keys.QueryCache("list", "a_b")
	if one == other {
		t.Errorf("a:b and a_b are both %q", one)
	}
}

// TestPatternMatchesLiterally: what a prefix means to SCAN is taken from it.
func TestPatternMatchesLiterally(t *testing.T) {
	pattern, err := keys.QueryCachePattern("list", `a*b?c[d]e\f`)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{
		`a*b?c[d]e\f`: true, `a*b?c[d]e\fmore`: true, `aXb?c[d]e\f`: false, `a*bXc[d]e\f`: false, `a*b?cde\f`: false,
	} {
		name, err := keys.QueryCache("list", key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := path.Match(pattern, name); err != nil || got != want {
			t.Errorf("%s against %s: got %v, %v, want %v", pattern, name, got, err, want)
		}
	}
	if _, err := keys.QueryCachePattern("a:b", ""); err == nil {
		t.Error("a pattern of a type with a colon")
	}
}

// TestChannelsCarryTheEnvironment: two environments in one server do not hear each other.
func TestChannelsCarryTheEnvironment(t *testing.T) {
	channel, err := keys.Events("prod", "s1")
	if err != nil {
		t.Fatal(err)
	}
	for env, want := range map[string]bool{"prod": true, "staging": false, "pro": false} {
		pattern, err := keys.EventsPattern(env)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := path.Match(pattern, channel); got != want {
			t.Errorf("%s against %s: got %v, want %v", pattern, channel, got, want)
		}
	}
}
