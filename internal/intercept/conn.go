package intercept

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a connection to a server that rewrites what passes through it. It behaves as
// the connection under it: deadlines, Close and concurrent use of one reader and any
// number of writers. It starts no goroutine: whoever writes feeds the session, whoever
// reads drives what the session has to send by itself.
type Conn struct {
	net.Conn // the connection to the server; Addr methods are its own

	hooks   Hooks
	reading sync.Mutex   // held by the one Read at a time
	until   atomic.Int32 // calls until one is measured

	mu       sync.Mutex
	session  *Session
	out      []byte // bytes for the reader
	outFrom  int
	queued   []byte // bytes for the server that are not on their way yet
	spare    []byte
	writing  bool // somebody writes to the server, and will write what is queued
	deadline time.Time
	set      time.Time // the read deadline of the connection under it
	writeBy  time.Time // the application's write deadline
	err      error     // of the session or of a write
	closed   bool
	room     sync.Cond // something was taken off; its lock is mu
	link     *Link     // of the sessions that share it, nil without; session asks for it what they must know
}

// Hooks are how a connection reports to its instance. All may be nil.
type Hooks struct {
	// Closed is called once when the connection is closed. oldest is the version of
	// the oldest table under which bytes may still be on their way to the server.
	Closed func(c *Conn, oldest uint64)
	// Admit is called once with the connection's CLIENT ID, 0 where the server does not tell
	// it, before the first command of the application. An error ends the connection.
	Admit func(id int64) error
	// Unblock ends what the server waits for on the connection, as CLIENT UNBLOCK ID ERROR
	// does. It has to be asked on another one.
	Unblock func(ctx context.Context, c *Conn) error
}

// NewConn puts a session on a connection to a server.
func NewConn(base net.Conn, rules *Rules, hooks Hooks) *Conn {
	c := &Conn{Conn: base, hooks: hooks, session: NewSession(rules, time.Now)}
	c.session.admission = hooks.Admit != nil
	c.room.L = &c.mu
	c.until.Store(untilNext())
	return c
}

// Write gives commands of the application to the session.
func (c *Conn) Write(p []byte) (int, error) {
	began := c.began()
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return 0, c.err
	}
	c.session.follow(began)
	err := c.session.Client(p)
	toServer, toClient := c.session.Output()
	c.give(toClient)
	var direct []byte
	if verbatimOf(toServer, p) && !c.writing && len(c.queued) == 0 {
		direct = toServer
	} else {
		c.enqueue(toServer, verbatimOf(toServer, p))
	}
	woken := len(toClient) > 0
	halted := c.session.Halted()
	c.session.written()
	c.added(began)
	if err := c.drain(direct); err != nil {
		return 0, err
	}
	switch {
	case err != nil:
		c.fail(err)
	case woken:
		c.wake()
	case halted:
		c.goOn(c.aheadUntil())
	}
	return len(p), nil
}

// Bounds of what a Write reads in the place of a reader: how long, and how many bytes may wait
// for the reader then.
const (
	goOnWithin = time.Second
	maxAhead   = 1 << 20
)

// aheadUntil is how long a Write reads in the place of a reader: no longer than it may take.
func (c *Conn) aheadUntil() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	until := time.Now().Add(goOnWithin)
	if !c.writeBy.IsZero() && c.writeBy.Before(until) {
		return c.writeBy
	}
	return until
}

