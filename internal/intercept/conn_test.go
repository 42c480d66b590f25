package intercept_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
)

// TestTranscript runs one conversation in every phase. What a client sees is the same
// in all of them, and the same as from the server alone.
func TestTranscript(t *testing.T) {
	server := redistest.Shared(t)
	conversation := [][]string{
		{"SET", "a:1", "x"}, {"GET", "a:1"}, {"APPEND", "a:1", "yz"}, {"GET", "a:1"}, {"GET", "a:none"},
		{"DEL", "a:1", "a:2"}, {"EXISTS", "a:1"}, {"SET", "a:1", "10", "EX", "100"}, {"INCR", "a:1"}, {"TTL", "a:1"},
		{"LPUSH", "a:1", "v"}, {"TYPE", "a:1"}, {"EXISTS", "a:1", "a:1", "b:1"}, {"MSET", "a:1", "1", "b:1", "2", "other", "3"},
		{"MGET", "a:1", "b:1", "other", "missing"}, {"RPUSH", "a:l", "1", "2", "3"}, {"LRANGE", "a:l", "0", "-1"},
		{"BLPOP", "a:none", "a:l", "1"}, {"LMPOP", "2", "a:none", "a:l", "LEFT", "COUNT", "2"}, {"BLPOP", "a:l", "0.01"},
		{"MULTI"}, {"SET", "a:t", "1"}, {"INCR", "a:t"}, {"EXISTS", "a:t", "b:t"}, {"GET", "other"}, {"EXEC"}, {"GET", "a:t"},
		{"WATCH", "a:t"}, {"GET", "a:t"}, {"MULTI"}, {"INCR", "a:t"}, {"EXEC"}, {"GET", "a:t"},
		{"WATCH", "a:t"}, {"SET", "a:t", "7"}, {"MULTI"}, {"INCR", "a:t"}, {"EXEC"}, {"GET", "a:t"},
		{"SADD", "a:s", "m"}, {"SPOP", "a:s"}, {"SPOP", "a:s"}, {"EXISTS", "a:s"},
		{"XADD", "a:x", "1-1", "f", "v"}, {"XADD", "a:x", "1-*", "f", "v"}, {"XLEN", "a:x"}, {"XREAD", "STREAMS", "a:x", "0"},
		{"XREADGROUP", "GROUP", "g", "c", "STREAMS", "a:x", ">"}, {"XGROUP", "CREATE", "a:x", "g", "0"},
		{"XREADGROUP", "GROUP", "g", "c", "STREAMS", "a:x", ">"}, {"XREAD", "BLOCK", "5", "STREAMS", "a:x", "$"},
		{"RENAME", "a:t", "b:t"}, {"GET", "b:t"}, {"GET", "a:t"}, {"EVAL", "return redis.call('INCR',KEYS[1])", "1", "a:e"},
		{"GET", "a:e"}, {"GET"}, {"NOSUCHCOMMAND", "a:1"}, {"DEL", "a:1", "a:1"}, {"UNLINK", "a:e", "b:t", "other", "a:x"},
	}
	for _, proto := range []string{"2", "3"} {
		bare := redistest.NewConn(t, server.Dial())
		bare.Do("FLUSHALL")
		bare.Do("HELLO", proto)
		var want []string
		for _, words := range conversation {
			bare.Send(words...)
			want = append(want, string(bare.ReadRaw()))
		}
		for _, p := range allPhases {
			t.Run("RESP"+proto+"/"+p.String(), func(t *testing.T) {
				bare.Do("FLUSHALL")
				rules := testRules(t)
				setPhases(rules, p, p)
				conn := redistest.NewConn(t, dial(t, server, rules))
				conn.Do("HELLO", proto)
				for i, words := range conversation {
					conn.Send(words...)
					got := string(conn.ReadRaw())
					if got != want[i] {
						t.Errorf("%q\n got %q\nwant %q", words, got, want[i])
					}
				}
				for i := range rules.Stats.Rules {
					if n := rules.Stats.Rules[i].Divergences.Load(); n != 0 {
						t.Errorf("%d divergences", n)
					}
				}
			})
		}
	}
}

// TestGarbageBehindCommands: what came before it is answered, then the server's own words for it, and
// then the connection ends.
func TestGarbageBehindCommands(t *testing.T) {
	server := redistest.Shared(t)
	for _, p := range allPhases {
		rules := testRules(t)
		setPhases(rules, p, p)
		conn := dial(t, server, rules)
		if _, err := conn.Write([]byte("SET a:1 x\r\nGET a:1\r\n*1\r\n:nonsense\r\nGET a:1\r\n")); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		if want := "+OK\r\n$1\r\nx\r\n-ERR Protocol error: expected '$', got ':'\r\n"; string(got) != want {
			t.Errorf("%s: %q, want %q", p, got, want)
		}
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection ended with %v, want an error of its own", p, err)
		}
	}
}

// TestWriteReadsNoLongerThanItMayTake: a Write that reads what the session asks the server first, as the CLIENT ID of a
// new connection, gives up at the application's deadline. On a server that hangs each connection would take a second.
func TestWriteReadsNoLongerThanItMayTake(t *testing.T) {
	near, far := net.Pipe()
	t.Cleanup(func() { _ = far.Close() })
	go func() { _, _ = io.Copy(io.Discard, far) }() // takes everything and answers nothing; ends with the pipe
	base := &deadlines{Conn: near}
	conn := intercept.NewConn(base, testRules(t), intercept.Hooks{Admit: func(int64) error { return nil }})
	t.Cleanup(func() { _ = conn.Close() })
	for _, set := range []func(time.Time) error{conn.SetWriteDeadline, conn.SetDeadline} {
		base.read = nil
		by := time.Now().Add(100 * time.Millisecond)
		if err := set(by); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("GET a:1\r\n")); err != nil {
			t.Fatal(err)
		}
		if len(base.read) == 0 {
			t.Fatal("the Write did not read: the test shows nothing")
		}
		for _, at := range base.read {
			if at.After(by) {
				t.Errorf("the Write reads until %v after its deadline", at.Sub(by))
			}
		}
	}
}

// deadlines keeps the read deadlines that a connection was given.
type deadlines struct {
	net.Conn
	read []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.read = append(d.read, t)
	return d.Conn.SetReadDeadline(t)
}
