package sweep_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
)

// copies gives every legacy key of the prefix its target.
func copies(t testing.TB, c *redis.Client, legacy []string) {
	t.Helper()
	for _, name := range legacy {
		do(t, c, "COPY", name, target(name))
	}
}

// TestVerifyFindsNothingInEqualKeys: DUMP tells many of these pairs apart.
func TestVerifyFindsNothingInEqualKeys(t *testing.T) {
	for _, p := range phase.Of(phase.Mirror) {
		t.Run(p.String(), func(t *testing.T) {
			client := redistest.Shared(t).Client()
			legacy := fill(t, client, "thing:")
			copies(t, client, legacy)
			unlikeDumps(t, client)
			noise(t, client)
			before := keyspace(t, client)
			r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: p})
			if r.Found() != 0 {
				t.Errorf("got %v in equal keys: %+v", r.Problems, r.Examples)
			}
			if r.Matched < int64(len(legacy)) {
				t.Errorf("got %d names looked at, want at least %d", r.Matched, len(legacy))
			}
			untouched(t, client, before)
		})
	}
}

// unlikeDumps makes pairs that are equal and whose DUMPs are not.
func unlikeDumps(t *testing.T, c *redis.Client) {
	t.Helper()
	set, hash := many("SADD", "thing:order:set", 300), many("HSET", "thing:order:hash", 1100)
	do(t, c, set...)
	do(t, c, hash...)
	set[1], hash[1] = target("thing:order:set"), target("thing:order:hash")
	slices.Reverse(set[2:])
	do(t, c, set...)
	for low, high := 2, len(hash)-2; low < high; low, high = low+2, high-2 { // each field keeps its value
		hash[low], hash[low+1], hash[high], hash[high+1] = hash[high], hash[high+1], hash[low], hash[low+1]
	}
	do(t, c, hash...)
	for _, name := range []string{"thing:small:hash", target("thing:small:hash")} {
		do(t, c, "HSET", name, "f", "1")
	}
	do(t, c, "HSET", target("thing:small:hash"), "long", strings.Repeat("x", 100)) // a hashtable from now on
	do(t, c, "HDEL", target("thing:small:hash"), "long")
	do(t, c, "SET", "thing:raw", "12")
	do(t, c, "SET", target("thing:raw"), "1")
	do(t, c, "APPEND", target("thing:raw"), "2")
	do(t, c, "RPUSH", "thing:list", strings.Repeat("x", 9000), "a")
	do(t, c, "RPUSH", target("thing:list"), "a")
	do(t, c, "LPUSH", target("thing:list"), strings.Repeat("x", 9000))
	for _, name := range []string{"thing:order:set", "thing:order:hash"} {
		if do(t, c, "DUMP", name) == do(t, c, "DUMP", target(name)) {
			t.Fatalf("the DUMPs of %s are equal; the test shows nothing", name)
		}
	}
}

// differences are commands that make one pair of otherwise equal keys differ, with the class that is to be found.
var differences = []struct {
	class  sweep.Class
	on     string // a kind of setup_test.go
	change func(legacy, target string) []any
}{
	{sweep.Missing, "string", func(_, p string) []any { return []any{"DEL", p} }},
	{sweep.Missing, "stream", func(_, p string) []any { return []any{"DEL", p} }},
	{sweep.Orphan, "hash", func(l, _ string) []any { return []any{"DEL", l} }},
	{sweep.Type, "list", func(_, p string) []any { return []any{"SET", p, "a"} }},
	{sweep.TTL, "expiring", func(_, p string) []any { return []any{"PEXPIREAT", p, 4102444800124} }},
	{sweep.TTL, "expiringzs", func(_, p string) []any { return []any{"PERSIST", p} }},
	{sweep.TTL, "set", func(l, _ string) []any { return []any{"EXPIRE", l, 1000} }},
	{sweep.TTL, "hashtable", func(l, _ string) []any { return []any{"EXPIRE", l, 1000} }},
	{sweep.TTL, "huge string", func(l, _ string) []any { return []any{"EXPIRE", l, 1000} }},
	{sweep.Value, "string", func(_, p string) []any { return []any{"APPEND", p, "x"} }},
	{sweep.Value, "number", func(l, _ string) []any { return []any{"INCR", l} }},
	{sweep.Value, "list", func(_, p string) []any { return []any{"LSET", p, 0, "A"} }},
	{sweep.Value, "quicklist", func(_, p string) []any { return []any{"LSET", p, 1145, "A"} }},
	{sweep.Value, "set", func(_, p string) []any { return []any{"SADD", p, "more"} }},
	{sweep.Value, "intset", func(_, p string) []any { return []any{"SREM", p, 1} }},
	{sweep.Value, "hashtable", func(_, p string) []any { return []any{"SREM", p, "element-133"} }},
	{sweep.Value, "hash", func(_, p string) []any { return []any{"HSET", p, "f", "one"} }},
	{sweep.Value, "bighash", func(_, p string) []any { return []any{"HSET", p, "element-332", "one"} }},
	{sweep.Value, "zset", func(_, p string) []any { return []any{"ZINCRBY", p, 1, "c"} }},
	{sweep.Value, "skiplist", func(_, p string) []any { return []any{"ZINCRBY", p, 1, "member-122"} }},
	{sweep.Value, "stream", func(_, p string) []any { return []any{"XADD", p, "9-1", "f", "v"} }},
	{sweep.Value, "stream", func(_, p string) []any { return []any{"XACK", p, "g", "2-1"} }},
	{sweep.Value, "stream", func(_, p string) []any { return []any{"XGROUP", "CREATE", p, "h", "0"} }},
	{sweep.Value, "stream", func(_, p string) []any { return []any{"XGROUP", "SETID", p, "g", "0"} }},
	{sweep.Value, "stream", func(_, p string) []any { return []any{"XGROUP", "CREATECONSUMER", p, "g", "c9"} }},
	{sweep.Value, "stream", func(_, p string) []any { return []any{"XCLAIM", p, "g", "c9", 0, "2-1"} }},
	{sweep.Value, "stream", func(_, p string) []any {
		return []any{"XCLAIM", p, "g", "c1", 0, "2-1", "IDLE", 3600000, "RETRYCOUNT", 1}
	}},
	{sweep.Value, "stream", func(_, p string) []any { return []any{"XSETID", p, "99-0"} }},
	{sweep.Value, "huge string", func(_, p string) []any { return []any{"SETRANGE", p, 2<<20 - 1, "y"} }},
	{sweep.Value, "huge set", func(_, p string) []any { return []any{"SMOVE", p, "elsewhere", long("element-777")} }},
	{sweep.Value, "huge hash", func(_, p string) []any { return []any{"HSET", p, long("element-776"), "y"} }},
	{sweep.Value, "huge list", func(_, p string) []any { return []any{"LSET", p, -1, "y"} }},
	{sweep.Value, "huge zset", func(_, p string) []any { return []any{"ZADD", p, 7, long("member-777")} }},
}

// huge are values that verify reads in pieces.
var huge = map[string]func(name string) [][]any{
	"huge string": func(n string) [][]any { return [][]any{{"SETRANGE", n, 2<<20 - 1, "x"}} },
	"huge set":    func(n string) [][]any { return [][]any{lengthen(many("SADD", n, 1200))} },
	"huge hash":   func(n string) [][]any { return [][]any{lengthen(many("HSET", n, 1200))} },
	"huge list": func(n string) [][]any {
		return [][]any{many("RPUSH", n, 2000), {"RPUSH", n, strings.Repeat("x", 1<<20)}, {"RPUSH", n, "last"}}
	},
	"huge zset": func(n string) [][]any { return [][]any{lengthen(manyScores(n, 1200))} },
}

// long is an element of a kibibyte, so that a thousand of them are more than verify reads at once.
func long(element any) any { return fmt.Sprintf("%v%01000d", element, 0) }

// lengthen does that to each element of a command, and not to scores.
func lengthen(words []any) []any {
	for i, word := range words[2:] {
		if _, ok := word.(string); ok {
			words[2+i] = long(word)
		}
	}
	return words
}

