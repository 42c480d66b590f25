package cli

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/plan"
)

func TestInventoryScreens(t *testing.T) {
	s := redistest.Shared(t)
	fillServer(t, s)
	c := s.Client()
	for _, words := range [][]any{
		{"SET", "cw:prod:secure_session:1", "x"}, {"SET", "cw:staging:secure_session:1", "x"}, {"SET", "odd \xff\n", "x"}, {"SET", "app:lock", "x", "EX", 1000},
	} {
		if err := c.Do(t.Context(), words...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	path := planFile(t, cliPlan)
	steady := func(text string) string {
		text = normalise(s, text)
		// Idle times are those behind a TTL. Small integers are shared by all keys of a server, and so are theirs.
		text = regexp.MustCompile(`(none|17m) +(\d+[smhd]\.\.)*\d+[smhd]  `).ReplaceAllString(text, "$1  TIME  ")
		return regexp.MustCompile(` {2,}`).ReplaceAllString(text, "  ")
	}
	args := []string{"inventory", "--redis", s.URL(), "-f", path, "--biggest", "0"}
	run := mustExit(t, exitDone, runCLI(t, nil, args...))
	golden(t, "inventory/plan.txt", steady(run.stdout))
	for _, secret := range []string{"odd \\xff", "10.0.0.1"} {
		if strings.Contains(run.stdout, secret) {
			t.Errorf("a key's name is printed: %s", secret)
		}
	}
	run = mustExit(t, exitDone, runCLI(t, nil, append(args, "--show-keys", "--biggest", "1")...))
	if !strings.Contains(run.stdout, `"odd \xff\n"`) || !strings.Contains(run.stdout, "biggest keys") {
		t.Errorf("--show-keys prints\n%s", run.stdout)
	}

	// Sizes first, then what a program reads.
	o := objects(t, mustExit(t, exitDone, runCLI(t, nil, append(args, "--json", "--biggest", "2")...)).stdout)
	if len(o) != 1 || o[0]["type"] != "inventory" || o[0]["looked_at"] != 1005.0 || len(o[0]["biggest"].([]any)) != 2 {
		t.Errorf("got %v", o)
	}
	if big := o[0]["biggest"].([]any)[0].(map[string]any); big["name"] != nil || big["template"] == nil || big["copy_stall_seconds"] == nil {
		t.Errorf("the biggest key is %v", big)
	}
}

// Without a plan, from an undocumented keyspace to a plan that rekey plan takes.
func TestInventoryEmitsAPlan(t *testing.T) {
	s := redistest.Shared(t)
	fillServer(t, s)
	t.Chdir(t.TempDir())
	run := mustExit(t, exitDone, runCLI(t, nil, "inventory", "--redis", s.URL(), "--env", "prod", "--emit-plan", "rekey.yaml"))
	if !strings.Contains(run.stdout, "Next: rekey plan -f rekey.yaml") {
		t.Errorf("got %s", run.stdout)
	}
	p, err := plan.Load("rekey.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		if rule, _ := p.Names().Find([]byte("rl:auth:10.0.0." + strconv.Itoa(i))); rule < 0 {
			t.Fatalf("rl:auth:10.0.0.%d has no rule", i)
		}
	}
	mustExit(t, exitDone, runCLI(t, nil, "plan"))
	// A file that is there is the operator's.
	mustExit(t, exitFailed, runCLI(t, nil, "inventory", "--emit-plan", "other.yaml")) // every key has a rule by now
	if _, err := os.Stat("other.yaml"); err == nil {
		t.Error("a plan of nothing was written")
	}
	if err := s.Client().Set(t.Context(), "more:1", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	mustExit(t, exitUsage, runCLI(t, nil, "inventory", "--emit-plan", "rekey.yaml"))
	run = mustExit(t, exitDone, runCLI(t, nil, "inventory", "--emit-plan", "-"))
	if !strings.HasPrefix(run.stdout, "# Written by rekey inventory") || !strings.Contains(run.stdout, `"more:{n}"`) {
		t.Errorf("got %s", run.stdout)
	}
}

func TestInventoryRefuses(t *testing.T) {
	s := redistest.Shared(t)
	for _, c := range [][]string{
		{"--sample", "0"}, {"--sample", "2"}, {"--limit", "-1"}, {"-f", filepath.Join(t.TempDir(), "none.yaml")},
	} {
		run := mustExit(t, exitUsage, runCLI(t, nil, append([]string{"inventory", "--redis", s.URL()}, c...)...))
		if !strings.Contains(run.stderr, "\nTry: ") {
			t.Errorf("%v: %s", c, run.stderr)
		}
	}
}

// A plan that is redirected into a file on a full disk is no plan.
func TestEmittedPlanThatCannotBeWritten(t *testing.T) {
	s := redistest.Shared(t)
	if err := s.Client().Set(t.Context(), "secure_session:1", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err  error
		code int
	}{{syscall.ENOSPC, exitFailed}, {syscall.EPIPE, exitDone}} {
		var stderr bytes.Buffer
		args := []string{"inventory", "--redis", s.URL(), "--env", "prod", "--emit-plan", "-"}
		code := Run(t.Context(), args, strings.NewReader(""), brokenWriter{c.err}, &stderr, func(string) (string, bool) { return "", false })
		if code != c.code || (code != exitDone) != strings.Contains(stderr.String(), "\nTry: ") {
			t.Errorf("%v: exit code %d, want %d: %s", c.err, code, c.code, stderr.String())
		}
	}
}

// A user who may only read cannot even PING.
func TestInventoryOfAReader(t *testing.T) {
	s := redistest.Shared(t)
	fillServer(t, s)
	if err := s.Client().Do(t.Context(), "ACL", "SETUSER", "reader", "on", ">x", "~*", "+@read").Err(); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	url := strings.Replace(s.URL(), "redis://", "redis://reader:x@", 1)
	run := mustExit(t, exitDone, runCLI(t, nil, "inventory", "--redis", url))
	if !strings.Contains(run.stdout, "rl:auth:{n}") || !strings.Contains(run.stdout, "Not found out:") {
		t.Errorf("got %s", run.stdout)
	}
	run = mustExit(t, exitDone, runCLI(t, nil, "inventory", "--redis", url, "--emit-plan", "-"))
	if strings.Contains(run.stdout, "reader") {
		t.Errorf("a login in the plan:\n%s", run.stdout)
	}
}

// TestInventoryOfTheFarFuture: expiry times are longer than a duration can hold.
func TestInventoryOfTheFarFuture(t *testing.T) {
	s := redistest.Shared(t)
	for _, words := range [][]any{
		{"SET", "far:1", "v", "EX", 9_999_999_999}, {"SET", "last:1", "v", "PXAT", int64(math.MaxInt64)},
	} {
		if err := s.Client().Do(t.Context(), words...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(t.TempDir())
	run := mustExit(t, exitDone, runCLI(t, nil, "inventory", "--redis", s.URL()))
	if !strings.Contains(run.stdout, " 115741d ") || regexp.MustCompile(`-\d+s`).MatchString(run.stdout) {
		t.Errorf("317 years, and for as long as a server can count, are told as\n%s", run.stdout)
	}
}

// brokenWriter fails every write.
type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }
