package cli

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
)

// A command whose output is lost, as on a full disk, has not told what it was asked for, and says so; where nobody reads any more
// it is right as it is. A gate that does not hold keeps its exit code, and another error its words.
func TestOutputThatCannotBeWritten(t *testing.T) {
	s := redistest.Shared(t)
	for _, name := range []string{"secure_session:1", "cw:prod:secure_session:2"} {
		if err := s.Client().Set(t.Context(), name, "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	onServer := func(words ...string) []string {
		return append(words, "-f", planFile(t, cliPlan), "--redis", s.URL())
	}
	for _, c := range []struct {
		args   []string
		code   int // where the output is lost
		unread int // where nobody reads it
		text   string
	}{
		{[]string{"version"}, exitFailed, exitDone, "print: "},
		{[]string{"version", "--json"}, exitFailed, exitDone, "print: "},
		{[]string{"flags", "--table"}, exitFailed, exitDone, "print: "},
		{[]string{"verify", "--help"}, exitFailed, exitDone, "print: "},
		{[]string{"completion", "bash"}, exitFailed, exitDone, "print: "},
		{onServer("status"), exitFailed, exitDone, "print: "},
		{onServer("inventory"), exitFailed, exitDone, "print: "},
		{onServer("knob"), exitFailed, exitDone, "print: "},
		{onServer("purge", "sessions", "--assume-phase", "guard"), exitGate, exitGate, "print: "},
		{[]string{"plan", "-f", "none.yaml"}, exitUsage, exitUsage, "the plan cannot be read: "},
	} {
		for _, broken := range []struct {
			err  error
			code int
			text string
		}{{syscall.ENOSPC, c.code, c.text}, {syscall.EPIPE, c.unread, ""}} {
			var stderr bytes.Buffer
			code := Run(t.Context(), c.args, strings.NewReader(""), brokenWriter{broken.err}, &stderr, func(string) (string, bool) { return "", false })
			if code != broken.code || !strings.Contains(stderr.String(), broken.text) {
				t.Errorf("%v, %v: exit code %d, want %d: %s", c.args, broken.err, code, broken.code, stderr.String())
			}
		}
	}
}