// TestVerifyFindsEveryDifference plants one difference among equal keys and wants exactly that one, mended by --repair so
// that the target's word holds.
func TestVerifyFindsEveryDifference(t *testing.T) {
	client := redistest.Shared(t).Client()
	p := parse(t, testPlan)
	all := maps.Clone(writers)
	maps.Copy(all, huge)
	for i, d := range differences {
		for _, in := range []phase.Phase{phase.Dual, phase.Settled} {
			t.Run(fmt.Sprintf("%d %s of a %s in %v", i, d.class, d.on, in), func(t *testing.T) {
				do(t, client, "FLUSHALL")
				l := "thing:it {*}"
				for _, words := range all[d.on](l) {
					do(t, client, words...)
				}
				do(t, client, "SET", "thing:good", "v")
				copies(t, client, []string{l, "thing:good"})
				if strings.HasPrefix(d.on, "huge") && client.MemoryUsage(t.Context(), l).Val() <= 1<<20 {
					t.Fatal("it is read at once: the test shows nothing of what is read in pieces")
				}
				do(t, client, d.change(l, target(l))...)
				wantAfter := contents(t, client, target(l))
				if d.class == sweep.Missing && in == phase.Dual {
					wantAfter = contents(t, client, l) // a read would copy it
				}
				o := sweep.Options{Client: client, Plan: p, Rule: "things", Kind: sweep.Verify, Phase: in, Repair: true}
				r := run(t, o)
				if !maps.Equal(r.Problems, map[sweep.Class]int64{d.class: 1}) {
					t.Errorf("got %v %+v, want one %s", r.Problems, r.Examples, d.class)
				}
				if len(r.Examples) == 1 && (r.Examples[0].Legacy != l || r.Examples[0].Target != target(l)) {
					t.Errorf("got %+v, want the names of %q", r.Examples[0], l)
				}
				if r.Changed != 0 {
					t.Errorf("repaired %d without being told to execute", r.Changed)
				}
				if in == phase.Dual {
					mustNotHold(t, r, phase.Verified, "1 keys differ")
				}

				o.Execute = true
				if r = run(t, o); r.Changed != 1 {
					t.Errorf("got %d repaired, want 1", r.Changed)
				}
				for _, name := range []string{l, target(l)} {
					if got := contents(t, client, name); got != wantAfter {
						t.Errorf("%q after the repair: got %.80q, want %.80q", name, got, wantAfter)
					}
				}
				if r = run(t, o); r.Found() != 0 {
					t.Errorf("after the repair: %+v", r.Examples)
				}
			})
		}
	}
}

func TestVerifyKnowsWhichNameMayBeMissing(t *testing.T) {
	for _, c := range []struct {
		rule   string
		phase  phase.Phase
		legacy sweep.Class // of a legacy key alone
		target sweep.Class // of a target key alone
		both   sweep.Class // of two that are equal
	}{
		{"things", phase.Legacy, "", sweep.Orphan, ""},
		{"things", phase.Guard, "", sweep.Orphan, ""},
		{"things", phase.Dual, sweep.Missing, sweep.Orphan, ""},
		{"things", phase.Settled, sweep.Missing, sweep.Orphan, ""},
		{"things", phase.Drain, sweep.Missing, "", ""},
		{"things", phase.Sealed, sweep.Missing, "", ""},
		{"things", phase.Prefixed, sweep.Missing, "", ""},
		{"limits", phase.Legacy, "", sweep.Orphan, sweep.Double},
		{"limits", phase.Hold, "", "", sweep.Double},
		{"limits", phase.Move, "", "", sweep.Double},
		{"limits", phase.Prefixed, sweep.Missing, "", sweep.Double},
	} {
		t.Run(c.rule+"/"+c.phase.String(), func(t *testing.T) {
			client := redistest.Shared(t).Client()
			prefix := map[string]string{"things": "thing:", "limits": "limit:"}[c.rule]
			for _, name := range []string{prefix + "l", target(prefix + "p"), prefix + "b", target(prefix + "b")} {
				do(t, client, "SET", name, "v")
			}
			want := make(map[sweep.Class]int64)
			for _, class := range []sweep.Class{c.legacy, c.target, c.both} {
				if class != "" {
					want[class]++
				}
			}
			r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: c.rule, Kind: sweep.Verify, Phase: c.phase})
			if !maps.Equal(r.Problems, want) {
				t.Errorf("got %v, want %v", r.Problems, want)
			}
		})
	}
}

