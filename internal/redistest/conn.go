package redistest

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/resp"
)

// replyWithin bounds every wait for a reply, so that a lost one fails the test and not the run.
const replyWithin = 30 * time.Second

// A Conn is a connection for tests that read as transcripts: words in, one reply out, and the
// reply's very bytes where they matter. It fails the test when the connection does.
type Conn struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// Conn opens a connection to the server, which is closed at the end of the test.
func (s *Server) Conn() *Conn {
	s.t.Helper()
	return NewConn(s.t, s.Dial())
}

// NewConn makes a Conn of any connection, say one that goes through the engine or a link.
func NewConn(t testing.TB, conn net.Conn) *Conn {
	return &Conn{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// Do sends one command and reads one reply.
func (c *Conn) Do(words ...string) resp.Value {
	c.t.Helper()
	c.Send(words...)
	return c.Read()
}

// Send sends one command.
func (c *Conn) Send(words ...string) {
	c.t.Helper()
	args := make([][]byte, len(words))
	for i, w := range words {
		args[i] = []byte(w)
	}
	c.Write(resp.AppendCommand(nil, args...))
}

// Write sends bytes as they are.
func (c *Conn) Write(b []byte) {
	c.t.Helper()
	if err := c.conn.SetWriteDeadline(time.Now().Add(replyWithin)); err != nil {
		c.t.Fatalf("redistest: %v", err)
	}
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatalf("redistest: %v", err)
	}
}

// Read reads one reply.
func (c *Conn) Read() resp.Value {
	c.t.Helper()
	raw := c.ReadRaw()
	v, n, err := resp.Parse(raw)
	if err != nil || n != len(raw) {
		c.t.Fatalf("redistest: reply %q: %d bytes read, %v", raw, n, err)
	}
	return v
}

// ReadRaw reads the bytes of one reply.
func (c *Conn) ReadRaw() []byte {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(replyWithin)); err != nil {
		c.t.Fatalf("redistest: %v", err)
	}
	raw, err := ReadReply(c.r)
	if err != nil {
		c.t.Fatalf("redistest: read a reply: %v (after %q)", err, raw)
	}
	return raw
}

// Close closes the connection now and not at the end of the test.
func (c *Conn) Close() { _ = c.conn.Close() }

// ReadReply reads the bytes of one reply and not one more.
func ReadReply(r *bufio.Reader) ([]byte, error) {
	var raw []byte
	var s resp.Skipper
	for {
		if _, err := r.Peek(1); err != nil {
			if err == io.EOF && len(raw) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return raw, err
		}
		b, err := r.Peek(r.Buffered())
		if err != nil {
			return raw, err
		}
		n, done, err := s.Skip(b)
		raw = append(raw, b[:n]...)
		if _, discardErr := r.Discard(n); discardErr != nil {
			return raw, discardErr
		}
		if err != nil || done {
			return raw, err
		}
	}
}

// dialOnce opens a connection to a unix socket that the caller closes.
func dialOnce(t testing.TB, socket string) *Conn {
	t.Helper()
	conn, err := net.DialTimeout("unix", socket, replyWithin)
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	return NewConn(t, conn)
}
