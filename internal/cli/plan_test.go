package cli

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// normalise takes out of a screen what differs between servers and runs: the address, the version,
// and sizes in memory.
func normalise(s *redistest.Server, text string) string {
	text = strings.ReplaceAll(text, s.Addr(), "ADDR")
	text = regexp.MustCompile(`(redis|valkey) \d+\.\d+\.\d+`).ReplaceAllString(text, "SERVER VERSION")
	text = regexp.MustCompile(` *~?\d+(\.\d)? ([KMGT]i)?B`).ReplaceAllString(text, " SIZE")
	// Redis 8 brings modules of its own.
	return regexp.MustCompile(`(?m)^modules .*\n`).ReplaceAllString(text, "")
}

// fillServer makes a database with a thousand keys of two rules.
func fillServer(t *testing.T, s *redistest.Server) {
	t.Helper()
	c := s.Client()
	pipe := c.Pipeline()
	for i := range 600 {
		pipe.Set(t.Context(), "secure_session:"+strconv.Itoa(i), strings.Repeat("x", 200), 0)
	}
	for i := range 400 {
		pipe.Set(t.Context(), "rl:auth:10.0.0."+strconv.Itoa(i), i, 0)
	}
	pipe.HSet(t.Context(), "secure_session:hash", "f", "v")
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestPlanScreens(t *testing.T) {
	path := planFile(t, cliPlan)
	for _, c := range []struct {
		name    string
		prepare [][]any
		config  [2]string
		fill    bool
		args    []string
		code    int
	}{
		{name: "empty", code: exitDone},
		{name: "full", fill: true, args: []string{"--user", "default"}, code: exitDone},
		{name: "leftovers", fill: true, prepare: [][]any{{"SET", "cw:prod:secure_session:1", "old"}}, code: exitDone},
		{name: "other-environment", fill: true, code: exitDone,
			prepare: [][]any{{"SET", "cw:staging:secure_session:1", "x"}, {"HSET", "cw:staging:rekey:phase", "sessions", "{}"}, {"SET", "cw:staging:other", "x"}}},
		{name: "evicts", config: [2]string{"maxmemory-policy", "allkeys-lru"}, code: exitDone},
		{name: "no-room", fill: true, config: [2]string{"maxmemory", "1"}, code: exitFailed},
		{name: "rights", code: exitFailed, args: []string{"--user", "app"},
			prepare: [][]any{{"ACL", "SETUSER", "app", "on", ">x", "-@all", "+get", "+set", "+multi", "+exec", "~secure_session:*", "~rl:*", "~cw:prod:rl:*"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := redistest.Shared(t)
			if c.fill {
				fillServer(t, s)
			}
			for _, words := range c.prepare {
				if err := s.Client().Do(t.Context(), words...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			if c.config[0] != "" {
				if err := s.Client().ConfigSet(t.Context(), c.config[0], c.config[1]).Err(); err != nil {
					t.Fatal(err)
				}
			}
			args := append([]string{"plan", "-f", path, "--redis", s.URL()}, c.args...)
			run := mustExit(t, c.code, runCLI(t, nil, args...))
			screen := strings.ReplaceAll(normalise(s, run.stdout), path, "rekey.yaml")
			if c.name != "rights" || !s.IsValkey() && !s.AtLeast(7, 2) { // later ones need three rights less
				golden(t, "plan/"+c.name+".txt", screen)
			}
			if lines := strings.Split(strings.TrimSpace(run.stdout), "\n"); !strings.HasPrefix(lines[len(lines)-1], "Next: ") {
				t.Errorf("the screen ends with %q, want the next command", lines[len(lines)-1])
			}
			o := objects(t, mustExit(t, c.code, runCLI(t, nil, append(args, "--json")...)).stdout)
			if len(o) != 1 {
				t.Fatalf("%d objects, want 1", len(o))
			}
			for _, field := range []string{"plan", "environment", "databases", "server", "keys", "mirror_bytes", "findings", "next"} {
				if _, ok := o[0][field]; !ok {
					t.Errorf("JSON lacks %q", field)
				}
			}
		})
	}
}

// A part of the keys is projected to the whole; --full looks at all of them.
func TestPlanOfAPart(t *testing.T) {
	s := redistest.Shared(t)
	c := s.Client()
	pipe := c.Pipeline()
	for i := range 20_000 {
		pipe.Set(t.Context(), fmt.Sprintf("secure_session:%d", i), "x", 0)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	args := []string{"plan", "-f", planFile(t, cliPlan), "--redis", s.URL(), "--json", "--max-keys", "5000"}
	report := objects(t, mustExit(t, exitDone, runCLI(t, nil, args...)).stdout)[0]
	keys := report["keys"].(map[string]any)
	// All keys are alike, so the projection is good to a few of a hundred, and says so.
	whole := objects(t, mustExit(t, exitDone, runCLI(t, nil, append(args, "--full")...)).stdout)[0]
	about, exact, off := report["mirror_bytes"].(float64), whole["mirror_bytes"].(float64), report["mirror_error"].(float64)
	if whole["mirror_error"] != 0.0 || off > exact/10 || about < exact*0.9 || about > exact*1.1 {
		t.Errorf("second copies will take %v ± %v of a part, %v of all", about, off, exact)
	}
	if looked := keys["looked_at"].(float64); keys["whole"] != false || looked < 5000 || looked > 7500 {
		t.Errorf("looked at %v, whole %v; want 5000 or a page more", looked, keys["whole"])
	}
	keys = objects(t, mustExit(t, exitDone, runCLI(t, nil, append(args, "--full")...)).stdout)[0]["keys"].(map[string]any)
	if looked := keys["looked_at"].(float64); keys["whole"] != true || looked < 20_000 {
		t.Errorf("looked at %v, whole %v; want all", looked, keys["whole"])
	}
}

// The rights that --acl prints are those that --user misses, and nothing more is missed with them.
func TestPlanChecksWhatItPrints(t *testing.T) {
	s := redistest.Shared(t)
	if !s.IsValkey() && !s.AtLeast(7, 0) {
		t.Fatal("ACL DRYRUN came with 7.0")
	}
	path := planFile(t, cliPlan)
	var line string
	for _, o := range objects(t, mustExit(t, exitDone, runCLI(t, nil, "plan", "-f", path, "--acl", "--user", "app", "--json")).stdout) {
		if o["phase"] == "all" {
			line = o["line"].(string)
		}
	}
	words := strings.Fields(line)
	apply := func(words []string) {
		t.Helper()
		args := []any{"ACL", "SETUSER", "app", "on", ">x", "reset", "on", "+get"}
		for _, w := range words[3:] {
			args = append(args, w)
		}
		if err := s.Client().Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	check := []string{"plan", "-f", path, "--redis", s.URL(), "--user", "app"}
	apply(words)
	mustExit(t, exitDone, runCLI(t, nil, check...))
	for i := 3; i < len(words); i++ {
		without := append(append([]string{}, words[:i]...), words[i+1:]...)
		right := words[i]
		if notNeededFrom72(right) && (s.IsValkey() || s.AtLeast(7, 2)) {
			continue
		}
		apply(without)
		run := mustExit(t, exitFailed, runCLI(t, nil, check...))
		if !strings.Contains(run.stdout, right) {
			t.Errorf("without %s the plan says\n%s", right, run.stdout)
		}
	}
}

// notNeededFrom72 says that later servers do without a right.
func notNeededFrom72(word string) bool {
	for _, r := range rights {
		if "+"+r.word == word {
			return r.before72
		}
	}
	return false
}

func TestPlanOfAServer(t *testing.T) {
	const plain = "redis_version:7.0.15\r\nredis_mode:standalone\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n"
	for _, c := range []struct {
		name, info string
		level      string // of the first finding; "" none
		text       string
	}{
		{"plain", plain, "", ""},
		{"cluster", strings.Replace(plain, "standalone", "cluster", 1), "error", "a cluster is not supported yet: name a single server or a Sentinel group"},
		{"no COPY", strings.Replace(plain, "7.0.15", "6.0.16", 1), "error", "redis 6.0.16 has no COPY"},
		{"just COPY", strings.Replace(plain, "7.0.15", "6.2.0", 1), "", ""},
		{"a Valkey", strings.Replace(plain, "7.0.15", "7.2.4", 1) + "valkey_version:8.0.1\r\n", "", ""},
		{"replica", strings.Replace(plain, "master", "slave", 1), "error", "this server is a replica"},
		{"evicts all", strings.Replace(plain, "noeviction", "allkeys-lfu", 1), "warning", "any key may be evicted"},
		{"evicts some", strings.Replace(plain, "noeviction", "volatile-ttl", 1), "warning", "keys with a TTL may be evicted"},
		{"says nothing", "", "warning", "does not say its eviction policy"},
	} {
		r := &planReport{Server: readInfo(c.info, "redis://x")}
		r.judgeServer()
		switch {
		case c.level == "" && len(r.Findings) > 0:
			t.Errorf("%s: got %v, want nothing", c.name, r.Findings)
		case c.level != "" && (len(r.Findings) != 1 || r.Findings[0].Level != c.level || !strings.Contains(r.Findings[0].Text, c.text)):
			t.Errorf("%s: got %v, want %s %q", c.name, r.Findings, c.level, c.text)
		}
	}
	modules := readInfo("# Modules\r\nmodule:name=bf,ver=20400,api=1\r\nmodule:name=ReJSON,ver=20609\r\n", "").Modules
	if got, want := fmt.Sprint(modules), "[bf ReJSON]"; got != want {
		t.Errorf("modules %s, want %s", got, want)
	}
}

// Types of modules cannot be mirrored for sure; a rule that moves does not mind.
func TestPlanOfModuleTypes(t *testing.T) {
	for _, c := range []struct {
		strategy phase.Strategy
		want     int
	}{{phase.Mirror, 1}, {phase.Relocate, 0}} {
		r := ruleReport{Strategy: c.strategy.String(), Types: map[string]int64{"string": 1, "ReJSON-RL": 2}}
		if got := r.uncopyable(); len(got) != c.want {
			t.Errorf("%s: got %v, want %d types", c.strategy, got, c.want)
		}
	}
}

// A key whose copy would stall the server is found before it does, and the strategy that never copies is proposed; a rule
// that has it already says nothing.
func TestPlanNamesBigKeys(t *testing.T) {
	s := redistest.Shared(t)
	fillServer(t, s)
	c := s.Client()
	const members = 200_000
	pipe := c.Pipeline()
	for i := 0; i < members; i += 1000 {
		batch := make([]any, 0, 1000)
		for j := range 1000 {
			batch = append(batch, "member:"+strconv.Itoa(i+j))
		}
		pipe.SAdd(t.Context(), "secure_session:big", batch...)
	}
	pipe.Copy(t.Context(), "secure_session:big", "rl:auth:big", 0, false)
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	args := []string{"plan", "-f", planFile(t, cliPlan), "--redis", s.URL()}
	run := mustExit(t, exitDone, runCLI(t, nil, args...))
	for _, want := range []string{`rule "sessions" has 1 big key: the biggest, a set of 200000 elements and `, "Try: strategy: move in rule sessions"} {
		if !strings.Contains(run.stdout, want) {
			t.Errorf("%q is not in\n%s", want, run.stdout)
		}
	}
	if strings.Contains(run.stdout, `rule "limits" has`) || strings.Contains(run.stdout, "secure_session:big") {
		t.Errorf("got\n%s", run.stdout)
	}
	o := objects(t, mustExit(t, exitDone, runCLI(t, nil, append(args, "--json")...)).stdout)[0]
	rules := o["keys"].(map[string]any)["rules"].([]any)
	big := rules[0].(map[string]any)["big_keys"].([]any)
	if stall := big[0].(map[string]any)["copy_stall_seconds"].(float64); len(big) != 1 || stall < 0.05 || stall > 0.5 {
		t.Errorf("big keys %v", big)
	}
	copies := rules[0].(map[string]any)["copies"].(map[string]any)
	if copies["keys"] != 602.0 || copies["bytes"].(float64) < 5e6 || o["mirror_bytes"] != copies["bytes"] || o["mirror_error"] != 0.0 {
		t.Errorf("copies %v, mirror %v ± %v", copies, o["mirror_bytes"], o["mirror_error"])
	}
}

// A walk that needs a command which the server does not have would stop in dual, where every read is sent twice.
func TestPlanOfAServerWithoutCommands(t *testing.T) {
	server := redistest.Start(t, redistest.WithConfig(`rename-command COPY XCOPY`, `rename-command EVALSHA ""`))
	run := mustExit(t, exitFailed, runCLI(t, nil, "plan", "-f", planFile(t, cliPlan), "--redis", server.URL()))
	for _, want := range []string{"the server has no EVALSHA, COPY, which a walk needs", "rename-command"} {
		if !strings.Contains(run.stdout, want) {
			t.Errorf("no %q in\n%s", want, run.stdout)
		}
	}
}
