package sweep_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		os.Exit(sweepAsChild(text)) // a process that a test kills
	}
	if os.Getenv("RAPID_CHECKS") == "" {
		_ = flag.Set("rapid.checks", "2") // of each sweep beside writers; what the command line says comes after
	}
	redistest.Main(m)
}

// testPlan has a mirror rule, a move rule and one that no sweep of a test is about.
const testPlan = `
version: 1
environment: test
rules:
  - {name: things, legacy: "thing:{id...}", target: "cw:{env}:thing:{id...}", strategy: mirror}
  - {name: limits, legacy: "limit:{id...}", target: "cw:{env}:limit:{id...}", strategy: move}
  - {name: bystanders, legacy: "bystander:{id}", target: "cw:{env}:bystander:{id}"}
`

func parse(t testing.TB, text string) *plan.Plan {
	t.Helper()
	p, err := plan.Parse("rekey.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run makes a sweep that must come to its end.
func run(t testing.TB, o sweep.Options) sweep.Result {
	t.Helper()
	result, err := sweep.Run(t.Context(), o)
	if err != nil {
		t.Fatalf("%v in %v: %v", o.Kind, o.Phase, err)
	}
	return result
}

func mustHold(t testing.TB, r sweep.Result, g phase.Gate) {
	t.Helper()
	if ok, reason := r.Verdict.Holds(g); !ok {
		t.Errorf("gate %v does not hold: %s", g, reason)
	}
	if !r.Stored {
		t.Error("the verdict was not stored")
	}
}

func mustNotHold(t testing.TB, r sweep.Result, g phase.Gate, reason string) {
	t.Helper()
	switch ok, got := r.Verdict.Holds(g); {
	case ok:
		t.Errorf("gate %v holds", g)
	case !strings.Contains(got, reason):
		t.Errorf("gate %v: got reason %q, want %q in it", g, got, reason)
	}
}

// hostile are names' variable parts as nobody would write them.
var hostile = []string{
	"1", "with space", "new\nline", "nul\x00byte", "{brace}", "}{", "{}x", "gl*b?[a-z]\\", "\xff\xfe invalid", "a:b:c", "*", "[", "-1", "thing:2",
}

// writers make a value of each type under a name.
var writers = map[string]func(name string) [][]any{
	"string":     func(n string) [][]any { return [][]any{{"SET", n, "value"}} },
	"number":     func(n string) [][]any { return [][]any{{"SET", n, 12}, {"INCR", n}} },
	"list":       func(n string) [][]any { return [][]any{{"RPUSH", n, "a", "b", "c", "a"}} },
	"set":        func(n string) [][]any { return [][]any{{"SADD", n, "x", "y", "z"}} },
	"intset":     func(n string) [][]any { return [][]any{{"SADD", n, 3, 1, 2}} },
	"hash":       func(n string) [][]any { return [][]any{{"HSET", n, "f", "1", "g", "2"}} },
	"zset":       func(n string) [][]any { return [][]any{{"ZADD", n, 1, "a", "-inf", "b", 2.5, "c"}} },
	"hashtable":  func(n string) [][]any { return [][]any{many("SADD", n, 200)} },
	"bighash":    func(n string) [][]any { return [][]any{many("HSET", n, 1030)} },
	"skiplist":   func(n string) [][]any { return [][]any{manyScores(n, 150)} },
	"quicklist":  func(n string) [][]any { return [][]any{many("RPUSH", n, 1200)} },
	"expiring":   func(n string) [][]any { return [][]any{{"SET", n, "soon", "PXAT", 4102444800123}} },
	"expiringzs": func(n string) [][]any { return [][]any{{"ZADD", n, 1, "a"}, {"PEXPIREAT", n, 4102444800456}} },
	"stream": func(n string) [][]any {
		return [][]any{
			{"XADD", n, "1-1", "f", "v"}, {"XADD", n, "2-1", "f", "w"}, {"XADD", n, "3-1", "f", "x"}, {"XDEL", n, "1-1"},
			{"XGROUP", "CREATE", n, "g", "0"}, {"XREADGROUP", "GROUP", "g", "c1", "COUNT", 1, "STREAMS", n, ">"}, {"XGROUP", "CREATECONSUMER", n, "g", "idle"},
		}
	},
}

func many(word, name string, n int) []any {
	out := []any{word, name}
	for i := range n {
		out = append(out, fmt.Sprintf("element-%d", i))
	}
	return out
}

func manyScores(name string, n int) []any {
	out := []any{"ZADD", name}
	for i := range n {
		out = append(out, i, fmt.Sprintf("member-%d", i))
	}
	return out
}

// fill writes one key for each type and each hostile name, all under prefix, and returns the names.
func fill(t testing.TB, c *redis.Client, prefix string) []string {
	t.Helper()
	var names []string
	for _, id := range hostile {
		names = append(names, prefix+id)
		do(t, c, "SET", prefix+id, "value of "+id)
	}
	for _, kind := range slices.Sorted(maps.Keys(writers)) {
		names = append(names, prefix+"type:"+kind)
		write(t, c, kind, prefix+"type:"+kind)
	}
	return names
}

func write(t testing.TB, c *redis.Client, kind, name string) {
	t.Helper()
	for _, words := range writers[kind](name) {
		do(t, c, words...)
	}
}

func do(t testing.TB, c *redis.Client, words ...any) any {
	t.Helper()
	v, err := c.Do(context.WithoutCancel(t.Context()), words...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatalf("%q: %v", words, err)
	}
	return v
}

// keyspace is every key of the client's database with its bytes and expiry, but for rekey's own.
func keyspace(t testing.TB, c *redis.Client) map[string]string {
	t.Helper()
	out := make(map[string]string)
	names, err := c.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasPrefix(name, "rekey:test:sweep:") {
			out[name] = contents(t, c, name)
		}
	}
	return out
}

// contents is a key's type, expiry, and value in an order of its own: an oracle that shares no code with verify.
func contents(t testing.TB, c *redis.Client, name string) string {
	t.Helper()
	kind := do(t, c, "TYPE", name).(string)
	var value any
	switch kind {
	case "set":
		members, err := c.SMembers(t.Context(), name).Result()
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(members)
		value = members
	case "hash":
		value = c.HGetAll(t.Context(), name).Val()
	case "zset":
		value = c.ZRangeWithScores(t.Context(), name, 0, -1).Val()
	case "list":
		value = c.LRange(t.Context(), name, 0, -1).Val()
	case "stream":
		groups := c.XInfoGroups(t.Context(), name).Val()
		var pending []string
		for _, g := range groups {
			pending = append(pending, pendingOf(do(t, c, "XPENDING", name, g.Name, "-", "+", 9))...)
		}
		value = []any{c.XRange(t.Context(), name, "-", "+").Val(), pending, groups}
	case "string":
		value = c.Get(t.Context(), name).Val()
	}
	return fmt.Sprintf("%s %d %+v", kind, do(t, c, "PEXPIRETIME", name), value)
}

// pendingOf leaves the milliseconds since delivery out, which move on.
func pendingOf(answer any) (out []string) {
	for _, entry := range answer.([]any) {
		e := entry.([]any)
		out = append(out, fmt.Sprint(e[0], e[1], e[3]))
	}
	return out
}

// noise is keys that no sweep of rules things and limits may touch: other rules', nobody's, rekey's own, and names that
// look like targets.
func noise(t testing.TB, c *redis.Client) map[string]string {
	t.Helper()
	before := keyspace(t, c)
	fill(t, c, "bystander:x")
	for _, name := range []string{
		"thing", "thing:", "limit:", "athing:1", "cw:test:thing:", "cw:prod:thing:1", "cw:test:bystander:1", "xcw:test:thing:1", "Thing:1",
		"rekey:test:fleet", "rekey:test:phase", "rekey:test:conns:thing:1", "rekey:prod:fleet", "rekey:test:",
	} {
		do(t, c, "SET", name, "noise")
	}
	after := keyspace(t, c)
	maps.DeleteFunc(after, func(name, _ string) bool { _, ok := before[name]; return ok })
	return after
}

func untouched(t testing.TB, c *redis.Client, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := contents(t, c, name); got != value {
			t.Errorf("%q was touched: got %.80q, want %.80q", name, got, value)
		}
	}
}

func target(legacy string) string { return "cw:test:" + legacy }
