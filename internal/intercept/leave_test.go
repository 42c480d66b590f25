package intercept_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestLeave: what was written before is answered, whatever it waits for; an incomplete command is not
// waited for, and a blocking one that waits is told that nothing was taken.
func TestLeave(t *testing.T) {
	server := redistest.Shared(t)
	for _, p := range allPhases {
		for _, c := range []struct{ name, send, want string }{
			{"nothing", "", ""},
			{"commands", "HELLO 2\r\nSET a:1 x\r\nGET a:1\r\nGET a:", "+OK\r\n$1\r\nx\r\n"},
			{"behind a wait", "BLPOP a:none 0.01\r\nPING\r\n", "*-1\r\n+PONG\r\n"},
			{"an open MULTI", "MULTI\r\nSET a:1 lost\r\n", "+OK\r\n+QUEUED\r\n"},
		} {
			rules := testRules(t)
			setPhases(rules, p, p)
			conn := intercept.NewConn(server.Dial(), rules, intercept.Hooks{})
			if _, err := io.WriteString(conn, c.send); err != nil {
				t.Fatal(err)
			}
			conn.Leave()
			if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn)
			if !strings.HasSuffix(string(got), c.want) || !errors.Is(err, intercept.ErrLeft) {
				// A wait that is left may end by either: its time or ours.
				if c.name != "behind a wait" || !strings.HasPrefix(string(got), "-UNBLOCKED") {
					t.Errorf("%s, %s: got %q, %v, want %q", p, c.name, got, err, c.want)
				}
			}
			_ = conn.Close()
		}
	}
}

// TestWaitForReplicas: WAIT may take for ever and is of no rule, so that it holds no phase up.
func TestWaitForReplicas(t *testing.T) {
	conn := intercept.NewConn(redistest.Shared(t).Dial(), testRules(t), intercept.Hooks{})
	defer func() { _ = conn.Close() }() // whatever waits
	if _, err := io.WriteString(conn, "PING\r\nWAIT 1 0\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len("+PONG\r\n"))); err != nil {
		t.Fatal(err)
	}
	if b := conn.Backlog(); b.Commands != 1 || !b.Blocked || conn.Oldest() != intercept.Never {
		t.Errorf("under way: %+v, of version %d", b, conn.Oldest())
	}
}

// TestGarbageBehindAWait: the connection ends also where the session finds the garbage by itself, when a
// blocking command that it tries again has come to its end.
func TestGarbageBehindAWait(t *testing.T) {
	server := redistest.Shared(t)
	rules := testRules(t)
	setPhases(rules, phase.Dual, phase.Dual)
	conn := dial(t, server, rules)
	if _, err := io.WriteString(conn, "BLPOP a:none 0.02\r\n*1\r\n:nonsense\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if want := "*-1\r\n-ERR Protocol error: expected '$', got ':'\r\n"; string(got) != want || err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("got %q, %v, want %q and an error of its own", got, err, want)
	}
}