// goOn reads what the session waits for before it takes more commands, if nobody else is
// reading: an application may write for ever without a look at the replies, and what it
// wrote runs on a bare connection. Whatever comes is kept for its reader.
func (c *Conn) goOn(until time.Time) {
	if !c.reading.TryLock() {
		return
	}
	defer c.reading.Unlock()
	buf := make([]byte, 4096)
	for {
		c.mu.Lock()
		if id, due := c.session.AdmissionDue(); due && c.err == nil {
			c.mu.Unlock()
			c.admit(id)
			continue
		}
		if c.err != nil || !c.session.Halted() || len(c.out)-c.outFrom > maxAhead {
			c.mu.Unlock()
			return
		}
		c.set = until
		_ = c.Conn.SetReadDeadline(until) // fails on a closed connection only, whose Read says so
		c.mu.Unlock()
		n, err := c.Conn.Read(buf)
		if n == 0 && err != nil {
			c.mu.Lock()
			if c.err == nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				c.err = err
			}
			c.mu.Unlock()
			return
		}
		n, _ = c.received(buf, n) // an error is kept in c.err, which the reader looks at
		c.mu.Lock()
		c.give(buf[:n])
		c.mu.Unlock()
	}
}

// verbatimOf says that part is the beginning of whole, in memory.
func verbatimOf(part, whole []byte) bool {
	return len(part) > 0 && len(whole) >= len(part) && &part[0] == &whole[0]
}

// give appends bytes for the reader.
func (c *Conn) give(b []byte) {
	if len(b) == 0 {
		return
	}
	if c.outFrom == len(c.out) {
		c.out, c.outFrom = c.out[:0], 0
	}
	c.out = append(c.out, b...)
}

// enqueue takes bytes that the session gave out for the server. They are kept as they are
// where they can be, because they may be many: the session goes on with another buffer.
// borrowed says that they are not the session's own.
func (c *Conn) enqueue(b []byte, borrowed bool) {
	switch {
	case len(b) == 0:
	case len(c.queued) > 0 || borrowed:
		c.queued = append(c.queued, b...)
	default:
		c.session.Swap(c.spare)
		c.queued, c.spare = b, nil
	}
}

// drain writes first and then what is queued, in order, unless somebody else is at it.
// It is called with the lock held and gives it up.
func (c *Conn) drain(first []byte) error {
	if c.writing {
		c.mu.Unlock()
		return nil
	}
	c.writing = true
	for {
		b := first
		first = nil
		own := b == nil
		if own {
			if len(c.queued) == 0 || c.err != nil {
				c.writing = false
				err := c.err
				if errors.Is(err, errEnded) {
					err = nil
				}
				c.mu.Unlock()
				return err
			}
			b, c.queued = c.queued, nil
		}
		c.mu.Unlock()
		_, err := c.Conn.Write(b)
		c.mu.Lock()
		if own && cap(b) <= maxKept {
			c.spare = b
		}
		if err != nil && c.err == nil {
			c.err = err
		}
		c.room.Broadcast()
	}
}

// errEnded is the state of a connection whose session has ended: what was given to the
// reader can still be read.
var errEnded = errors.New("rekey: the connection was ended")

// fail ends the connection after what the session said last: nothing more goes to the
// server, and the reader gets what there is and then the error. The connection under it
// is closed by its owner, who may still set deadlines on it.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = &endError{fmt.Errorf("%w: %w", errEnded, err)}
	}
	c.room.Broadcast()
	c.mu.Unlock()
	c.wake()
}

// Read gives replies to the application.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.reading.Lock()
	n, err := c.read(p) // without a defer, which costs as much as all the rest in a function with a loop
	c.reading.Unlock()
	return n, err
}

func (c *Conn) read(p []byte) (int, error) {
	for {
		c.mu.Lock()
		if c.outFrom < len(c.out) {
			n := copy(p, c.out[c.outFrom:])
			c.outFrom += n
			if c.outFrom == len(c.out) && cap(c.out) > maxKept {
				c.out, c.outFrom = nil, 0
			}
			c.room.Broadcast()
			c.mu.Unlock()
			return n, nil
		}
		if err := c.err; err != nil {
			c.mu.Unlock()
			return 0, err
		}
		if id, due := c.session.AdmissionDue(); due {
			c.mu.Unlock()
			c.admit(id)
			continue
		}
		c.arm()
		c.mu.Unlock()

		n, err := c.Conn.Read(p)
		if n == 0 && err != nil {
			if again, err := c.readFailed(err); !again {
				return 0, err
			}
			continue
		}
		if n, err := c.received(p, n); n > 0 || err != nil {
			return n, err
		}
	}
}

