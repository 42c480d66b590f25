package intercept_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestAbandon: what the application holds open under an earlier phase keeps the fleet waiting until it is
// given up. Then nothing of it runs, its EXEC says so, and the connection goes on.
func TestAbandon(t *testing.T) {
	server := redistest.Shared(t)
	for _, c := range []struct {
		name        string
		open, after []string // before and after the phases change
		want        string   // of EXEC
	}{
		{"MULTI", []string{"MULTI", "SET a:1 new"}, []string{"SET a:1 newer"}, "-EXECABORT rekey: the phase changed"},
		{"MULTI after WATCH", []string{"WATCH a:1", "MULTI", "SET a:1 new"}, nil, "-EXECABORT rekey: the phase changed"},
		{"WATCH", []string{"WATCH a:1"}, []string{"MULTI", "SET a:1 new"}, "*-1\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules := testRules(t)
			conn := intercept.NewConn(server.Dial(), rules, intercept.Hooks{})
			client := redistest.NewConn(t, conn)
			do := func(line string) string {
				client.Send(strings.Fields(line)...)
				return string(client.ReadRaw())
			}
			do("FLUSHALL")
			do("SET a:1 old")
			for _, line := range c.open {
				do(line)
			}
			setPhases(rules, phase.Guard, phase.Legacy)
			version := rules.Table().Version
			if conn.Oldest() >= version {
				t.Fatal("nothing is held open")
			}
			conn.Abandon(version)
			if got := conn.Oldest(); got != intercept.Never && got < version {
				t.Errorf("after it was given up, something of table %d is under way, before %d", got, version)
			}
			for _, line := range c.after {
				do(line)
			}
			if got := do("EXEC"); !strings.HasPrefix(got, c.want) {
				t.Errorf("EXEC: got %q, want %q", got, c.want)
			}
			if got := do("GET a:1"); got != "$3\r\nold\r\n" {
				t.Errorf("the value is %q", got)
			}
			for _, line := range []string{"WATCH a:1", "MULTI", "SET a:1 new", "EXEC"} {
				do(line)
			}
			if got := do("GET a:1"); got != "$3\r\nnew\r\n" {
				t.Errorf("the next transaction left %q", got)
			}
		})
	}
}

// TestCut: whoever uses a connection that is cut is told why.
func TestCut(t *testing.T) {
	conn := intercept.NewConn(redistest.Shared(t).Dial(), testRules(t), intercept.Hooks{})
	reason := errors.New("rekey: test")
	conn.Cut(reason)
	if _, err := conn.Write([]byte("PING\r\n")); !errors.Is(err, reason) {
		t.Errorf("write: got %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, reason) {
		t.Errorf("read: got %v", err)
	}
}
