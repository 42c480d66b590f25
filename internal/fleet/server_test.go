package fleet_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"testing"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/plan"
)

// tardy is a connection on which the answer to CLIENT SETNAME comes when the next command has been sent.
type tardy struct {
	net.Conn
	late bool
}

func (c *tardy) Write(b []byte) (int, error) {
	c.late = bytes.Contains(bytes.ToUpper(b), []byte("SETNAME"))
	return c.Conn.Write(b)
}

func (c *tardy) Read(b []byte) (int, error) {
	if c.late {
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Read(b)
}

// A connection on which that answer is still to come is given up. Every command would get the one to the command
// before: a renewal that never ran would be taken for one that did.
func TestALateAnswerIsToNoOtherCommand(t *testing.T) {
	u, err := plan.ParseURL(redistest.Shared(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	o, err := fleet.Options(plan.Server{URL: u})
	if err != nil {
		t.Fatal(err)
	}
	dialed := 0
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if dialed++; dialed > 1 || err != nil {
			return conn, err
		}
		return &tardy{Conn: conn}, nil
	}
	c := fleet.Client(o, 0)
	defer func() { _ = c.Close() }() // nothing is buffered
	if got, err := c.Echo(t.Context(), "first").Result(); err == nil {
		t.Errorf("ECHO first on a connection that is behind: got %q", got)
	}
	if got, err := c.Echo(t.Context(), "second").Result(); err != nil || got != "second" {
		t.Errorf("ECHO second: got %q, %v", got, err)
	}
}
