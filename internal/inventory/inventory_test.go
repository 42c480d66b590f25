package inventory_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/classwaves/rekey/internal/inventory"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/shape"
	"github.com/classwaves/rekey/plan"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func noEnv(string) (string, bool) { return "", false }

// take takes an inventory of database 0.
func take(t testing.TB, c *redis.Client, change ...func(*inventory.Options)) *inventory.Report {
	t.Helper()
	o := inventory.Options{Client: func(int) *redis.Client { return c }, Databases: []int{0}, Biggest: 10}
	for _, f := range change {
		f(&o)
	}
	r, err := inventory.Take(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// send runs commands in batches.
func send(t testing.TB, c *redis.Client, commands [][]any) {
	t.Helper()
	for batch := range slices.Chunk(commands, 5000) {
		pipe := c.Pipeline()
		for _, words := range batch {
			pipe.Do(t.Context(), words...)
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func templates(r *inventory.Report) []string {
	var out []string
	for _, s := range r.Shapes {
		out = append(out, s.Template)
	}
	slices.Sort(out)
	return out
}

// The eleven kinds of keys of a classroom backend, thirty thousand of them, give their templates back.
func TestClassroomKeys(t *testing.T) {
	s := redistest.Shared(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	id := func() string { // a session's id
		return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", random.Uint32(), random.Uint32()>>16, random.Uint32()>>20, random.Uint32()>>20, random.Uint64()>>16)
	}
	code := func() string {
		const alphabet = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
		b := make([]byte, 6)
		for i := range b {
			b[i] = alphabet[random.IntN(len(alphabet))]
		}
		return string(b)
	}
	kinds := []string{"session-list", "session-detail", "teacher-analytics", "session-analytics", "group-status", "dashboard-metrics",
		"roster", "grades", "attendance", "calendar", "messages", "homework"}
	routes := []string{"general", "auth", "join", "create", "export", "upload", "search", "login", "logout", "ws", "analytics"}
	n := func(most int) string { return strconv.Itoa(random.IntN(most)) }
	make := map[string]func() string{
		"query_cache:{}:{...}": func() string {
			name := "query_cache:" + kinds[random.IntN(len(kinds))]
			for range 1 + random.IntN(4) {
				name += ":" + n(500)
			}
			return name
		},
		"tagver:{...}": func() string {
			name := "tagver"
			for range 1 + random.IntN(3) {
				name += ":" + n(30000)
			}
			return name
		},
		"analytics:session:{}":           func() string { return "analytics:session:" + id() },
		"analytics:group:{}":             func() string { return "analytics:group:" + id() },
		"analytics:teacher:{}:dashboard": func() string { return "analytics:teacher:" + n(1e6) + ":dashboard" },
		"rl:{}:{...}": func() string {
			if name := "rl:" + routes[random.IntN(len(routes))]; random.IntN(3) > 0 {
				return name + fmt.Sprintf(":10.%d.%d.%d", random.IntN(256), random.IntN(256), random.IntN(256))
			} else if random.IntN(2) > 0 {
				return name + fmt.Sprintf(":2001:%x:%x:%x", 0x1000+random.IntN(0xe000), random.IntN(10), random.IntN(10))
			} else {
				return name + ":" + n(1000) + ":" + n(1000)
			}
		},
		"secure_session:{}":      func() string { return "secure_session:" + id() },
		"teacher_sessions:{}":    func() string { return "teacher_sessions:" + n(1e6) },
		"session:{}:access_code": func() string { return "session:" + id() + ":access_code" },
		"access_code:{}":         func() string { return "access_code:" + code() },
		"csrf:{}":                func() string { return fmt.Sprintf("csrf:%016x%016x", random.Uint64(), random.Uint64()) },
	}
	const each = 3000
	var commands [][]any
	want := []string{}
	counted := map[string]int64{}
	names := map[string]bool{}
	for _, kind := range slices.Sorted(mapsKeys(make)) {
		want = append(want, kind)
		for range each {
			name := make[kind]()
			if names[name] {
				continue
			}
			names[name] = true
			counted[kind]++
			commands = append(commands, []any{"SET", name, "value", "EX", 3600 + random.IntN(3600)})
		}
	}
	send(t, s.Client(), commands)
	r := take(t, s.Client())
	var got []string
	for _, shape := range r.Shapes {
		kind := anonymous(shape.Template)
		got = append(got, kind)
		if shape.Keys != counted[kind] {
			t.Errorf("%s: %d keys, want %d", shape.Template, shape.Keys, counted[kind])
		}
		if shape.TTL == nil || shape.TTL.Min < 3_500_000 || shape.TTL.Max > 7_200_000 || shape.Forever > 0 || shape.Types["string"] != shape.Keys || !shape.Sized {
			t.Errorf("%s: %+v, TTL %+v", shape.Template, shape, shape.TTL)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !r.Whole || r.Looked < int64(len(names)) {
		t.Errorf("looked at %d of %d, whole %v", r.Looked, len(names), r.Whole)
	}

	// The plan that is written has a rule for each of them.
	text, err := r.Plan(inventory.Emission{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Parse("emitted", text, noEnv)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for name := range names {
		if rule, target := p.Names().Find([]byte(name)); rule < 0 || target {
			t.Fatalf("%q has rule %d, target %v", name, rule, target)
		}
	}
	again := take(t, s.Client(), func(o *inventory.Options) { o.Plan = p })
	if n := again.Covers()[inventory.Cover{Role: inventory.Uncovered}]; n > 0 {
		t.Errorf("%d keys have no rule of the emitted plan", n)
	}
}

// anonymous takes the names of variables out of a template.
func anonymous(template string) string {
	var b strings.Builder
	for rest := template; ; {
		before, after, ok := strings.Cut(rest, "{")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, _ := strings.Cut(after, "}")
		if b.WriteString("{"); strings.HasSuffix(name, "...") {
			b.WriteString("...")
		}
		b.WriteString("}")
		rest = after
	}
}

func mapsKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestOddNames(t *testing.T) {
	s := redistest.Shared(t)
	c := s.Client()
	if r := take(t, c); len(r.Shapes) != 0 || r.Looked != 0 || !r.Whole || len(r.Biggest) != 0 {
		t.Errorf("an empty keyspace: %+v", r)
	}
	if _, err := take(t, c).Plan(inventory.Emission{}); err == nil {
		t.Error("a plan was made of nothing")
	}
	send(t, c, [][]any{{"SET", "user:17", "x"}})
	if r := take(t, c); !slices.Equal(templates(r), []string{"user:{n}"}) || r.Shapes[0].Keys != 1 {
		t.Errorf("one key: %+v", r.Shapes)
	}
	long := strings.Repeat("line\n", 100)
	send(t, c, [][]any{{"SET", long, "x"}, {"SET", "bin:\xff\x00\xfe", "x"}, {"SET", "", "x"}, {"SET", "${HOME}:{a}", "x"}, {"SET", "with space", "x"}})
	r := take(t, c)
	if got := templates(r); len(got) != 6 || slices.ContainsFunc(got, func(s string) bool { return !utf8.ValidString(s) || strings.ContainsAny(s, "\n\x00") }) {
		t.Errorf("got %q", got)
	}
	text, err := r.Plan(inventory.Emission{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Parse("emitted", text, noEnv)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, name := range []string{"user:17", long, "bin:\xff\x00\xfe", "${HOME}:{a}", "with space"} {
		if rule, _ := p.Names().Find([]byte(name)); rule < 0 {
			t.Errorf("%q has no rule in\n%s", name, text)
		}
	}
}

// What one may only read is enough; what more would tell is named.
func TestReadOnlyUser(t *testing.T) {
	s := redistest.Shared(t)
	admin := s.Client()
	send(t, admin, [][]any{{"SET", "user:1", "x"}, {"SET", "user:2", "x", "EX", 100}, {"SADD", "tags", "a", "b"}, {"SET", "secret:1", "x"}})
	for _, c := range []struct {
		about   string
		rights  []any
		unknown []string // some words of each line
		sized   bool
		idle    bool
		types   bool
	}{
		{"read all", []any{"~*", "+@read"}, []string{"INFO"}, true, true, true},
		{"not MEMORY", []any{"~*", "+@read", "-memory"}, []string{"INFO", "MEMORY USAGE"}, false, true, true},
		{"not OBJECT", []any{"~*", "+@read", "-object"}, []string{"INFO", "OBJECT IDLETIME"}, true, false, true},
		{"SCAN alone", []any{"~*", "+scan"}, []string{"INFO", "DBSIZE", "TYPE", "PTTL", "OBJECT IDLETIME", "MEMORY USAGE"}, false, false, false},
		{"some keys", []any{"~user:*", "~tags", "+@read"}, []string{"INFO", "may not read them"}, true, true, true},
	} {
		t.Run(c.about, func(t *testing.T) {
			send(t, admin, [][]any{append([]any{"ACL", "SETUSER", "reader", "reset", "on", ">x"}, c.rights...)})
			reader := s.Client(func(o *redis.Options) { o.Username, o.Password = "reader", "x" })
			r := take(t, reader)
			if got := templates(r); !slices.Equal(got, []string{"secret:{n}", "tags", "user:{n}"}) || r.Looked != 4 {
				t.Errorf("got %q, %d names", got, r.Looked)
			}
			for _, shape := range r.Shapes {
				if shape.Template != "user:{n}" {
					continue
				}
				if shape.Sized != c.sized || (shape.Idle != nil) != c.idle || (shape.Types["string"] == 2) != c.types || (shape.TTL != nil) != c.types {
					t.Errorf("%+v", shape)
				}
			}
			for _, word := range c.unknown {
				if !slices.ContainsFunc(r.Unknown, func(text string) bool { return strings.Contains(text, word) }) {
					t.Errorf("%s is not named: %q", word, r.Unknown)
				}
			}
			if c.about == "some keys" && r.Refused != 1 {
				t.Errorf("%d keys refused, want 1", r.Refused)
			}
		})
	}
	nobody := s.Client(func(o *redis.Options) { o.Username, o.Password = "reader", "x" })
	send(t, admin, [][]any{{"ACL", "SETUSER", "reader", "reset", "on", ">x", "~*", "+get"}})
	_, err := inventory.Take(t.Context(), inventory.Options{Client: func(int) *redis.Client { return nobody }, Databases: []int{0}})
	if err == nil || !strings.HasPrefix(err.Error(), "rekey: SCAN") || !strings.HasSuffix(err.Error(), "; give its user +scan") {
		t.Errorf("got %v", err)
	}
}

func TestServerWithoutMemory(t *testing.T) {
	s := redistest.Start(t, redistest.WithConfig(`rename-command MEMORY ""`, "maxmemory-policy allkeys-lfu"))
	c := s.Client()
	var members []any
	for i := range 5000 {
		members = append(members, "member"+strconv.Itoa(i))
	}
	send(t, c, [][]any{append([]any{"SADD", "big:1"}, members...), {"SET", "small:1", "x"}, {"SET", "long:1", strings.Repeat("x", 1000)}})
	r := take(t, c)
	for _, word := range []string{"the server has no MEMORY USAGE", "LFU"} {
		if !slices.ContainsFunc(r.Unknown, func(text string) bool { return strings.Contains(text, word) }) {
			t.Errorf("%q is not among %q", word, r.Unknown)
		}
	}
	// Idle times are not kept, so counting elements resets none.
	i := slices.IndexFunc(r.Biggest, func(k inventory.Key) bool { return k.Template == "big:{n}" })
	if i < 0 || r.Biggest[i].Elements != 5000 || r.Biggest[i].Stall <= 0 {
		t.Errorf("the big key is not found: %+v", r.Biggest)
	}
}

// What the inventory reads does not count as used, so that cleanup is not fooled by it.
func TestIdleTimesStay(t *testing.T) {
	s := redistest.Shared(t)
	c := s.Client()
	send(t, c, [][]any{{"SET", "a:1", "x"}, {"SADD", "b:1", "x"}, {"HSET", "c:1", "f", "v"}, {"ZADD", "d:1", 1, "x"}, {"RPUSH", "e:1", "x"}, {"XADD", "f:1", "*", "f", "v"}})
	const idle = 5000
	var names []string
	for _, letter := range "abcdef" {
		name := string(letter) + ":1"
		dump := c.Dump(t.Context(), name).Val()
		send(t, c, [][]any{{"RESTORE", name, 0, dump, "REPLACE", "IDLETIME", idle}})
		names = append(names, name)
	}
	r := take(t, c)
	for _, shape := range r.Shapes {
		if shape.Idle == nil || shape.Idle.Min < idle {
			t.Errorf("%s: idle %+v, want %d", shape.Template, shape.Idle, idle)
		}
	}
	for _, name := range names {
		if got := c.Do(t.Context(), "OBJECT", "IDLETIME", name).Val().(int64); got < idle {
			t.Errorf("%s is idle for %d s after the inventory, was %d", name, got, idle)
		}
	}
	if len(r.Biggest) != len(names) {
		t.Errorf("%d keys listed", len(r.Biggest))
	}
}

// Who has which keys: rules on both sides, rekey itself, other environments, nobody.
func TestCovers(t *testing.T) {
	s := redistest.Shared(t)
	c := s.Client()
	p, err := plan.Parse("rekey.yaml", []byte(`{version: 1, environment: test, control_prefix: "cw:{env}:rekey:", rules: [{name: users, legacy: "user:{id}", target: "cw:{env}:user:{id}"}]}`), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	send(t, c, [][]any{{"SET", "user:1", 1}, {"SET", "user:2", 1}, {"SET", "cw:test:user:1", 1}, {"SET", "cw:staging:user:1", 1}, {"SET", "cw:test:rekey:gen", 1}, {"SET", "other:1", 1}})
	got := take(t, c, func(o *inventory.Options) { o.Plan = p }).Covers()
	want := map[inventory.Cover]int64{
		{Role: inventory.Legacy, Rule: "users"}: 2, {Role: inventory.Target, Rule: "users"}: 1, {Role: inventory.Own}: 1,
		{Role: inventory.Foreign, Environment: "staging"}: 1, {Role: inventory.Uncovered}: 1,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// The plan for what has no rule leaves the rest alone.
	text, err := take(t, c, func(o *inventory.Options) { o.Plan = p }).Plan(inventory.Emission{})
	if err != nil || !bytes.Contains(text, []byte(`"other:{n}"`)) || bytes.Contains(text, []byte("user")) {
		t.Errorf("%v\n%s", err, text)
	}
}

// Names of two rules may look like one shape. All of them have a rule.
func TestNothingToPlanForNamesOfTwoRules(t *testing.T) {
	r := inventory.Report{Shapes: []inventory.Shape{{Template: "cache:{name}:{id}", Keys: 2, Cover: []inventory.Covered{
		{Cover: inventory.Cover{Role: inventory.Legacy, Rule: "a"}, Keys: 1}, {Cover: inventory.Cover{Role: inventory.Legacy, Rule: "b"}, Keys: 1},
	}}}}
	if text, err := r.Plan(inventory.Emission{}); err == nil || !strings.Contains(err.Error(), "nothing to plan") {
		t.Errorf("%v\n%s", err, text)
	}
}

// Several databases are one inventory, and those that nobody asked for are named.
func TestDatabases(t *testing.T) {
	s := redistest.Shared(t)
	client := func(db int) *redis.Client { return s.Client(func(o *redis.Options) { o.DB = db }) }
	send(t, client(0), [][]any{{"SET", "a:1", "x"}})
	send(t, client(3), [][]any{{"SET", "a:1", "x"}, {"SET", "a:2", "x"}})
	send(t, client(5), [][]any{{"SET", "z", "x"}})
	r := take(t, client(0), func(o *inventory.Options) { o.Client, o.Databases = client, []int{0, 3} })
	if len(r.Shapes) != 1 || r.Shapes[0].Keys != 3 || len(r.Biggest) != 3 || fmt.Sprint(r.Elsewhere) != "map[5:1]" {
		t.Errorf("%+v, %v elsewhere", r.Shapes, r.Elsewhere)
	}
}

// A sample states an error that holds the truth, and a limit looks at a part.
func TestSample(t *testing.T) {
	s := redistest.Shared(t)
	c := s.Client()
	random := rand.New(rand.NewPCG(1, 2))
	var commands [][]any
	for i := range 8000 {
		commands = append(commands, []any{"SET", "k:" + strconv.Itoa(i), strings.Repeat("x", int(random.ExpFloat64()*300))})
	}
	send(t, c, commands)
	truth := take(t, c).Shapes[0]
	if truth.BytesError != 0 || truth.Bytes == 0 {
		t.Fatalf("%+v", truth)
	}
	within := 0
	for range 20 {
		r := take(t, c, func(o *inventory.Options) { o.Sample = 0.2 })
		got := r.Shapes[0]
		if got.Keys != truth.Keys || got.Described > 2500 || got.BytesError == 0 || got.BytesError > truth.Bytes/5 {
			t.Fatalf("%+v", got)
		}
		if got.Bytes-got.BytesError <= truth.Bytes && truth.Bytes <= got.Bytes+got.BytesError {
			within++
		}
	}
	if within < 14 { // 19 are expected; fewer than 14 of 20 happens once in 300,000 runs
		t.Errorf("the truth is within the error of %d of 20 samples", within)
	}
	r := take(t, c, func(o *inventory.Options) { o.Limit = 1000 })
	if r.Whole || r.Looked < 1000 || r.Looked > 2500 || r.Keys != 8000 {
		t.Errorf("looked at %d of %d, whole %v", r.Looked, r.Keys, r.Whole)
	}
	if r := take(t, c, func(o *inventory.Options) { o.Match = "k:1*" }); r.Shapes[0].Keys != 1111 {
		t.Errorf("%d keys match, want 1111", r.Shapes[0].Keys)
	}
}

// A plan is made of any names, loads, and has a rule for each.
func TestEmittedPlanCoversItsKeys(t *testing.T) {
	segment := rapid.OneOf(
		rapid.SampledFrom([]string{"user", "cart", "app", "keys", "production", "", "v2", "{tag}", "}", "${A}", "a/b", "env", "10.0.0.1", "\xff", "ü", "\n", " ", "user1", "rekey", `"`, `\`, "$", "#"}),
		rapid.Map(rapid.IntRange(0, 40), strconv.Itoa),
		rapid.StringN(0, 6, 8),
	)
	name := rapid.Map(rapid.SliceOfN(segment, 1, 5), func(s []string) string { return strings.Join(s, ":") })
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(name, 1, 30).Draw(t, "names")
		tree := shape.NewTree(func(into, from *int64) { *into += *from })
		for _, n := range names {
			*tree.Add([]byte(n))++
		}
		var r inventory.Report
		for _, s := range tree.Shapes(50, 0) {
			r.Shapes = append(r.Shapes, inventory.Shape{Template: s.Template, Keys: s.Sum})
		}
		text, err := r.Plan(inventory.Emission{})
		if err != nil {
			if len(strings.Join(names, "")) == 0 {
				return
			}
			t.Fatalf("%v", err)
		}
		p, err := plan.Parse("emitted", text, noEnv)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		for _, n := range names {
			rule, target := p.Names().Find([]byte(n))
			if n != "" && (rule < 0 || target) {
				t.Fatalf("%q has rule %d, target %v, in\n%s", n, rule, target, text)
			}
		}
	})
}

// A server that stops answering ends the inventory, and so does its context.
func TestTakeEnds(t *testing.T) {
	s := redistest.Shared(t)
	send(t, s.Client(), [][]any{{"SET", "a", "x"}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := inventory.Options{Client: func(int) *redis.Client { return s.Client() }, Databases: []int{0}}
	if _, err := inventory.Take(ctx, o); err == nil {
		t.Error("a context that is done does not end it")
	}
	if _, err := inventory.Take(t.Context(), inventory.Options{}); err == nil || !strings.HasPrefix(err.Error(), "rekey:") {
		t.Errorf("got %v", err)
	}
}
