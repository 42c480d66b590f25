package intercept

import (
	"errors"
	"os"
	"time"
)

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline, c.writeBy = t, t
	c.set = c.earliest()
	if c.set == t { // go-redis does this before each command, and one call is cheaper than two
		return c.Conn.SetDeadline(t)
	}
	return errors.Join(c.Conn.SetReadDeadline(c.set), c.Conn.SetWriteDeadline(t))
}

// SetReadDeadline sets the time at which Read gives up.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	c.set = c.earliest()
	return c.Conn.SetReadDeadline(c.set)
}

// SetWriteDeadline sets the time at which Write gives up.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeBy = t
	return c.Conn.SetWriteDeadline(t)
}

// arm sets the deadline of the read under it.
func (c *Conn) arm() {
	want := c.earliest()
	if want.Equal(c.set) {
		return
	}
	c.set = want
	_ = c.Conn.SetReadDeadline(want) // fails on a closed connection only, whose Read says so
}

// earliest is the application's read deadline, or the session's own if that is earlier.
func (c *Conn) earliest() time.Time {
	if wake, waits := c.session.Wake(); waits && (c.deadline.IsZero() || wake.Before(c.deadline)) {
		return wake
	}
	return c.deadline
}

// wake makes a Read that waits for the server look again.
func (c *Conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = past
	_ = c.Conn.SetReadDeadline(past) // fails on a closed connection only, whose Read returns by itself
}

var past = time.Unix(1, 0)

// readFailed handles a read without bytes: the session's time has come, or the
// application's, or the connection is gone.
func (c *Conn) readFailed(err error) (again bool, _ error) {
	c.mu.Lock()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		defer c.mu.Unlock()
		if c.err == nil {
			c.err = err
		}
		c.room.Broadcast()
		return c.outFrom < len(c.out), c.err
	}
	now := time.Now()
	if !c.deadline.IsZero() && !now.Before(c.deadline) {
		defer c.mu.Unlock()
		return false, err
	}
	if wake, waits := c.session.Wake(); waits && !now.Before(wake) {
		ended := c.session.Tick()
		toServer, toClient := c.session.Output()
		c.give(toClient)
		c.enqueue(toServer, false)
		c.room.Broadcast()
		if err := c.drain(nil); err != nil {
			return false, err
		}
		if ended != nil {
			c.fail(ended)
		}
		return true, nil
	}
	c.mu.Unlock()
	return true, nil
}
