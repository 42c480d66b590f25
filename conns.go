package rekey

import (
	"context"
	"net"
	"slices"
	"sync"

	"github.com/classwaves/rekey/internal/intercept"
)

// opener opens another connection to the server of a connection.
type opener = func(context.Context) (net.Conn, error)

// conns is the connections of an instance, and the closed ones whose last bytes may still be on
// their way: a socket that is closed here leaves what it has sent in the buffers of the kernel, of
// the network and of the server, where it runs later.
type conns struct {
	// crowded is called when there are more than maxStray closed connections, in a goroutine that is
	// not the caller's; it calls settled when it has done something about it.
	crowded func()
	// gone is told of connections that the fleet's records know, when they are closed and can run nothing any
	// more; nil: nobody is. It is called without the lock.
	gone func(entry string)

	mu       sync.Mutex
	done     bool
	live     map[*intercept.Conn]*liveConn
	stray    []*strayConn
	clearing bool
}

// maxStray is how many closed connections are remembered before the server is asked about them. While
// nothing moves nobody else asks, and an application whose commands time out closes many.
const maxStray = 256

// liveConn is an open connection.
type liveConn struct {
	open opener
	// In a fleet: whether it was admitted, and how it stands in the fleet's records; "": it does not.
	admitted bool
	entry    string
}

// strayConn is a connection that was closed with replies outstanding.
type strayConn struct {
	oldest uint64 // version of the oldest table under which it may still run something
	id     int64  // CLIENT ID, 0 if unknown
	addr   string // its own address, as the server sees it on a plain network
	entry  string // how it stands in the fleet's records; "": it does not
	login  []byte
	open   opener
}

func (c *conns) add(conn *intercept.Conn, live *liveConn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return false
	}
	if c.live == nil {
		c.live = make(map[*intercept.Conn]*liveConn)
	}
	c.live[conn] = live
	return true
}

// closed is told of each connection that was closed. One with replies outstanding is remembered, and stays in
// the fleet's records.
func (c *conns) closed(conn *intercept.Conn, oldest uint64) {
	if oldest == intercept.Never {
		if live := c.remove(conn); live != nil {
			c.tellGone(live.entry)
		}
		return
	}
	// Asked before: it must be among the open ones or the closed ones at every moment, and it has a lock of its own.
	id, login := conn.Identity()
	c.mu.Lock()
	defer c.mu.Unlock()
	live := c.live[conn]
	delete(c.live, conn)
	if live == nil || c.done {
		return
	}
	c.stray = append(c.stray, &strayConn{
		oldest: oldest, id: id, addr: conn.LocalAddr().String(), entry: live.entry, login: login, open: live.open,
	})
	if len(c.stray) > maxStray && !c.clearing && c.crowded != nil {
		c.clearing = true
		c.crowded()
	}
}

// remove takes a connection off the open ones.
func (c *conns) remove(conn *intercept.Conn) *liveConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	live := c.live[conn]
	delete(c.live, conn)
	return live
}

// tellGone has a connection taken off the fleet's records that can run nothing any more. The lock is not held.
func (c *conns) tellGone(entry string) {
	if entry != "" && c.gone != nil {
		c.gone(entry)
	}
}

// settled ends the work that crowded began. Of the connections that can never be cut off, one for each
// version says as much as all of them.
func (c *conns) settled(stuck []*strayConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clearing = false
	kept := make(map[uint64]bool)
	for _, s := range stuck {
		if !kept[s.oldest] {
			kept[s.oldest] = true
			continue
		}
		c.stray = slices.DeleteFunc(c.stray, func(other *strayConn) bool { return other == s })
	}
}

func (c *conns) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.live)
}

// has says whether a connection is open.
func (c *conns) has(conn *intercept.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live[conn] != nil
}

// all is a copy of the open connections.
func (c *conns) all() map[*intercept.Conn]opener {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[*intercept.Conn]opener, len(c.live))
	for conn, live := range c.live {
		out[conn] = live.open
	}
	return out
}

// ids are the CLIENT IDs of the open connections to the server, as far as it has told them.
func (c *conns) ids() (out []int64) {
	for conn := range c.all() {
		if id, _ := conn.Identity(); id != 0 && !conn.Sentinel() {
			out = append(out, id)
		}
	}
	return out
}

// unknown are the connections that were admitted without being entered into the fleet's records.
func (c *conns) unknown() (out []*intercept.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn, live := range c.live {
		if live.admitted && live.entry == "" {
			out = append(out, conn)
		}
	}
	return out
}

// enter notes that the fleet's records know a connection now. One that was closed meanwhile may have something
// under way, so they keep it.
func (c *conns) enter(conn *intercept.Conn, entry string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if live := c.live[conn]; live != nil {
		live.entry = entry
	}
}

// behind are the connections on which something of a table before version is under way.
func (c *conns) behind(version uint64) (live int, stray []*strayConn) {
	for conn := range c.all() {
		if conn.Oldest() < version {
			live++
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.stray {
		if s.oldest < version {
			stray = append(stray, s)
		}
	}
	return live, stray
}

// forget takes a closed connection off that can run nothing any more.
func (c *conns) forget(gone *strayConn) {
	c.mu.Lock()
	c.stray = slices.DeleteFunc(c.stray, func(s *strayConn) bool { return s == gone })
	c.mu.Unlock()
	c.tellGone(gone.entry)
}

// shut closes every connection and takes no more.
func (c *conns) shut() {
	c.mu.Lock()
	c.done = true
	live := c.live
	c.live = nil
	c.mu.Unlock()
	for conn := range live {
		_ = conn.Close() // the application closes its client as well; nothing is left to do with the error
	}
}
