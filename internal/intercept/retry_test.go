package intercept_test

import (
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestRefusedBeforeAWrite: a read that is refused and sent again does not see what a write behind it in the same
// pipeline has made of its keys, in whatever way that write names them.
func TestRefusedBeforeAWrite(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	bare.Do("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-copy")
	defer bare.Do("ACL", "DELUSER", "app")
	const refusal = "-NOPERM"
	for _, c := range []struct{ lines, want string }{
		{"GET a:1; DEL b:1", "$3\r\nold\r\n"}, // keys of another rule
		{"GET a:1; SET a:1 new", refusal},
		{"GET a:1; MULTI; SET a:1 new; EXEC", refusal},
		{"GET a:1; MULTI; SET b:1 new; EXEC", "$3\r\nold\r\n"},
		{"GET a:1; DEL b:1 a:1", refusal},
		{"MGET a:1 b:1; DEL b:1", refusal},
		{"MGET a:1 b:1; MULTI; PING; DEL b:1; EXEC", refusal},
		{"MGET a:1 other; SET other new", refusal},
		{"MGET a:1 other; MULTI; SET other new; EXEC", refusal},
		{"MGET a:1 other; RENAME other third", refusal},
		{"GET a:1; FLUSHALL", refusal},
	} {
		bare.Do("FLUSHALL")
		bare.Do("MSET", "a:1", "old", "cw:test:b:1", "old", "other", "old")
		rules := testRules(t)
		setPhases(rules, phase.Dual, phase.Prefixed)
		client := redistest.NewConn(t, dial(t, server, rules))
		client.Do("AUTH", "app", "pw")
		lines := strings.Split(c.lines, "; ")
		client.Write([]byte(strings.Join(lines, "\r\n") + "\r\n"))
		for i, line := range lines {
			got := string(client.ReadRaw())
			if i == 0 && !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s answered %q, want %q", c.lines, line, got, c.want)
			}
		}
	}
}

// TestCountedOnceWhenSentAgain: a removal that is refused for want of memory, and sent again in a phase in which it names
// both names of its key, counts that key once.
func TestCountedOnceWhenSentAgain(t *testing.T) {
	for _, p := range []phase.Phase{phase.Guard, phase.Sealed} {
		for _, call := range []string{"DEL a:1", "UNLINK cw:test:a:1"} {
			rules := testRules(t)
			setPhases(rules, p, phase.Legacy)
			server := &scripted{t: t, s: intercept.NewSession(rules, time.Now), full: func() { setPhases(rules, phase.Dual, phase.Legacy) }}
			server.client(call, ":2\r\n")
			if last := server.sent[len(server.sent)-1]; !strings.HasSuffix(last, " cw:test:a:1 a:1") {
				t.Errorf("%s: %s: sent %q last, want both names", p, call, last)
			}
			if want := ":1\r\n"; server.toClient != want {
				t.Errorf("%s: %s: got %q, want %q", p, call, server.toClient, want)
			}
		}
	}
}
