package keyname

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// classroom is the thirteen kinds of keys of one backend.
var classroom = []string{
	"query_cache:{type}:{key...}", "tagver:{tag...}", "analytics:session:{sid}", "analytics:group:{gid}", "analytics:teacher:{tid}:dashboard",
	"rl:{name}:{subject...}", "secure_session:{sid}", "teacher_sessions:{tid}", "session:{sid}:access_code", "access_code:{code}", "csrf:{sid}",
	"query_cache_lock:{type}:{key...}", "csrf_previous:{sid}",
}

func classroomSet(t testing.TB, colocate bool) *Set {
	t.Helper()
	var pairs []*Pair
	for _, text := range classroom {
		pairs = append(pairs, mustPair(t, text, text, "cw:{env}:"+text, colocate))
	}
	return mustSet(t, "rekey:prod:", pairs...)
}

// mustSet reserves the control names of other environments, as a plan does.
func mustSet(t testing.TB, control string, pairs ...*Pair) *Set {
	t.Helper()
	other, ok := mustParse(t, "rekey:{env}:{name...}").AnyEnvironment()
	if !ok {
		t.Fatal("the control template does not tell the environment")
	}
	s, err := NewSet(pairs, []byte(control), other)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFind(t *testing.T) {
	catchAll := func(control string) *Set {
		return mustSet(t, control, mustPair(t, "all", "{key...}", "cw:{env}:{key...}", false))
	}
	swapped := mustSet(t, "ctl:", mustPair(t, "swapped", "{a}:{b...}", "x:{env}:{b...}:{a}", false))
	inside := mustSet(t, "ctl:", mustPair(t, "inside", "cw:{key...}", "cw:{env}:v:{key...}", false))
	for _, c := range []struct {
		set    *Set
		name   string
		rule   int
		target bool
	}{
		{classroomSet(t, false), "secure_session:abc", 6, false},
		{classroomSet(t, false), "cw:prod:secure_session:abc", 6, true},
		{classroomSet(t, false), "cw:staging:secure_session:abc", -1, false},
		{classroomSet(t, false), "csrf:x", 10, false},
		{classroomSet(t, false), "csrf_previous:x", 12, false},
		{classroomSet(t, false), "query_cache:t:a:b", 0, false},
		{classroomSet(t, false), "query_cache_lock:t:a:b", 11, false},
		{classroomSet(t, false), "session:1:access_code", 8, false},
		{classroomSet(t, false), "session:1", -1, false},
		{classroomSet(t, false), "", -1, false},
		{classroomSet(t, true), "csrf:x", 10, false},
		{classroomSet(t, true), "cw:prod:{csrf:x}", 10, true},
		{classroomSet(t, true), "cw:prod:csrf:x", -1, false},
		{classroomSet(t, true), "cw:prod:{a}:csrf:x{a}", 10, true},

		{catchAll("rekey:prod:"), "anything", 0, false},
		{catchAll("rekey:prod:"), "cw:prod:anything", 0, true},
		{catchAll("rekey:prod:"), "cw:", 0, false},
		{catchAll("rekey:prod:"), "cw:prod:", 0, false},
		{catchAll("rekey:prod:"), "", -1, false},
		// Control names, this environment's and another's, and what would be their counterparts.
		{catchAll("rekey:prod:"), "rekey:prod:fleet", -1, false},
		{catchAll("rekey:prod:"), "rekey:prod:", -1, false},
		{catchAll("rekey:prod:"), "rekey:dev:fleet", -1, false},
		{catchAll("rekey:prod:"), "cw:prod:rekey:prod:fleet", -1, false},
		{catchAll("rekey:prod:"), "cw:prod:rekey:dev:fleet", -1, false},
		{catchAll("cw:prod:rekey:"), "cw:prod:rekey:fleet", -1, false},
		{catchAll("cw:prod:rekey:"), "rekey:fleet", -1, false},
		{catchAll("cw:prod:rekey:"), "rekeys", 0, false},
		// Target names of another environment, and what would become of them.
		{catchAll("rekey:prod:"), "cw:staging:x", -1, false},
		{catchAll("rekey:prod:"), "cw:prod:cw:staging:x", -1, false},
		{catchAll("rekey:prod:"), "cw:prod:cw:prod:x", -1, false},

		{inside, "cw:x", 0, false},
		{inside, "cw:prod:v:x", 0, true},
		{inside, "cw:dev:v:x", -1, false},
		{inside, "cw:prod:v:dev:v:x", -1, false},

		{swapped, "1:2", 0, false},
		{swapped, "x:prod:2:1", 0, true},
		{swapped, "x:dev:2:1", -1, false},
		{swapped, "ctl:2", -1, false},
		{swapped, "x:prod:2:ctl", -1, false},
	} {
		rule, target := c.set.Find([]byte(c.name))
		if rule != c.rule || target != c.target {
			t.Errorf("Find(%q): got %d, %v, want %d, %v", c.name, rule, target, c.rule, c.target)
		}
	}
}

func TestNewSetRefuses(t *testing.T) {
	type rule struct{ name, legacy, target string }
	for _, c := range []struct {
		rules []rule
		want  OverlapError
	}{
		{[]rule{{"a", "s:{id}", "cw:{id}"}, {"b", "s:{x...}", "dw:{x...}"}}, OverlapError{"a", "b", BothLegacy, []byte("s:x")}},
		{[]rule{{"a", "{key...}", "cw:{env}:{key...}"}, {"b", "s:{x}", "dw:{x}"}}, OverlapError{"a", "b", BothLegacy, []byte("s:x")}},
		{[]rule{{"a", "s:{id}", "cw:{id}"}, {"b", "t:{x}", "cw:{x}"}}, OverlapError{"a", "b", BothTarget, []byte("cw:x")}},
		{[]rule{{"a", "s:{id}", "t:{id}"}, {"b", "t:{x}", "u:{x}"}}, OverlapError{"a", "b", TargetIsLegacy, []byte("t:x")}},
		{[]rule{{"a", "t:{id}", "u:{id}"}, {"b", "s:{x}", "t:{x}"}}, OverlapError{"b", "a", TargetIsLegacy, []byte("t:x")}},
		{[]rule{{"a", "s:{id}", "t:{id}"}, {"b", "t:{x}", "s:{x}"}}, OverlapError{"a", "b", TargetIsLegacy, []byte("t:x")}},
		{[]rule{{"a", "s:{id}", "ctl:s:{id}"}}, OverlapError{"a", "", UnderControl, []byte("ctl:s:x")}},
		{[]rule{{"a", "ctl:{id}", "s:{id}"}}, OverlapError{"a", "", UnderControl, []byte("ctl:x")}},
	} {
		var pairs []*Pair
		for _, r := range c.rules {
			pairs = append(pairs, mustPair(t, r.name, r.legacy, r.target, false))
		}
		_, err := NewSet(pairs, []byte("ctl:"))
		var got *OverlapError
		if !errors.As(err, &got) {
			t.Errorf("%v: got %v, want an OverlapError", c.rules, err)
			continue
		}
		if got.A != c.want.A || got.B != c.want.B || got.Kind != c.want.Kind || string(got.Example) != string(c.want.Example) {
			t.Errorf("%v: got %+v (%v), want %+v", c.rules, *got, got, c.want)
		}
	}
	if _, err := NewSet(nil, nil); err == nil {
		t.Error("a set without a control prefix was made")
	}
}

// TestFindIsTheDefinition compares the index with asking every template, over names that have much in common.
func TestFindIsTheDefinition(t *testing.T) {
	sets := []*Set{
		classroomSet(t, false), classroomSet(t, true),
		mustSet(t, "cw:prod:rekey:", mustPair(t, "all", "{key...}", "cw:{env}:{key...}", false)),
		mustSet(t, "rekey:prod:", mustPair(t, "all", "{key...}", "cw:{env}:{key...}", true)),
	}
	found := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(sets).Draw(t, "set")
		var name []byte
		if rapid.Bool().Draw(t, "prefixed") {
			name = []byte("cw:prod:")
		}
		for range rapid.IntRange(0, 5).Draw(t, "parts") {
			name = append(name, rapid.SampledFrom([]string{
				"cw:", "prod:", "dev:", "rekey:", "csrf", "_previous", ":", "session:", "secure_", "access_code:", ":access_code", "x", "{", "}", "query_cache:", "t:",
			}).Draw(t, "part")...)
		}
		rule, target := s.Find(name)
		wantRule, wantTarget := define(s, name)
		if rule != wantRule || target != wantTarget {
			t.Fatalf("Find(%q): got %d, %v, want %d, %v", name, rule, target, wantRule, wantTarget)
		}
		if rule < 0 {
			return
		}
		found[target]++
		// The counterpart belongs to the same rule, in the other role.
		other, ok := s.Pair(rule).AppendTarget(nil, name)
		if target {
			other, ok = s.Pair(rule).AppendLegacy(nil, name)
		}
		if again, role := s.Find(other); !ok || again != rule || role == target {
			t.Fatalf("%q has the counterpart %q, %v, of rule %d, target %v", name, other, ok, again, role)
		}
	})
	if found[true] == 0 || found[false] == 0 {
		t.Fatalf("only one role was found: %v", found)
	}
}