// TestVerifyOfKeysThatExpireMeanwhile: both names expire in the middle, and a key that is on its way out is no difference.
func TestVerifyOfKeysThatExpireMeanwhile(t *testing.T) {
	client := redistest.Shared(t).Client()
	soon := time.Now().Add(150 * time.Millisecond).UnixMilli()
	script := `for i = 0, 2999 do for _, p in ipairs(ARGV) do redis.call('SET', p .. i, 'v', 'PXAT', KEYS[1] + math.floor(i / 20)) end end`
	do(t, client, "EVAL", script, 1, soon, "thing:", target("thing:"))
	for client.Exists(t.Context(), "thing:2999").Val() == 1 {
		r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: phase.Dual, Page: 20})
		if r.Found() != 0 {
			t.Fatalf("got %v: %+v", r.Problems, r.Examples)
		}
	}
}

func TestVerifyTolerance(t *testing.T) {
	client := redistest.Shared(t).Client()
	do(t, client, "SET", "thing:1", "v", "PXAT", 4102444800000)
	do(t, client, "SET", target("thing:1"), "v", "PXAT", 4102444800005)
	for tolerance, want := range map[time.Duration]int64{0: 1, 4 * time.Millisecond: 1, 5 * time.Millisecond: 0} {
		r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: phase.Dual, TTLTolerance: tolerance})
		if got := r.Problems[sweep.TTL]; got != want {
			t.Errorf("tolerance %v: got %d differences, want %d", tolerance, got, want)
		}
	}
}

// TestVerifyOnAServerThatTellsLess: no expiry times (before 7.0), no DUMP, no MEMORY.
func TestVerifyOnAServerThatTellsLess(t *testing.T) {
	client := redistest.Shared(t, redistest.WithConfig(
		`rename-command PEXPIRETIME ""`, `rename-command DUMP ""`, `rename-command MEMORY ""`)).Client()
	for _, kind := range slices.Sorted(maps.Keys(writers)) {
		write(t, client, kind, "thing:"+kind)
		do(t, client, "COPY", "thing:"+kind, target("thing:"+kind))
	}
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: phase.Dual}
	r := run(t, o)
	if r.Found() != 0 || !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "compared to 20 ms") }) {
		t.Errorf("got %+v, notes %q", r.Examples, r.Notes)
	}
	do(t, client, "SREM", target("thing:hashtable"), "element-5")
	do(t, client, "PERSIST", target("thing:expiring"))
	if r = run(t, o); !maps.Equal(r.Problems, map[sweep.Class]int64{sweep.Value: 1, sweep.TTL: 1}) {
		t.Errorf("got %v, want one of value and one of ttl", r.Problems)
	}
}

// TestVerifySeesTTLsOfFields: two hashes that differ in nothing but when a field expires.
func TestVerifySeesTTLsOfFields(t *testing.T) {
	server := redistest.Shared(t)
	client := server.Client()
	if server.IsValkey() || !server.AtLeast(7, 4) {
		// The server has no such thing; that verify does not ask for it there is what the other tests show.
		return
	}
	for _, n := range []int{2, 40_000} {
		do(t, client, many("HSET", "thing:h", n)...)
		do(t, client, "HPEXPIREAT", "thing:h", 4102444800000, "FIELDS", 1, "element-0")
		do(t, client, "COPY", "thing:h", target("thing:h"), "REPLACE")
		o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: phase.Dual}
		if r := run(t, o); r.Found() != 0 {
			t.Errorf("%d fields: got %+v", n, r.Examples)
		}
		do(t, client, "HPEXPIREAT", target("thing:h"), 4102444800001, "FIELDS", 1, "element-0")
		if r := run(t, o); r.Problems[sweep.Value] != 1 {
			t.Errorf("%d fields: got %v, want one of value", n, r.Problems)
		}
	}
}

