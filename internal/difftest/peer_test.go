package difftest

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
)

const (
	// replyWithin bounds the wait for a reply.
	replyWithin = 10 * time.Second
	// brokenWithin bounds it where a reply may never come, because the engine was broken on purpose.
	brokenWithin = time.Second
)

// peer is what commands are sent to: the bare server, the engine, or a naive rewriting.
type peer interface {
	send(words []string) error
	receive() (reply []byte, err error)
	close()
}

// wire is a peer at the other end of a connection.
type wire struct {
	conn   net.Conn
	r      *bufio.Reader
	within time.Duration // bounds the wait for a reply
}

func newWire(conn net.Conn) *wire {
	return &wire{conn: conn, r: bufio.NewReader(conn), within: replyWithin}
}

func dialBare(t testing.TB, s *redistest.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", s.Socket())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func newEngine(conn net.Conn, rules *intercept.Rules) net.Conn {
	return intercept.NewConn(conn, rules, intercept.Hooks{})
}

func (w *wire) send(words []string) error { return w.sendAll([][]string{words}) }

func (w *wire) sendAll(commands [][]string) error {
	var b []byte
	for _, words := range commands {
		b = resp.AppendCommand(b, asArgs(words...)...)
	}
	if err := w.conn.SetDeadline(time.Now().Add(w.within)); err != nil {
		return fmt.Errorf("set a deadline: %w", err)
	}
	_, err := w.conn.Write(b)
	return err
}

func asArgs(words ...string) [][]byte {
	args := make([][]byte, len(words))
	for i, w := range words {
		args[i] = []byte(w)
	}
	return args
}

func (w *wire) receive() ([]byte, error) { return redistest.ReadReply(w.r) }

func (w *wire) close() { _ = w.conn.Close() } // of a test: nothing is lost

// ask sends a command and gives its reply, read whole.
func ask(p peer, words ...string) (resp.Value, error) {
	if err := p.send(words); err != nil {
		return resp.Value{}, fmt.Errorf("%q: %w", words, err)
	}
	reply, err := p.receive()
	if err != nil {
		return resp.Value{}, fmt.Errorf("%q: %w", words, err)
	}
	v, _, err := resp.Parse(reply)
	return v, err
}

// must asks where an error of any kind is one of the test.
func must(t testing.TB, p peer, words ...string) resp.Value {
	t.Helper()
	v, err := ask(p, words...)
	if err != nil {
		t.Fatal(err)
	}
	if v.IsError() {
		t.Fatalf("%q: %s", words, v.Str)
	}
	return v
}
