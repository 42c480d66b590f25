package intercept

import (
	"bytes"
	"errors"
	"time"
)

// Prepare makes a new connection that of a user, asks the server what sessions must know, and has it admitted.
// refusal is the server's error to the login, or to whoever has none; then the connection is of no use.
func (c *Conn) Prepare(key LinkKey) (refusal []byte, err error) {
	c.mu.Lock()
	s := c.session
	s.stall()
	s.table = s.rules.Table()
	s.introduce(key, nil, func(reply []byte) {
		refusal = bytes.Clone(reply)
		s.unstall()
	})
	if err := c.await(); err != nil || refusal != nil {
		return refusal, c.turnedAway(err)
	}
	c.mu.Lock()
	s.auth = []byte(key.Login)
	if key.Login == "" {
		s.auth = nil
	}
	s.proto = key.Proto
	s.learnAll()
	err = c.turnedAway(c.await())
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.locked != nil && err == nil {
		return s.locked, nil
	}
	if reason := s.err; reason != nil {
		err = &AdmissionError{reason}
	}
	return nil, err
}

// turnedAway is why the connection has ended, in the server's words where it has said some.
func (c *Conn) turnedAway(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if said := c.session.farewell; err != nil && said != nil {
		return &AdmissionError{errors.New(string(bytes.TrimSpace(said[1:])))}
	}
	return err
}

// AdmissionError says why a connection was not admitted, by the instance or by the server. Its text is what a client
// is told that the connection was for.
type AdmissionError struct{ Reason error }

func (e *AdmissionError) Error() string { return e.Reason.Error() }

// Unwrap is the reason.
func (e *AdmissionError) Unwrap() error { return e.Reason }

// await sends what the session has for the server, and reads until it waits for nothing more. It is called
// with the lock held and gives it up.
func (c *Conn) await() error {
	toServer, _ := c.session.Output()
	c.enqueue(toServer, false)
	if err := c.drain(nil); err != nil {
		return err
	}
	for {
		c.goOn(time.Now().Add(goOnWithin))
		c.mu.Lock()
		err, waits := c.err, c.session.Halted()
		if err != nil || !waits {
			c.out, c.outFrom = nil, 0 // an error of the admission, which is told otherwise
			c.mu.Unlock()
			return err
		}
		c.mu.Unlock()
	}
}
