package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"

	"github.com/classwaves/rekey/internal/intercept"
)

// client is one client of the proxy. Two goroutines copy: serve from the client to the server,
// replies back. The times are of the proxy's watch, in nanoseconds; 0: not now.
type client struct {
	p        *Proxy
	conn     net.Conn
	listener string
	began    time.Time

	up atomic.Pointer[upstream] // nil before the first byte

	in, out                atomic.Int64 // bytes
	active, begun, writing atomic.Int64
	throttled, replied     atomic.Int64
	memory                 int64 // of the proxy's, as it was counted last
	ending                 atomic.Uint32
	draining               atomic.Pointer[context.Context]
	deaf                   atomic.Bool // nothing more is read for its commands' sake, see readNoMore
}

// lingerWithin is how long a client may take to close its half behind ours, when it has all replies. A connection
// that is closed with bytes of the client unread is reset, and a reset takes back replies that are on their way.
var lingerWithin = time.Second

// Times of a client's beginning and end.
const (
	handshakeWithin = 10 * time.Second
	dialWithin      = 10 * time.Second
	// halfWithin is how long the commands of a client may take that has closed its half.
	halfWithin = 5 * time.Second
	// unblockPause is between two tries to end what the server waits for.
	unblockPause = 20 * time.Millisecond
)

var past = time.Unix(1, 0)

// serve serves the client to its end.
func (c *client) serve() {
	defer c.p.gone(c)
	defer c.close()
	c.active.Store(c.began.UnixNano())
	if !c.handshake() {
		return
	}
	var buf buffer
	n, err := c.conn.Read(buf.bytes())
	if n == 0 {
		c.readEnded(err)
		return
	}
	if !c.open() {
		return
	}
	c.converse(&buf, n, err)
}

// resume goes on with a client that has left the event loop.
func (c *client) resume(up *seat) {
	defer c.p.gone(c)
	defer c.close()
	up.move()
	if c.draining.Load() != nil {
		c.readNoMore()
	}
	var buf buffer
	c.converse(&buf, 0, nil)
}

// converse copies both ways, beginning with n bytes that were read.
func (c *client) converse(buf *buffer, n int, err error) {
	defer c.account(0)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		c.replies()
	}()
	defer func() { <-answered }()
	c.commands(buf, n, err, answered)
}

// handshake does what stands before the first byte of TLS and PROXY protocol.
func (c *client) handshake() bool {
	if named, ok := c.conn.(*proxyproto.Conn); ok && named.ProxyHeader() == nil {
		c.end(endHandshake)
		return false
	}
	conn, ok := c.conn.(*tls.Conn)
	if !ok {
		return true
	}
	ctx, cancel := context.WithTimeout(c.p.ctx, handshakeWithin)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		c.end(endHandshake)
		return false
	}
	return true
}

// commands copies from the client to the server.
func (c *client) commands(buf *buffer, n int, err error, answered <-chan struct{}) {
	up := c.upstream()
	if n == 0 && err == nil && !c.bounded(up, 0, time.Now()) {
		return
	}
	for {
		if n > 0 {
			came := time.Now()
			c.in.Add(int64(n))
			c.active.Store(came.UnixNano())
			if _, failed := up.Write(buf.taken(n)); failed != nil {
				c.rest(answered)
				return
			}
			c.p.metrics.added(toServer, time.Since(came))
			if !c.bounded(up, n, came) {
				return
			}
		}
		if err != nil {
			c.finish(err, answered)
			return
		}
		n, err = c.conn.Read(buf.bytes())
	}
}

// bounded holds the client to its limits, and waits while nothing more is to be read of it.
func (c *client) bounded(up upstream, n int, came time.Time) bool {
	b := up.Backlog()
	c.begins(b, n, came)
	if !c.account(int64(b.Memory)) {
		c.end(endMemory)
		return false
	}
	if b.Unread > c.p.limits.Request { // behind a blocking command
		c.end(endMemory)
		return false
	}
	if !full(b) {
		return true
	}
	c.throttled.Store(time.Now().UnixNano())
	_ = up.AwaitRoom(full) // the next Write says what is wrong
	c.throttled.Store(0)
	return true
}

// begins notes since when the client has begun a command, behind n bytes that came.
func (c *client) begins(b intercept.Backlog, n int, came time.Time) {
	switch {
	case b.Unread == 0 || b.Blocked:
		c.begun.Store(0)
	case b.Unread <= n, c.begun.Load() == 0: // it began in these bytes, or nobody saw when; overdue looks again
		c.begun.Store(came.UnixNano())
	}
}

// account counts the client's memory, and says whether there is as much.
func (c *client) account(memory int64) bool {
	memory = max(0, memory-freeMemory)
	if memory == c.memory {
		return true
	}
	grows := memory > c.memory
	total := c.p.memory.Add(memory - c.memory)
	c.memory = memory
	return !grows || total <= int64(c.p.limits.Memory)
}

// finish ends a client of which no more is read: it has closed its half, is gone, or is drained.
func (c *client) finish(err error, answered <-chan struct{}) {
	up := c.upstream()
	var ctx context.Context
	var why ending
	switch drain := c.draining.Load(); {
	case drain != nil && errors.Is(err, os.ErrDeadlineExceeded):
		ctx, why = *drain, endDrained
	case errors.Is(err, io.EOF) && !up.Backlog().Blocked:
		half, cancel := context.WithTimeout(c.p.ctx, halfWithin)
		defer cancel()
		ctx, why = half, endClient
	default:
		c.readEnded(err)
		return
	}
	up.Leave()
	for again := time.NewTicker(unblockPause); ; {
		select {
		case <-answered:
			again.Stop()
			c.reason(why)
			c.rest(answered)
			return
		case <-ctx.Done():
			again.Stop()
			c.end(endDeadline)
			return
		case <-again.C:
			_ = up.Unblock(ctx) // it is asked again; a server that refuses is waited for until the deadline
		}
	}
}

