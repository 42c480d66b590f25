package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

var update = flag.Bool("update", false, "write the golden files anew")

// cliRun is one command line that has ended.
type cliRun struct {
	code           int
	stdout, stderr string
}

// runCLI runs a command line in an environment that has nothing but env.
func runCLI(t testing.TB, env map[string]string, args ...string) cliRun {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env = maps.Clone(env)
	code := Run(t.Context(), args, strings.NewReader(""), &stdout, &stderr, func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	})
	return cliRun{code, stdout.String(), stderr.String()}
}

// mustExit checks the exit code and returns the run.
func mustExit(t testing.TB, want int, run cliRun) cliRun {
	t.Helper()
	if run.code != want {
		t.Fatalf("exit code %d, want %d\n%s%s", run.code, want, run.stdout, run.stderr)
	}
	return run
}

const cliPlan = `version: 1
environment: prod
control_prefix: "cw:{env}:rekey:"
rules:
  - {name: sessions, legacy: "secure_session:{id}", target: "cw:{env}:secure_session:{id}", strategy: mirror, flags: cache}
  - {name: limits, legacy: "rl:{name}:{subject...}", target: "cw:{env}:rl:{name}:{subject...}", strategy: move, flags: rl}
`

// planFile writes a plan and returns its path.
func planFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rekey.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test -update writes it", err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// objects reads JSON Lines.
func objects(t testing.TB, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(text) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		out = append(out, o)
	}
	return out
}