// received gives the session what the server sent. What passes as it is stays where
// it is, in the reader's own memory.
func (c *Conn) received(p []byte, n int) (int, error) {
	began := c.began()
	c.mu.Lock()
	c.room.Broadcast()
	if c.session.following() {
		c.session.sample.came = orNow(began)
	}
	err := c.session.Server(p[:n])
	toServer, toClient := c.session.Output()
	c.enqueue(toServer, false)
	inPlace := verbatimOf(toClient, p) && c.outFrom == len(c.out)
	if !inPlace {
		c.give(toClient)
	}
	n = 0
	if inPlace {
		n = len(toClient)
	}
	c.session.given()
	c.added(began)
	if err != nil {
		c.mu.Unlock()
		c.fail(err)
		return n, nil
	}
	if len(c.queued) == 0 {
		c.mu.Unlock()
		return n, nil
	}
	return n, c.drain(nil)
}

// admit asks the instance whether the connection may carry commands.
func (c *Conn) admit(id int64) {
	err := c.hooks.Admit(id)
	c.mu.Lock()
	c.room.Broadcast()
	failed := c.session.Admitted(err)
	toServer, toClient := c.session.Output()
	c.give(toClient)
	c.enqueue(toServer, false)
	if failed != nil {
		c.mu.Unlock()
		c.fail(failed)
		return
	}
	_ = c.drain(nil) // a failed write is kept in c.err, which Read looks at
}

// Close closes the connection.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return err
	}
	c.closed = true
	if c.err == nil {
		c.err = net.ErrClosed
	}
	c.room.Broadcast()
	oldest := c.oldest()
	c.mu.Unlock()
	if c.hooks.Closed != nil {
		c.hooks.Closed(c, oldest)
	}
	return err
}

// Oldest is the version of the oldest table under which something is under way.
func (c *Conn) Oldest() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.oldest()
}

func (c *Conn) oldest() uint64 {
	oldest := c.session.Oldest()
	if c.link != nil {
		oldest = min(oldest, c.link.oldest())
	}
	return oldest
}

// Abandon gives up what the application holds open under tables before a version; see
// [Session.Abandon].
func (c *Conn) Abandon(version uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session.Abandon(version)
}

// Cut ends the connection with an error for whoever uses it.
func (c *Conn) Cut(reason error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = &endError{reason}
	}
	c.mu.Unlock()
	_ = c.Close() // the reason is what its user is told
}

// PhasesChanged tells the connection that its rules' table was replaced. It gives the
// CLIENT ID of another connection whose client is to be told to forget what it cached
// by this one, 0 where there is none.
func (c *Conn) PhasesChanged() (redirect int64) {
	c.tell(func() { redirect = c.session.PhasesChanged() })
	return redirect
}

// Forget tells the client to empty its cache.
func (c *Conn) Forget() { c.tell(c.session.Forget) }

// tell runs what has something to say to the client, and wakes whoever reads.
func (c *Conn) tell(what func()) {
	c.mu.Lock()
	what()
	_, toClient := c.session.Output()
	c.give(toClient)
	c.mu.Unlock()
	if len(toClient) > 0 {
		c.wake()
	}
}

// Interrupt gives the CLIENT ID of a connection on which the server waits for a blocking
// command under phases that hold no more, for CLIENT UNBLOCK.
func (c *Conn) Interrupt() (id int64, waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.Interrupt()
}

// Interrupted is told whether CLIENT UNBLOCK of an id of Interrupt ended a wait.
func (c *Conn) Interrupted(ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session.Interrupted(ended)
}

// Identity is what another connection needs to speak for this one: its CLIENT ID, 0 if
// it was never asked for, and the login of its user.
func (c *Conn) Identity() (id int64, login []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.id, c.session.Login()
}

// Sentinel says that the connection leads to a sentinel, as far as that was asked.
func (c *Conn) Sentinel() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.sentinel
}