// readEnded notes why nothing more came, and closes.
func (c *client) readEnded(err error) {
	switch {
	case c.draining.Load() != nil:
		c.end(endDrained)
	case errors.Is(err, io.EOF):
		c.end(endClient)
	default:
		c.end(endBroken)
	}
}

// replies copies from the server to the client, to the end of either.
func (c *client) replies() {
	up := c.upstream()
	var buf buffer
	for {
		n, err := up.Read(buf.bytes())
		if n > 0 {
			now := time.Now().UnixNano()
			c.replied.Store(now)
			c.writing.Store(now)
			_, failed := c.conn.Write(buf.taken(n))
			c.writing.Store(0)
			if failed != nil {
				c.end(endBroken)
				return
			}
			c.out.Add(int64(n))
			c.p.metrics.added(toClient, up.Since())
			continue
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, intercept.ErrLeft) {
			c.reason(endingOf(err))
		}
		// What was said is heard before the end: commands discards what still comes.
		if closeWrite(c.conn) != nil {
			c.end(endBroken)
			return
		}
		_ = up.Close()                                           // the server has closed it, or there is nothing to be had of it
		_ = c.conn.SetReadDeadline(time.Now().Add(lingerWithin)) // fails on a closed connection only
		return
	}
}

// rest reads what a client still sends to a connection that has ended, for as long as the client's kernel takes what
// was sent to it, and a while longer.
func (c *client) rest(answered <-chan struct{}) {
	<-answered
	var buf [512]byte
	for began := time.Now(); ; {
		_, err := c.conn.Read(buf[:])
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && onItsWay(c.conn) && time.Since(began) < c.p.limits.Slow:
			_ = c.conn.SetReadDeadline(time.Now().Add(lingerWithin)) // fails on a closed connection only
		default:
			return
		}
	}
}

// onItsWay says that the peer's kernel has not taken all that was sent to it. Where the system does not tell, it has.
func onItsWay(conn net.Conn) bool {
	conn = bare(conn)
	if p, ok := conn.(*proxyproto.Conn); ok {
		conn = p.Raw()
	}
	if h, ok := conn.(*handle); ok {
		conn, _ = h.out()
	}
	s, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	var left int
	err = raw.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) })
	return err == nil && left > 0
}

// drain makes the client's commands end, when they are answered.
func (c *client) drain(ctx context.Context) {
	c.draining.Store(&ctx)
	if in, ok := c.upstream().(*looped); ok {
		in.Leave() // what is to be done is done outside, by who finds it draining
		return
	}
	c.readNoMore()
}

// readNoMore ends the reading of commands, once: a second time could come when the last reply is on its way already and what
// the client still sends is read for its sake alone. A socket that is closed with bytes unread takes back what it has sent.
func (c *client) readNoMore() {
	if c.deaf.CompareAndSwap(false, true) {
		_ = c.conn.SetReadDeadline(past) // fails on a closed connection only
	}
}

// overdue ends the client if it has taken more time than it may.
func (c *client) overdue(now time.Time) {
	over := func(since int64, limit time.Duration) bool {
		return since != 0 && now.UnixNano()-since > int64(limit)
	}
	l := &c.p.limits
	up := c.upstream()
	switch throttled := c.throttled.Load(); {
	case over(c.writing.Load(), l.Slow), throttled != 0 && over(max(throttled, c.replied.Load()), l.Slow):
		c.end(endSlow)
	case over(c.begun.Load(), l.Begun):
		c.unfinished(up)
	case l.Idle > 0 && over(max(c.active.Load(), c.replied.Load()), l.Idle):
		if up == nil {
			c.end(endIdle)
		} else if b := up.Backlog(); b.Commands == 0 && !b.Blocked && !b.Listening && b.Unread == 0 {
			c.end(endIdle)
		}
	}
}

// unfinished ends the client whose command was begun long ago, unless it has been completed, by its bytes
// or by the server's answer that it was waiting behind.
func (c *client) unfinished(up upstream) {
	begun := c.begun.Load()
	switch b := up.Backlog(); {
	case b.Unread == 0:
		c.begun.CompareAndSwap(begun, 0) // or another one has begun since
	case !b.Halted && !b.Blocked:
		c.end(endBegun)
	}
}

// reason notes why the client ends, if nothing was noted before.
func (c *client) reason(e ending) { c.ending.CompareAndSwap(0, uint32(e)) }

// end closes both connections at once.
func (c *client) end(e ending) {
	c.reason(e)
	_ = bare(c.conn).Close() // whoever reads or writes is told
	if up := c.upstream(); up != nil {
		_ = up.Close()
	}
}

// close ends the client for good, and records it.
func (c *client) close() {
	c.end(endClient)
	var commands uint64
	if up := c.upstream(); up != nil {
		for _, n := range up.Classes() {
			commands += n
		}
	}
	c.p.access.Info("client left",
		"client", c.conn.RemoteAddr().String(), "listener", c.listener, "reason", ending(c.ending.Load()).String(),
		"seconds", time.Since(c.began).Seconds(), "commands", commands, "bytes_in", c.in.Load(), "bytes_out", c.out.Load())
}

// bare is the connection without TLS, whose own Close waits for a peer that does not read.
func bare(conn net.Conn) net.Conn {
	if t, ok := conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return conn
}

// closeWrite closes our half.
func closeWrite(conn net.Conn) error {
	if p, ok := conn.(*proxyproto.Conn); ok {
		conn = p.Raw()
	}
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