// TestVerifyTakesNoExpiredFieldForOne: a server removes fields some time after they have expired, from each of the two names at
// its own moment, and counts them until then (HLEN, EXISTS).
func TestVerifyTakesNoExpiredFieldForOne(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	if server.IsValkey() || !server.AtLeast(7, 4) {
		return // as above
	}
	do(t, client, "DEBUG", "SET-ACTIVE-EXPIRE", 0) // they stay until the test is over
	expire := func(name string, fields ...any) {
		do(t, client, append([]any{"HPEXPIRE", name, 1, "FIELDS", len(fields)}, fields...)...)
		until := client.Time(t.Context()).Val().Add(2 * time.Millisecond)
		redistest.WaitFor(t, 10*time.Second, func() bool { return client.Time(t.Context()).Val().After(until) }) // to ask for it would remove it
	}
	for _, n := range []int{4, 40_000} {
		name := fmt.Sprintf("thing:equal-%d", n)
		do(t, client, many("HSET", name, n)...)
		expire(name, "element-0")
		do(t, client, "COPY", name, target(name))
		do(t, client, "HGET", target(name), "element-0") // removes it there
		if a, b := client.HLen(t.Context(), name).Val(), client.HLen(t.Context(), target(name)).Val(); a != b+1 {
			t.Fatalf("HLEN is %d and %d: the test shows nothing", a, b)
		}

		name = fmt.Sprintf("thing:differ-%d", n) // HLEN is the same, and one has a field that the other lacks
		do(t, client, many("HSET", name, n)...)
		do(t, client, "COPY", name, target(name))
		do(t, client, "HDEL", name, "element-0")
		do(t, client, "HSET", name, "extra", "v")
		expire(name, "extra")
	}
	for _, name := range []string{"thing:dead", target("thing:dead-target")} { // a key without a field is none
		do(t, client, "HSET", name, "f", "v")
		expire(name, "f")
	}
	r := run(t, sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: phase.Dual})
	var got []string
	for _, e := range r.Examples {
		got = append(got, e.Legacy+" "+string(e.Class))
	}
	slices.Sort(got)
	if want := []string{"thing:differ-4 value", "thing:differ-40000 value"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestSampleSaysHowMuchMayDiffer, and proves no gate.
func TestSampleSaysHowMuchMayDiffer(t *testing.T) {
	client := redistest.Shared(t).Client()
	seedKeys(t, client, "thing:", 4000)
	seedKeys(t, client, target("thing:"), 4000)
	o := sweep.Options{Client: client, Plan: parse(t, testPlan), Rule: "things", Kind: sweep.Verify, Phase: phase.Dual, Sample: 0.25}
	r := run(t, o)
	if s := r.Sample; s == nil || s.Compared < 700 || s.Compared > 1300 || s.Differ != 0 || s.AtMost < 0.0022 || s.AtMost > 0.0044 {
		t.Errorf("got %+v", r.Sample)
	}
	mustNotHold(t, r, phase.Verified, "a sample says nothing")
	for i := range 400 {
		do(t, client, "SET", target(fmt.Sprintf("thing:%d", i+1)), "another")
	}
	o.Sample = 2000 // of 8000 names
	if r = run(t, o); r.Sample.Rate < 0.24 || r.Sample.Rate > 0.25 || r.Sample.Differ == 0 || r.Sample.AtMost < 0.1*0.9 || r.Sample.AtMost > 0.2 {
		t.Errorf("one of ten differs, got %+v", r.Sample)
	}

	o.Sample, o.Repair, o.Execute = 0, true, true
	r = run(t, o)
	if r.Changed != 400 || len(r.Repairs) != sweep.DefaultExamples || r.Repairs[0].Class != sweep.Value || !strings.Contains(r.Repairs[0].Detail, "made anew") {
		t.Errorf("got %d repaired, %+v", r.Changed, r.Repairs)
	}
	o.Repair = false
	mustHold(t, run(t, o), phase.Verified)
}