func TestHelp(t *testing.T) {
	root := newRoot(&app{})
	names := []string{""}
	for _, c := range root.Commands() {
		if !c.Hidden && c.Name() != "demo" && c.Name() != "completion" { // demo has its own; completion is cobra's
			names = append(names, c.Name())
		}
	}
	for _, name := range names {
		args := []string{"--help"}
		if name != "" {
			args = []string{name, "--help"}
		}
		run := mustExit(t, exitDone, runCLI(t, nil, args...))
		golden(t, "help/rekey"+strings.TrimSuffix("-"+name, "-")+".txt", run.stdout)
		if name == "" {
			continue
		}
		for _, want := range []string{"Examples:", "-f, --file", "--redis", "--env", "--json"} {
			if name != "version" && !strings.Contains(run.stdout, want) {
				t.Errorf("help of %s lacks %q", name, want)
			}
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if run := mustExit(t, exitDone, runCLI(t, nil, "completion", shell)); !strings.Contains(run.stdout, "rekey") {
			t.Errorf("completion %s: got %q", shell, run.stdout)
		}
	}
}

func TestVersion(t *testing.T) {
	if run := mustExit(t, exitDone, runCLI(t, nil, "version")); !strings.HasPrefix(run.stdout, "rekey ") {
		t.Errorf("got %q", run.stdout)
	}
	run := mustExit(t, exitDone, runCLI(t, nil, "version", "--json"))
	if o := objects(t, run.stdout); len(o) != 1 || o[0]["version"] == nil || o[0]["go"] == nil {
		t.Errorf("got %s", run.stdout)
	}
}

// A program that asked for JSON reads the error of a wrong command line too, wherever the fault stands in it.
func TestUsageErrorsAsJSON(t *testing.T) {
	for _, args := range [][]string{
		{"--json", "status", "--nosuch"}, {"status", "--nosuch", "--json"}, {"status", "--every", "x", "--json"}, {"status", "--nosuch", "--json=true"}, {"nosuch", "--json"},
	} {
		run := mustExit(t, exitUsage, runCLI(t, nil, args...))
		if !strings.HasPrefix(run.stderr, `{"type":"error","error":`) || strings.Count(run.stderr, "\n") != 1 {
			t.Errorf("rekey %s: got %q", strings.Join(args, " "), run.stderr)
		}
	}
	for _, args := range [][]string{{"status", "--nosuch"}, {"status", "--nosuch", "--json=false"}, {"status", "--nosuch", "--", "--json"}} {
		run := mustExit(t, exitUsage, runCLI(t, nil, args...))
		if !strings.HasPrefix(run.stderr, "rekey: ") {
			t.Errorf("rekey %s: got %q", strings.Join(args, " "), run.stderr)
		}
	}
}

// Every error ends with a line that says what to try, has its exit code, and prints no password.
func TestErrorsSayWhatToTry(t *testing.T) {
	server := redistest.Shared(t)
	path := planFile(t, cliPlan)
	noEnv := planFile(t, strings.Replace(cliPlan, "environment: prod\n", "", 1))
	overlap := planFile(t, cliPlan+"  - {name: all, legacy: \"secure_session:{a...}\", target: \"x:{a...}\"}\n")
	unknown := planFile(t, cliPlan+"colour: red\n")
	up := []string{"-f", path, "--redis", server.URL()}
	const secret = "hunter2"
	nowhere := filepath.Join(t.TempDir(), "none.sock")
	for _, c := range []struct {
		name   string
		args   []string
		env    map[string]string
		code   int
		stderr string // in the error
		try    string // in the last line
	}{
		{"unknown command", []string{"migrate"}, nil, 2, "unknown command", "--help"},
		{"unknown flag", []string{"plan", "--colour"}, nil, 2, "unknown flag", "rekey plan --help"},
		{"too many words", []string{"plan", "now"}, nil, 2, "now", "rekey plan --help"},
		{"no plan", []string{"plan", "-f", "nowhere.yaml"}, nil, 2, "nowhere.yaml", "-f FILE"},
		{"no environment", []string{"plan", "-f", noEnv}, map[string]string{"CW_ENV": "prod", "NODE_ENV": "prod"}, 2, "environment", "--env"},
		{"bad environment", []string{"plan", "-f", path, "--env", "a b"}, nil, 2, "environment", ""},
		{"overlapping rules", []string{"plan", "-f", overlap}, nil, 2, "for example key", ""},
		{"unknown key", []string{"plan", "-f", unknown}, nil, 2, "colour", ""},
		{"no server", []string{"plan", "-f", path}, nil, 2, "no server is named", "--redis"},
		{"a URL that is none", []string{"plan", "-f", path, "--redis", "http://" + secret + "@x"}, nil, 2, "--redis", "redis://"},
		{"an empty URL", []string{"plan", "-f", path, "--redis", ""}, nil, 2, "--redis is empty", "no --redis"},
		{"an empty environment", []string{"plan", "-f", path, "--env", ""}, nil, 2, "--env is empty", "no --env"},
		{"an empty path", []string{"status", "-f", ""}, nil, 2, "--file is empty", "no --file"},
		{"a URL in the environment", []string{"plan", "-f", path}, map[string]string{envRedisURL: "nonsense"}, 2, envRedisURL, "redis://"},
		{"a cluster's URL", []string{"plan", "-f", path, "--redis", "redis://a:1,b:2"}, nil, 2, "cluster is not supported yet", "redis://"},
		{"another database than the plan's", []string{"plan", "-f", path, "--redis", server.URL() + "/9"}, nil, 2, "names database 9", "databases: [9]"},
		{"another database than the plan's, for a proxy", []string{"proxy", "--check", "-f", path, "--redis", server.URL() + "/9"}, nil, 2, "names database 9", "databases: [9]"},
		{"another database in the environment", []string{"purge", "sessions", "--assume-phase", "legacy", "--execute", "-f", path}, map[string]string{envRedisURL: server.URL() + "/9"}, 2, envRedisURL + " names database 9", "databases: [9]"},
		{"server down", []string{"plan", "-f", path, "--redis", "redis://u:" + secret + "@127.0.0.1:1"}, nil, 1, "cannot be reached", "redis-cli"},
		{"wrong password", []string{"plan", "-f", path, "--redis", "redis://u:" + secret + "@" + server.Addr()}, nil, 1, "WRONGPASS", "USER:PASSWORD"},
		{"wrong password at a socket", []string{"plan", "-f", path, "--redis", "unix://u:" + secret + "@" + server.Socket() + "?db=0"}, nil, 1, "WRONGPASS", "--redis unix://USER:PASSWORD@" + server.Socket() + "?db=0"},
		{"wrong password at a database", []string{"plan", "-f", path, "--redis", "redis://u:" + secret + "@" + server.Addr() + "/0"}, nil, 1, "WRONGPASS", "--redis redis://USER:PASSWORD@" + server.Addr() + "/0"},
		{"no socket", []string{"plan", "-f", path, "--redis", "unix://" + nowhere}, nil, 1, "cannot be reached", "redis-cli -s " + nowhere + " ping"},
		{"no socket for a proxy", []string{"proxy", "--check", "--phases", "legacy", "-f", path, "--redis", "unix://" + nowhere}, nil, 1, "", "redis-cli -s " + nowhere + " ping"},
		{"no such user", append([]string{"plan", "--user", "nobody"}, up...), nil, 1, `no user "nobody"`, "rekey plan --acl --user nobody"},
		{"no keys to look at", append([]string{"plan", "--max-keys", "0"}, up...), nil, 2, "--max-keys", "--full"},
		{"no phase", []string{"flags", "--phase", "blue"}, nil, 2, "blue", "--table"},
		{"no set", []string{"flags", "--set", "blue"}, nil, 2, "blue", "--set cache"},
		{"a phase of another set", []string{"flags", "--set", "rl", "--phase", "dual"}, nil, 2, "dual", "--table"},
		{"flags that choose nothing", []string{"flags", "--check"}, map[string]string{phase.CachePrefixEnabled: "2"}, 2, phase.CachePrefixEnabled, "--table"},
		{"flags of another phase", []string{"flags", "--check", "--phase", "dual"}, nil, 1, "chooses phase legacy, not dual", "rekey flags --phase dual"},
		{"no rule", []string{"purge", "-f", path, "--assume-phase", "guard"}, nil, 2, "no rule is named", "sessions"},
		{"unknown rule", []string{"purge", "-f", path, "nosuch", "--assume-phase", "guard"}, nil, 2, "nosuch", "sessions"},
		{"rules and all", []string{"purge", "-f", path, "sessions", "--all", "--assume-phase", "guard"}, nil, 2, "--all", "--all"},
		{"no phase assumed", append([]string{"backfill", "sessions"}, up...), nil, 2, "no fleet", "--assume-phase dual"},
		{"unknown phase assumed", []string{"backfill", "-f", path, "sessions", "--assume-phase", "red"}, nil, 2, "red", "--assume-phase dual"},
		{"phase that is not safe", append([]string{"backfill", "sessions", "--assume-phase", "legacy"}, up...), nil, 2, "safe only", "--assume-phase dual"},
		{"sweep of another strategy", append([]string{"relocate", "sessions", "--assume-phase", "dual"}, up...), nil, 2, "nothing to do", "--all"},
		{"execute without repair", append([]string{"verify", "sessions", "--assume-phase", "dual", "--execute"}, up...), nil, 2, "--repair", "--repair --execute"},
		{"less than no keys in a second", append([]string{"verify", "sessions", "--assume-phase", "dual", "--rate", "-1"}, up...), nil, 2, "--rate -1", "--rate 1000"},
		{"keys in a second that are no number", append([]string{"verify", "sessions", "--assume-phase", "dual", "--rate", "NaN"}, up...), nil, 2, "--rate NaN", "--rate 1000"},
		{"a sleep without an end", append([]string{"verify", "sessions", "--assume-phase", "dual", "--nice", "Inf"}, up...), nil, 2, "--nice +Inf", "--nice 1"},
		{"a page of less than nothing", append([]string{"verify", "sessions", "--assume-phase", "dual", "--batch", "-1"}, up...), nil, 2, "--batch -1", "--batch 500"},
		{"a sample of less than nothing", append([]string{"verify", "sessions", "--assume-phase", "dual", "--sample", "-1"}, up...), nil, 2, "--sample -1", "--sample 0.01"},
		{"a wait of less than nothing", append([]string{"verify", "sessions", "--assume-phase", "dual", "--wait", "-1s"}, up...), nil, 2, "--wait -1s", "--wait 1m"},
		{"a tolerance of less than nothing", append([]string{"verify", "sessions", "--assume-phase", "dual", "--ttl-tolerance", "-1s"}, up...), nil, 2, "--ttl-tolerance -1s", "--ttl-tolerance 1s"},
		{"a stall of less than nothing", append([]string{"backfill", "sessions", "--assume-phase", "dual", "--big-stall", "-1s"}, up...), nil, 2, "--big-stall -1s", "--big-stall"},
		{"idle for less than nothing", append([]string{"cleanup", "sessions", "--assume-phase", "sealed", "--min-idle", "-1h"}, up...), nil, 2, "--min-idle -1h", "--min-idle 24h"},
		{"a trash for less than nothing", append([]string{"cleanup", "sessions", "--assume-phase", "sealed", "--trash", "-1h"}, up...), nil, 2, "--trash -1h", "--trash 24h"},
		{"undo into a trash", append([]string{"cleanup", "sessions", "--assume-phase", "sealed", "--undo", "--trash", "1h"}, up...), nil, 2, "--undo", "rekey cleanup --undo, without --trash"},
		{"undo of strays", append([]string{"cleanup", "sessions", "--assume-phase", "sealed", "--undo", "--remove-strays"}, up...), nil, 2, "--undo", "rekey cleanup --undo, without --remove-strays"},
		{"knob of less than nothing", append([]string{"knob", "sessions", "--rate", "-1"}, up...), nil, 2, "--rate -1", "--rate 1000"},
		{"knob without a page", append([]string{"knob", "sessions", "--batch", "0"}, up...), nil, 2, "--batch 0", "--batch 500"},
		{"an inventory's sample that is no number", []string{"inventory", "--sample", "NaN", "--redis", server.URL()}, nil, 2, "--sample NaN", "--sample 0.1"},
		{"completion for no shell", []string{"completion", "nosuch"}, nil, 2, "nosuch", "rekey completion bash"},
		{"completion for a shell and more", []string{"completion", "bash", "nosuch"}, nil, 2, "nosuch", "rekey completion bash"},
		{"big keys by no name", append([]string{"backfill", "sessions", "--assume-phase", "dual", "--big-keys", "red"}, up...), nil, 2, "red", "--big-keys skip"},
		{"adopt without a rule", []string{"adopt", "-f", path}, nil, 2, "arg", "rekey adopt --help"},
		{"adopt without reads", []string{"adopt", "-f", path, "sessions"}, nil, 2, "--reads", "--reads target"},
		{"adopt to a phase under way", []string{"adopt", "-f", path, "sessions", "--reads", "target", "--leave", "dual"}, nil, 2, "dual", "--leave legacy"},
		{"adopt with a tolerance of less than nothing", append([]string{"adopt", "sessions", "--reads", "target", "--ttl-tolerance", "-1s"}, up...), nil, 2, "--ttl-tolerance -1s", "--ttl-tolerance 1s"},
		{"status that never looks", []string{"status", "-f", path, "--watch", "--every", "1ms"}, nil, 2, "--every", "--every 1s"},
		{"status of a server that is down", []string{"status", "-f", path, "--redis", "redis://127.0.0.1:1"}, nil, 1, "cannot be reached", "redis-cli"},
		{"watch of a server that is down", []string{"status", "--watch", "-f", path, "--redis", "redis://127.0.0.1:1"}, nil, 1, "cannot be reached", "redis-cli"},
		{"run without anybody to ask", append([]string{"run"}, up...), nil, 2, "nobody at a terminal", "rekey run --yes"},
		{"run of no rule", append([]string{"run", "nosuch", "--yes"}, up...), nil, 2, "nosuch", "sessions"},
		{"run until no phase", append([]string{"run", "--until", "red", "--yes"}, up...), nil, 2, "red", "--until"},
		{"run until another strategy's phase", append([]string{"run", "sessions", "--until", "hold", "--yes"}, up...), nil, 2, "no phase hold", "mirror has legacy"},
		{"run without a necessary gate", append([]string{"run", "--yes", "--skip", "copied"}, up...), nil, 2, "copied", "--skip verified"},
		{"run without instances elsewhere", append([]string{"run", "--yes", "--no-instances", "--env", "staging"}, up...), nil, 2, "the plan's own environment", "environment: staging"},
		{"run without instances and without an environment", []string{"run", "--yes", "--no-instances", "--env", "prod", "-f", noEnv}, nil, 2, "the plan's own environment", "environment: prod"},
		{"advance of nothing", append([]string{"advance"}, up...), nil, 2, "no rule is named", "--all"},
		{"advance of all and one", append([]string{"advance", "--all", "sessions"}, up...), nil, 2, "--all", "--all"},
		{"advance the other way", append([]string{"rollback", "sessions", "--to", "dual"}, up...), nil, 2, "does not lead to dual", "rekey advance sessions --to dual"},
		{"rollback of all and one", append([]string{"rollback", "--all", "sessions"}, up...), nil, 2, "--all", "--all"},
		{"freeze of no rule", append([]string{"freeze", "nosuch"}, up...), nil, 2, "nosuch", "sessions"},
		{"thaw of no rule", append([]string{"thaw", "nosuch"}, up...), nil, 2, "nosuch", "sessions"},
		{"log of nothing", append([]string{"log", "-n", "0"}, up...), nil, 2, "-n 0", "-n 50"},
		{"log of no rule", append([]string{"log", "nosuch"}, up...), nil, 2, "nosuch", "sessions"},
		{"restore without a phase", append([]string{"restore-phase", "sessions"}, up...), nil, 2, "no phase", "--phase"},
		{"restore to no phase", append([]string{"restore-phase", "sessions", "--phase", "red"}, up...), nil, 2, "red", "--phase"},
		{"restore to another strategy's phase", append([]string{"restore-phase", "sessions", "--phase", "hold"}, up...), nil, 2, "no phase hold", "dual"},
		{"audit for less than nothing", append([]string{"audit", "--monitor", "-1s"}, up...), nil, 2, "--monitor", "--monitor 10s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := mustExit(t, c.code, runCLI(t, c.env, c.args...))
			lines := strings.Split(strings.TrimSuffix(run.stderr, "\n"), "\n")
			if try := lines[len(lines)-1]; !strings.HasPrefix(try, "Try: ") || !strings.Contains(try, c.try) || len(try) < len("Try: a word") {
				t.Errorf("last line %q, want Try: with %q", try, c.try)
			}
			if !strings.HasPrefix(run.stderr, "rekey: ") || !strings.Contains(run.stderr, c.stderr) {
				t.Errorf("got %q, want %q in it", run.stderr, c.stderr)
			}
			if strings.Contains(run.stdout+run.stderr, secret) {
				t.Errorf("the password is in %s%s", run.stdout, run.stderr)
			}
			if run.stdout != "" {
				t.Errorf("an error is not on standard output: %q", run.stdout)
			}
			asJSON := runCLI(t, c.env, append([]string{"--json"}, c.args...)...)
			if asJSON.code != c.code {
				t.Errorf("with --json exit code %d, want %d", asJSON.code, c.code)
			}
			if c.name == "unknown command" || c.name == "unknown flag" {
				return // the flags are not read to their end
			}
			o := objects(t, asJSON.stderr)
			if len(o) != 1 || o[0]["type"] != "error" || o[0]["try"] == "" || o[0]["exit"] != float64(c.code) {
				t.Errorf("with --json got %s", asJSON.stderr)
			}
		})
	}
}

