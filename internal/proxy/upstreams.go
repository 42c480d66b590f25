package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
)

// Upstreams says how clients come to the server.
type Upstreams uint8

const (
	// UpstreamsShared: clients of the same user and protocol share connections, until one needs its own.
	UpstreamsShared Upstreams = iota
	// UpstreamsOwn: every client has a connection of its own.
	UpstreamsOwn
)

var upstreamsNames = [...]string{UpstreamsShared: "shared", UpstreamsOwn: "own"}

// String is the word of the command line.
func (u Upstreams) String() string {
	if int(u) < len(upstreamsNames) {
		return upstreamsNames[u]
	}
	return fmt.Sprintf("Upstreams(%d)", uint8(u))
}

// ParseUpstreams reads the word of the command line.
func ParseUpstreams(word string) (Upstreams, error) {
	for u, name := range upstreamsNames {
		if name == word {
			return Upstreams(u), nil
		}
	}
	return 0, fmt.Errorf("rekey: %q is no way to the server: shared or own", word)
}

// upstream is what a client has to do with on its way to the server.
type upstream interface {
	io.ReadWriteCloser
	// Backlog, AwaitRoom, Leave, Unblock and Classes are those of intercept.Conn.
	Backlog() intercept.Backlog
	AwaitRoom(full func(intercept.Backlog) bool) error
	Leave()
	Unblock(ctx context.Context) error
	Classes() [classes]uint64
	// Server names the server, "" while there is none.
	Server() string
	// Since is how long ago the server's last bytes came.
	Since() time.Duration
}

// own is a connection of a client's own.
type own struct {
	*intercept.Conn
	server string
}

var _ upstream = (*own)(nil)

func (o *own) Server() string { return o.server }

func (o *own) Since() time.Duration { return since(o.Conn) }

// errUnreachable says that there is no connection to be had.
var errUnreachable = errors.New("the server cannot be reached")

// upstream is the client's, nil before its first byte.
func (c *client) upstream() upstream {
	if up := c.up.Load(); up != nil {
		return *up
	}
	return nil
}

// open gives the client its upstream.
func (c *client) open() bool {
	var up upstream
	if c.p.links != nil {
		up = newSeat(c.p, c.end)
	} else {
		ctx, cancel := context.WithTimeout(c.p.ctx, dialWithin)
		defer cancel()
		conn, server, err := c.p.dial(ctx)
		if err != nil {
			c.p.unreachable(err)
			c.end(endUnreachable)
			return false
		}
		conn.Limit(c.p.limits.resp())
		up = &own{conn, server}
	}
	c.up.Store(&up)
	if c.ending.Load() != 0 { // meanwhile
		_ = up.Close() // nothing was sent on it
		return false
	}
	return true
}

func (p *Proxy) unreachable(err error) {
	p.log.Error("the server cannot be reached; the client is closed", "error", err)
}
