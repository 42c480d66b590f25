package phase

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// environment reads "A=1 B=0" as an environment.
func environment(text string) func(string) (string, bool) {
	vars := map[string]string{}
	for _, f := range strings.Fields(text) {
		name, value, _ := strings.Cut(f, "=")
		vars[name] = value
	}
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}

func TestFromFlags(t *testing.T) {
	for _, c := range []struct {
		flags Flags
		env   string
		want  Phase // 0: an error that names the flags
	}{
		{FlagsCache, "", Legacy},
		{FlagsCache, "CW_CACHE_PREFIX_ENABLED=0 CW_CACHE_DUAL_WRITE=0", Legacy},
		{FlagsCache, "CW_CACHE_DUAL_WRITE=1", Guard},
		{FlagsCache, "CW_CACHE_PREFIX_ENABLED=0 CW_CACHE_DUAL_WRITE=1", Guard},
		{FlagsCache, "CW_CACHE_PREFIX_ENABLED=1 CW_CACHE_DUAL_WRITE=1", Dual},
		{FlagsCache, "CW_CACHE_PREFIX_ENABLED=1 CW_CACHE_DUAL_WRITE=1 CW_CACHE_LEGACY_READ=1 CW_CACHE_LEGACY_GONE=0", Dual},
		{FlagsCache, "CW_CACHE_PREFIX_ENABLED=1 CW_CACHE_DUAL_WRITE=1 CW_CACHE_LEGACY_READ=0", Settled},
		{FlagsCache, "CW_CACHE_PREFIX_ENABLED=1", Drain},
		{FlagsCache, "CW_CACHE_PREFIX_ENABLED=1 CW_CACHE_DUAL_WRITE=0", Drain},
		{FlagsCache, "CW_CACHE_PREFIX_ENABLED=1 CW_CACHE_DUAL_WRITE=0 CW_CACHE_LEGACY_READ=0", Sealed},
		{FlagsCache, "CW_CACHE_PREFIX_ENABLED=1 CW_CACHE_DUAL_WRITE=0 CW_CACHE_LEGACY_GONE=1", Prefixed},
		{FlagsCache, "CW_CACHE_PREFIX_ENABLED=1 CW_CACHE_DUAL_WRITE=0 CW_CACHE_LEGACY_GONE=1 CW_CACHE_LEGACY_READ=1", Prefixed},
		{FlagsCache, "CW_RL_PREFIX_ENABLED=1", Legacy},

		{FlagsCache, "CW_CACHE_LEGACY_READ=0", 0},
		{FlagsCache, "CW_CACHE_DUAL_WRITE=1 CW_CACHE_LEGACY_READ=0", 0},
		{FlagsCache, "CW_CACHE_LEGACY_GONE=1", 0},
		{FlagsCache, "CW_CACHE_DUAL_WRITE=1 CW_CACHE_LEGACY_GONE=1", 0},
		{FlagsCache, "CW_CACHE_PREFIX_ENABLED=1 CW_CACHE_DUAL_WRITE=1 CW_CACHE_LEGACY_GONE=1", 0},
		{FlagsCache, "CW_CACHE_PREFIX_ENABLED=1 CW_CACHE_LEGACY_READ=0 CW_CACHE_LEGACY_GONE=1", 0},
		{FlagsCache, "CW_CACHE_PREFIX_ENABLED=true", 0},
		{FlagsCache, "CW_CACHE_DUAL_WRITE=", 0},

		{FlagsRL, "", Legacy},
		{FlagsRL, "CW_RL_PREFIX_ENABLED=0", Hold},
		{FlagsRL, "CW_RL_PREFIX_ENABLED=1", Move},
		{FlagsRL, "CW_RL_PREFIX_ENABLED=1 CW_RL_LEGACY_GONE=0", Move},
		{FlagsRL, "CW_RL_PREFIX_ENABLED=1 CW_RL_LEGACY_GONE=1", Prefixed},
		{FlagsRL, "CW_CACHE_PREFIX_ENABLED=1", Legacy},
		{FlagsRL, "CW_RL_LEGACY_GONE=1", 0},
		{FlagsRL, "CW_RL_PREFIX_ENABLED=0 CW_RL_LEGACY_GONE=1", 0},
		{FlagsRL, "CW_RL_PREFIX_ENABLED=", 0},
		{FlagsRL, "CW_RL_PREFIX_ENABLED=2", 0},
	} {
		got, err := FromFlags(c.flags, environment(c.env))
		if c.want != 0 {
			if err != nil || got != c.want {
				t.Errorf("%v %q: got %v, %v, want %v", c.flags, c.env, got, err, c.want)
			}
			continue
		}
		var refused *FlagError
		if !errors.As(err, &refused) || got != 0 {
			t.Errorf("%v %q: got %v, %v, want a FlagError", c.flags, c.env, got, err)
			continue
		}
		for _, f := range strings.Fields(c.env) {
			name, value, _ := strings.Cut(f, "=")
			bad := value != "0" && value != "1"
			if whole := len(refused.Settings) > 0; (whole || bad) && !strings.Contains(err.Error(), name) {
				t.Errorf("%v %q: the error %q does not name %s", c.flags, c.env, err, name)
			}
		}
	}
	if p, err := FromFlags(FlagsNone, environment("")); err == nil {
		t.Errorf("no flags chose %v", p)
	}
}

// Every combination of unset, 0 and 1 is in the table once, or refused.
func TestFromFlagsDecidesEveryCombination(t *testing.T) {
	counts := map[Flags]map[Phase]int{}
	for _, f := range []Flags{FlagsCache, FlagsRL} {
		table, _ := f.table()
		counts[f] = map[Phase]int{}
		combinations := 1
		for range table.names {
			combinations *= 3
		}
		for n := range combinations {
			var env []string
			for i, left := 0, n; i < len(table.names); i, left = i+1, left/3 {
				if left%3 > 0 {
					env = append(env, fmt.Sprintf("%s=%d", table.names[i], left%3-1))
				}
			}
			p, err := FromFlags(f, environment(strings.Join(env, " ")))
			counts[f][p]++
			if (err == nil) != (p != 0) {
				t.Errorf("%v: got %v, %v", env, p, err)
			}
		}
	}
	// By hand: two spellings for each flag that is at its default, out of 81 and 9.
	want := map[Flags]map[Phase]int{
		FlagsCache: {Legacy: 16, Guard: 8, Dual: 4, Settled: 2, Drain: 8, Sealed: 4, Prefixed: 4, 0: 35},
		FlagsRL:    {Legacy: 2, Hold: 2, Move: 2, Prefixed: 1, 0: 2},
	}
	for f, phases := range want {
		for p, n := range phases {
			if got := counts[f][p]; got != n {
				t.Errorf("%v: %d combinations for %v, want %d", f, got, p, n)
			}
		}
	}
}

func TestToFlags(t *testing.T) {
	for _, f := range []Flags{FlagsCache, FlagsRL} {
		s, _ := f.Strategy()
		for _, p := range Of(s) {
			settings, err := ToFlags(f, p)
			if err != nil {
				t.Errorf("ToFlags(%v, %v): %v", f, p, err)
				continue
			}
			lookup := func(name string) (string, bool) {
				i := slices.IndexFunc(settings, func(s Setting) bool { return s.Name == name })
				return settings[i].Value, !settings[i].Unset
			}
			if back, err := FromFlags(f, lookup); err != nil || back != p {
				t.Errorf("%v: %v chooses %v, %v, want %v", f, settings, back, err, p)
			}
		}
	}
	got, err := ToFlags(FlagsCache, Sealed)
	if want := "[CW_CACHE_PREFIX_ENABLED=1 CW_CACHE_DUAL_WRITE=0 CW_CACHE_LEGACY_READ=0 CW_CACHE_LEGACY_GONE unset]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("sealed: got %v, %v, want %s", got, err, want)
	}
	for _, c := range []struct {
		f Flags
		p Phase
	}{{FlagsCache, Hold}, {FlagsCache, Move}, {FlagsRL, Dual}, {FlagsNone, Legacy}, {FlagsCache, 0}} {
		var refused *FlagError
		if got, err := ToFlags(c.f, c.p); !errors.As(err, &refused) {
			t.Errorf("ToFlags(%v, %v): got %v, %v, want a FlagError", c.f, c.p, got, err)
		}
	}
}

func TestParseFlags(t *testing.T) {
	for _, f := range []Flags{FlagsNone, FlagsCache, FlagsRL} {
		if back, err := ParseFlags(f.String()); err != nil || back != f {
			t.Errorf("ParseFlags(%q): got %v, %v", f, back, err)
		}
	}
	if f, err := ParseFlags(""); err == nil {
		t.Errorf("ParseFlags of nothing: got %v", f)
	}
	if got := Flags(9).String(); got != "flags(9)" {
		t.Errorf("unknown flags: got %q", got)
	}
}

func TestGated(t *testing.T) {
	for _, c := range []struct {
		env       string
		want, bad bool
	}{{"", false, false}, {"CW_CACHE_GATED=0", false, false}, {"CW_CACHE_GATED=1", true, false}, {"CW_CACHE_GATED=yes", false, true}} {
		got, err := Gated(environment(c.env))
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%q: got %v, %v, want %v", c.env, got, err, c.want)
		}
	}
}