func define(s *Set, name []byte) (int, bool) {
	for i := range s.Len() {
		p := s.Pair(i)
		if legacy, ok := p.AppendLegacy(nil, name); ok && !s.isReserved(legacy) && !s.isReserved(name) {
			return i, true
		}
		if target, ok := p.AppendTarget(nil, name); ok && !s.isReserved(target) && !s.isReserved(name) {
			return i, false
		}
	}
	return -1, false
}

func TestNamesDoNotAllocate(t *testing.T) {
	all := mustSet(t, "cw:prod:rekey:", mustPair(t, "all", "{key...}", "cw:{env}:{key...}", false))
	swapped := mustSet(t, "ctl:", mustPair(t, "swapped", "{a}:{b...}", "x:{env}:{b...}:{a}", false))
	buf, pattern := make([]byte, 0, 256), []byte("c*:[a-z]*")
	for _, s := range []*Set{classroomSet(t, false), classroomSet(t, true), all, swapped} {
		for _, text := range []string{
			"secure_session:abc", "cw:prod:secure_session:abc", "cw:prod:{csrf:x}", "csrf:a}b", "csrf:{a}", "cw:prod:{a}:csrf:{a}", "1:2", "x:prod:2:1", "foo", "",
		} {
			name := []byte(text)
			allocs := testing.AllocsPerRun(20, func() {
				rule, target := s.Find(name)
				switch {
				case rule >= 0 && target:
					s.Pair(rule).AppendLegacy(buf, name)
				case rule >= 0:
					s.Pair(rule).AppendTarget(buf, name)
				}
				Slot(name)
				GlobMatch(pattern, name)
			})
			if allocs != 0 {
				t.Errorf("%q: %v allocations", text, allocs)
			}
		}
	}
}

