package intercept

import (
	"context"
	"errors"
	"strings"

	"github.com/classwaves/rekey/internal/resp"
)

// What a shell needs that puts clients on connections whom it does not trust and who do not know of
// it: bounds, a look at what is held for them, and an end at which no command is lost.

// ErrLeft ends a session that was left.
var ErrLeft = errors.New("rekey: the connection was left when its commands were answered")

// errUnblocked answers a blocking command whose session is left while it waits. It is what the server
// says to clients that wait on it when it becomes a replica: nothing was taken for them.
const errUnblocked = "-UNBLOCKED rekey: the connection ends, and nothing was taken for this command; send it again\r\n"

// Leave ends the session when all complete commands that it has of its client are answered. Of a
// blocking command that is tried again and again no other try is made.
func (s *Session) Leave() error {
	if s.leaving {
		return s.err
	}
	s.leaving = true
	if b := s.block; b != nil && !b.next.IsZero() {
		s.endTry([]byte(errUnblocked))
	}
	s.pump()
	return s.err
}

// left ends a session that was left, once there is nothing complete to read.
func (s *Session) left() {
	if s.leaving && s.stalled == 0 && !s.held() && s.err == nil && s.ending == nil {
		s.ending = ErrLeft
		s.settle()
	}
}

// waits says that the server may wait with a reply for as long as it likes.
func (s *Session) waits() bool {
	for i := range s.q.size {
		if s.q.at(i).waits {
			return true
		}
	}
	return false
}

// Backlog is what a connection holds for its two sides.
type Backlog struct {
	Commands int // whose replies are outstanding
	Unread   int // bytes of the client that are no command under way: an incomplete one, or what waits
	ToServer int // bytes that the server has not taken yet
	ToClient int // bytes that the client has not read yet
	Memory   int // bytes of all buffers
	// Halted: what is unread waits for the server, which answers without delay. Blocked: it waits
	// behind a blocking command.
	Halted, Blocked bool
	// Listening: the client waits for messages, or for what MONITOR shows.
	Listening bool
}

// Backlog tells what the connection holds.
func (c *Conn) Backlog() Backlog {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.backlog()
}

func (c *Conn) backlog() Backlog {
	b := c.session.Backlog()
	b.ToServer, b.ToClient = len(c.queued), len(c.out)-c.outFrom
	b.Memory += cap(c.queued) + cap(c.spare) + cap(c.out)
	return b
}

// Backlog tells what the session itself holds.
func (s *Session) Backlog() Backlog {
	return Backlog{
		Commands: s.q.size + len(s.retries), Unread: len(s.in) - s.inFrom,
		Memory: cap(s.in) + cap(s.hold) + cap(s.part) + cap(s.toServer) + cap(s.toClient),
		Halted: s.Halted() || s.held(), Blocked: s.block != nil || s.waits(),
		Listening: s.subs.any() || s.monitoring,
	}
}

// AwaitRoom waits until full says no, or the connection has ended, with its error.
func (c *Conn) AwaitRoom(full func(Backlog) bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && full(c.backlog()) {
		c.room.Wait()
	}
	return c.err
}

// Limit bounds what a client may ask of the connection's memory. It is called before the first Write.
func (c *Conn) Limit(limits resp.Limits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session.scan.Limits = limits
}

// Classes is how many commands of each class the client has sent, by the class's number.
func (s *Session) Classes() [classes]uint64 { return s.classes }

// Classes is how many commands of each class the client has sent, by the class's number.
func (c *Conn) Classes() [classes]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.classes
}

// Leave ends the connection when what was written to it is answered: the reader gets the replies and
// then [ErrLeft]. It does not wait for that. What the server itself waits for is ended by Unblock.
func (c *Conn) Leave() {
	c.mu.Lock()
	err := c.session.Leave()
	toServer, toClient := c.session.Output()
	c.give(toClient)
	c.enqueue(toServer, false)
	if len(c.queued) > 0 {
		_ = c.drain(nil) // a failed write is kept in c.err, which Read looks at
	} else {
		c.mu.Unlock()
	}
	if err != nil {
		c.fail(err)
	} else {
		c.wake()
	}
}

// Unblock ends what the server waits for on the connection, if it does: its command is answered with
// an error. The command may still be on its way then, so a caller asks again.
func (c *Conn) Unblock(ctx context.Context) error {
	c.mu.Lock()
	waits := c.session.waits()
	c.mu.Unlock()
	if !waits || c.hooks.Unblock == nil {
		return nil
	}
	return c.hooks.Unblock(ctx, c)
}

// IsEnded says that an error of a connection is the engine's own word on it, and not the network's.
func IsEnded(err error) bool {
	return errors.Is(err, errEnded) || strings.HasPrefix(err.Error(), "rekey:")
}
