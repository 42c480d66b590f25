package intercept_test

import (
	"testing"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestRefusedSubscriptions: a server that refuses a subscription to several channels says so once, and not
// once for each. The next reply is that of the next command.
func TestRefusedSubscriptions(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	bare.Do("ACL", "SETUSER", "deaf", "on", ">pw", "~*", "+@all", "resetchannels", "&mine")
	defer bare.Do("ACL", "DELUSER", "deaf")
	for _, proto := range []string{"2", "3"} {
		for _, words := range [][]string{{"SUBSCRIBE", "c", "d"}, {"PSUBSCRIBE", "mine", "c*", "d*"}, {"SSUBSCRIBE", "c"}} {
			rules := testRules(t)
			setPhases(rules, phase.Dual, phase.Dual)
			conn := intercept.NewConn(server.Dial(), rules, intercept.Hooks{})
			t.Cleanup(func() { _ = conn.Close() })
			client := redistest.NewConn(t, conn)
			client.Do("HELLO", proto, "AUTH", "deaf", "pw")
			client.Do("SET", "a:1", "x")
			client.Send(words...)
			client.Send("GET", "a:1")
			client.Send("PING", "end")
			if got := client.Read(); !got.IsError() {
				t.Errorf("RESP%s, %q: got %q, want a refusal", proto, words, got.Append(nil))
			}
			if got := client.Read(); string(got.Str) != "x" {
				t.Errorf("RESP%s, GET behind %q: got %q, want x", proto, words, got.Append(nil))
			}
			if got := client.Read(); string(got.Str) != "end" {
				t.Errorf("RESP%s, PING behind %q: got %q, want end", proto, words, got.Append(nil))
			}
			if got := conn.Oldest(); got != intercept.Never {
				t.Errorf("RESP%s, %q: something of table %d is under way for ever", proto, words, got)
			}
		}
	}
}