func TestFlags(t *testing.T) {
	run := mustExit(t, exitDone, runCLI(t, nil, "flags", "--table"))
	golden(t, "flags-table.txt", run.stdout)
	dual := map[string]string{"CW_CACHE_PREFIX_ENABLED": "1", "CW_CACHE_DUAL_WRITE": "1"}
	if got, want := mustExit(t, exitDone, runCLI(t, dual, "flags")).stdout, "cache        dual\nrl           legacy\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if run := mustExit(t, exitDone, runCLI(t, dual, "flags", "--check", "--phase", "dual")); run.stdout != "" {
		t.Errorf("--check printed %q", run.stdout)
	}
	want := "export CW_CACHE_PREFIX_ENABLED=1\nexport CW_CACHE_DUAL_WRITE=1\nunset CW_CACHE_LEGACY_READ\nunset CW_CACHE_LEGACY_GONE\n"
	if got := mustExit(t, exitDone, runCLI(t, nil, "flags", "--phase", "dual")).stdout; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	path := planFile(t, cliPlan)
	if got, want := mustExit(t, exitDone, runCLI(t, dual, "flags", "-f", path, "limits", "sessions")).stdout, "limits       legacy\nsessions     dual\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, o := range objects(t, mustExit(t, exitDone, runCLI(t, nil, "flags", "--table", "--json")).stdout) {
		if o["type"] != "environment" || o["set"] == nil || o["phase"] == nil || o["environment"] == nil {
			t.Errorf("got %v", o)
		}
	}
}

// What is printed for a shell is what the engine reads.
func TestFlagsRoundTrip(t *testing.T) {
	setting := regexp.MustCompile(`export (\w+)=(\w+)`)
	for _, name := range []string{"legacy", "guard", "dual", "settled", "drain", "sealed", "prefixed", "hold", "move"} {
		env := make(map[string]string)
		for _, m := range setting.FindAllStringSubmatch(mustExit(t, exitDone, runCLI(t, nil, "flags", "--phase", name)).stdout, -1) {
			env[m[1]] = m[2]
		}
		mustExit(t, exitDone, runCLI(t, env, "flags", "--check", "--phase", name))
	}
}
