package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
)

// runDemo runs `rekey demo` with arguments. The environment names a server that is not there: the
// demo looks at no server that it was not given.
func runDemo(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	lookup := func(name string) (string, bool) { return "redis://127.0.0.1:1", name == envRedisURL }
	code = Run(t.Context(), append([]string{"demo"}, args...), strings.NewReader(""), &out, &problems, lookup)
	return code, out.String(), problems.String()
}

func TestDemoExitCodes(t *testing.T) {
	full := redistest.Shared(t)
	if err := full.Client().Set(t.Context(), "theirs", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"with rekey", []string{"--seconds", "0.5", "--instances", "2", "--keys", "60"}, exitDone, "Nothing was lost", ""},
		{"without", []string{"--naive", "--seconds", "0.5", "--keys", "60"}, exitFailed, "Among them:", "Try: rekey demo, for the same walk with rekey"},
		{"a full database", []string{"--redis", full.URL()}, exitFailed, "", "--keys-prefix rekey-demo:"},
		{"a prefix in it", []string{"--redis", full.URL(), "--keys-prefix", "d:", "--seconds", "0.5", "--strategy", "move", "--keys", "60"}, exitDone, "Nothing was lost", ""},
		{"no server", []string{"--redis", "redis://127.0.0.1:1"}, exitFailed, "", "cannot be reached"},
		{"no URL", []string{"--redis", "localhost"}, exitUsage, "", "Try: --redis redis://127.0.0.1:6379"},
		{"few keys", []string{"--keys", "10"}, exitUsage, "", "10 keys of each kind: from 48"},
		{"one instance", []string{"--instances", "1"}, exitUsage, "", "--instances 1"},
		{"no time", []string{"--seconds", "0"}, exitUsage, "", "--seconds 0"},
		{"no strategy", []string{"--strategy", "teleport"}, exitUsage, "", "mirror or move"},
		{"two ways at once", []string{"--naive", "--strategy", "move"}, exitUsage, "", "the naive flip has no strategy"},
		{"a word too many", []string{"now"}, exitUsage, "", "Try: rekey demo --help"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := runDemo(t, tt.args...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) || (code == exitDone) != (stderr == "") {
				t.Errorf("exit code %d, want %d, with %q and %q in\n%s\n%s", code, tt.code, tt.stdout, tt.stderr, stdout, stderr)
			}
			if code == exitUsage && stdout != "" {
				t.Errorf("a report of a demo that did not run:\n%s", stdout)
			}
		})
	}
}

func TestDemoJSONEndsWithTheReport(t *testing.T) {
	code, stdout, stderr := runDemo(t, "--json", "--naive", "--seconds", "0.5", "--keys", "60", "--seed", "11")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var report struct {
		Lost     int64
		Strategy string
		Seed     uint64
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &report); err != nil {
		t.Fatal(err)
	}
	if code != exitFailed || report.Lost == 0 || report.Strategy != "naive" || report.Seed != 11 {
		t.Errorf("exit code %d, %+v", code, report)
	}
	var problem struct{ Type, Error string }
	if err := json.Unmarshal([]byte(stderr), &problem); err != nil || problem.Type != "error" {
		t.Errorf("standard error %q: %v", stderr, err)
	}
}