func BenchmarkFind(b *testing.B) {
	s := classroomSet(b, false)
	for _, text := range []string{"secure_session:abcdef0123456789", "cw:prod:query_cache:list:x:y", "other:key"} {
		name := []byte(text)
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Find(name)
			}
		})
	}
}

// TestNewSetComparesAllThatMeet compares with asking every pair about every other one: what NewSet leaves out has nothing in common.
func TestNewSetComparesAllThatMeet(t *testing.T) {
	seen := map[bool]int{}
	part := rapid.SampledFrom([]string{"", "a", "ab", "abc:", "b", "a:", "{{", "cw:", "{env}:"})
	pair := rapid.Custom(func(t *rapid.T) *Pair {
		variable := rapid.SampledFrom([]string{"{id}", "{id...}"}).Draw(t, "variable")
		name := func(role string) string {
			return part.Draw(t, role) + part.Draw(t, role) + variable + part.Draw(t, role)
		}
		legacy, err := Parse(name("legacy"), "prod")
		target, err2 := Parse(name("target"), "prod")
		colocate := rapid.Bool().Draw(t, "colocate")
		if err != nil || err2 != nil {
			return nil
		}
		p, err := NewPair("r", legacy, target, colocate)
		if err != nil {
			return nil
		}
		return p
	}).Filter(func(p *Pair) bool { return p != nil }) // what is no rule meets none
	rapid.Check(t, func(t *rapid.T) {
		pairs := rapid.SliceOfN(pair, 2, 4).Draw(t, "pairs")
		var want error
		for i, p := range pairs {
			for _, q := range pairs[:i] {
				if want == nil {
					want = disjoint(q, p)
				}
			}
		}
		_, err := NewSet(pairs, []byte("rekey:prod:"))
		seen[want == nil]++
		if fmt.Sprint(err) != fmt.Sprint(want) {
			t.Fatalf("NewSet: got %v, comparing all with all finds %v", err, want)
		}
	})
	if seen[true] == 0 || seen[false] == 0 {
		t.Fatalf("only one answer was seen: %v", seen)
	}
}

// TestManyRules holds that a rule among many costs what it costs among few: a plan that rekey inventory wrote may have hundreds.
func TestManyRules(t *testing.T) {
	cost := func(rules int) float64 {
		var pairs []*Pair
		for i := range rules {
			text := fmt.Sprintf("k%d:{id}", i)
			pairs = append(pairs, mustPair(t, text, text, "cw:{env}:"+text, false))
		}
		return testing.AllocsPerRun(1, func() { mustSet(t, "rekey:prod:", pairs...) }) / float64(rules)
	}
	if few, many := cost(50), cost(500); many > 2*few {
		t.Errorf("a rule among 500 takes %.0f allocations, among 50 it takes %.0f", many, few)
	}
}
