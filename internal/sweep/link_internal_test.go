package sweep

import (
	"bytes"
	"context"
	"net"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
)

// tardy is a connection on which the answer to CLIENT NO-TOUCH comes when the next command has been sent.
type tardy struct {
	net.Conn
	late bool
}

func (c *tardy) Write(b []byte) (int, error) {
	c.late = bytes.Contains(b, []byte("NO-TOUCH"))
	return c.Conn.Write(b)
}

func (c *tardy) Read(b []byte) (int, error) {
	if c.late {
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Read(b)
}

// TestALateAnswerIsToNoOtherCommand: with it in front of all others, a key would be taken for copied that is not.
func TestALateAnswerIsToNoOtherCommand(t *testing.T) {
	dialed := 0
	base := redistest.Shared(t).Client(func(o *redis.Options) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if dialed++; dialed > 1 || err != nil {
				return conn, err
			}
			return &tardy{Conn: conn}, nil
		}
	})
	l := newLink(base, 0, nil)
	defer func() { _ = l.client.Close() }() // nothing is buffered
	if got, err := l.client.Echo(t.Context(), "first").Result(); err == nil {
		t.Errorf("ECHO first on a connection that is behind: got %q", got)
	}
	if got, err := l.client.Echo(t.Context(), "second").Result(); err != nil || got != "second" {
		t.Errorf("ECHO second: got %q, %v", got, err)
	}
}
