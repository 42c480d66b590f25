package rekey

import (
	"net"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
)

// TestNobodyIsToldUnderTheLock: who is told of a closed connection holds a lock of its own, under which it asks
// for the open ones.
func TestNobodyIsToldUnderTheLock(t *testing.T) {
	var c conns
	told := make(chan string, 2)
	c.gone = func(entry string) {
		c.open()
		told <- entry
	}
	rules := &intercept.Rules{}
	rules.SetTable(&intercept.Table{Version: 1})
	conn := func() *intercept.Conn {
		near, far := net.Pipe()
		t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
		return intercept.NewConn(near, rules, intercept.Hooks{})
	}
	within := func(entry string, do func()) {
		t.Helper()
		go do()
		select {
		case got := <-told:
			if got != entry {
				t.Errorf("told of %q, want %q", got, entry)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("nobody is told of %s", entry)
		}
	}
	quiet, busy := conn(), conn()
	c.add(quiet, &liveConn{entry: "quiet"})
	within("quiet", func() { c.closed(quiet, intercept.Never) })
	// One with replies outstanding is told of when it can run nothing any more, and not before: if this
	// process dies now, whoever goes past it must find the connection in its record.
	c.add(busy, &liveConn{entry: "busy"})
	c.closed(busy, 1)
	if len(told) > 0 {
		t.Errorf("told of %s, whose last bytes may be on their way", <-told)
	}
	within("busy", func() { c.forget(c.stray[0]) })
}
