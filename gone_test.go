package rekey

import (
	"context"
	"errors"
	"net"
	"runtime"
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

// TestServerAwayForgetsNobody: of closed connections that the server does not let their user cut off, one speaks for all.
// Where it is only away, each still has to be.
func TestServerAwayForgetsNobody(t *testing.T) {
	away := func(context.Context) (net.Conn, error) { return nil, errors.New("connection refused") }
	refuses := func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			_, _ = far.Read(make([]byte, 1024)) // the question
			_, _ = far.Write([]byte("-NOPERM this user has no permissions to run the 'client|kill' command\r\n"))
			_ = far.Close()
		}()
		return near, nil
	}
	for _, c := range []struct {
		name string
		open opener
		left int
	}{{"away", away, 3}, {"not allowed", refuses, 1}} {
		t.Run(c.name, func(t *testing.T) {
			r := &Rekey{ctx: t.Context()}
			for id := range int64(3) {
				r.conns.stray = append(r.conns.stray, &strayConn{oldest: 1, id: id + 1, open: c.open})
			}
			r.clearStray()
			if _, stray := r.conns.behind(2); len(stray) != c.left {
				t.Errorf("%d closed connections are known, want %d", len(stray), c.left)
			}
		})
	}
}

// TestClosedConnectionsAreNotLost: a connection that is closed with replies outstanding is among the open ones or
// among the closed ones at every moment. What looks in between would take its last bytes for answered.
func TestClosedConnectionsAreNotLost(t *testing.T) {
	var c conns
	rules := &intercept.Rules{}
	rules.SetTable(&intercept.Table{Version: 1})
	near, far := net.Pipe()
	defer func() { _ = near.Close(); _ = far.Close() }()
	conn := intercept.NewConn(near, rules, intercept.Hooks{})
	c.add(conn, &liveConn{})
	held, release := make(chan struct{}), make(chan struct{})
	go func() { // who asks the connection for its CLIENT ID waits
		_ = conn.AwaitRoom(func(intercept.Backlog) bool {
			close(held)
			<-release
			return false
		})
	}()
	<-held
	done := make(chan struct{})
	go func() {
		c.closed(conn, 1)
		close(done)
	}()
	known := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.live) + len(c.stray)
	}
	for range 10000 {
		if runtime.Gosched(); known() == 0 {
			t.Error("a connection with replies outstanding is nowhere")
			break
		}
	}
	close(release)
	<-done
	if live, stray := c.behind(2); live != 0 || len(stray) != 1 {
		t.Errorf("%d open, %d closed ones are behind, want the closed one", live, len(stray))
	}
}
