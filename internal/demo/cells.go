package demo

import (
	"fmt"
	"strconv"
	"sync"
	"time"
)

// cell is what the application treats as one thing: a key, or the two keys of an access code, with
// the model of what they must hold. Each kind of keys uses some of its parts.
type cell struct {
	kind *kind
	name string
	ttl  time.Duration

	mu       sync.Mutex // held by the worker whose cell it is at the moment; its commands run meanwhile
	writes   int        // how many values were written; each has its own number
	register register
	counter  counter
	set      members

	pair *cell // of a code: the session's; it is locked with this one
	tag  *tagCell
}

// tagCell is a tag's version, which all workers count at once.
type tagCell struct {
	name string

	mu    sync.Mutex // not held while commands run
	tally tally
}

// seconds writes a time to live as the commands want it.
func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// next is a value that was never written before. Its first word is the version that reports show.
func (c *cell) next() string {
	c.writes++
	return fmt.Sprintf("v%d {%q: %q, %q: 0.%04d}", c.writes, "key", c.name, "engagement", c.writes*7919%10_000)
}

// one sends one command.
func (c *cell) one(s *session, words ...string) (reply, span, error) {
	replies, at, err := s.send(c.kind, batch{commands: []command{words}})
	if err != nil {
		return reply{}, at, err
	}
	return replies[0], at, nil
}

// ---- strings with a time to live

func get(c *cell, s *session) error {
	r, at, err := c.one(s, "GET", c.name)
	if err == nil {
		s.judge(c.kind, "GET", c.name, c.register.read(r, at))
	}
	return err
}

func set(c *cell, s *session) error {
	value := c.next()
	_, at, err := c.one(s, "SET", c.name, value, "EX", seconds(c.ttl))
	if err == nil {
		c.register.set(value, c.ttl, at)
	}
	return err
}

func remove(c *cell, s *session) error {
	r, at, err := c.one(s, "DEL", c.name)
	if err == nil {
		s.judge(c.kind, "DEL", c.name, c.register.flagged(r.num == 1, at))
		c.register.remove()
	}
	return err
}

func exists(c *cell, s *session) error {
	r, at, err := c.one(s, "EXISTS", c.name)
	if err == nil {
		s.judge(c.kind, "EXISTS", c.name, c.register.flagged(r.num == 1, at))
	}
	return err
}

func timeToLive(c *cell, s *session) error {
	r, at, err := c.one(s, "PTTL", c.name)
	if err != nil {
		return err
	}
	life := &c.register.lifetime
	if c.kind.rule == "rate_limits" {
		life = &c.counter.lifetime
	}
	s.judge(c.kind, "PTTL", c.name, life.ttl(r.num, at))
	return nil
}

// setOnce is a lock, or a token that is made once: SET NX.
func setOnce(c *cell, s *session) error {
	value := c.next()
	r, at, err := c.one(s, "SET", c.name, value, "NX", "EX", seconds(c.ttl))
	if err != nil {
		return err
	}
	s.judge(c.kind, "SET NX", c.name, c.register.flagged(r.null, at))
	if !r.null {
		c.register.set(value, c.ttl, at)
	}
	return nil
}

// refresh writes only what still exists: a session that was ended stays ended.
func refresh(c *cell, s *session) error {
	value := c.next()
	r, at, err := c.one(s, "SET", c.name, value, "XX", "EX", seconds(c.ttl))
	if err != nil {
		return err
	}
	s.judge(c.kind, "SET XX", c.name, c.register.flagged(!r.null, at))
	if !r.null {
		c.register.set(value, c.ttl, at)
	}
	return nil
}

// take reads a token for the last time.
func take(c *cell, s *session) error {
	r, at, err := c.one(s, "GETDEL", c.name)
	if err == nil {
		s.judge(c.kind, "GETDEL", c.name, c.register.read(r, at))
		c.register.remove()
	}
	return err
}

func updateAtOnce(c *cell, s *session) error { return c.update(s, false) }

func updateInTransaction(c *cell, s *session) error { return c.update(s, true) }

// update reads, writes and reads again: a pipeline, or a transaction.
func (c *cell) update(s *session, transaction bool) error {
	value := c.next()
	replies, at, err := s.send(c.kind, batch{transaction: transaction, commands: []command{
		{"GET", c.name}, {"SET", c.name, value, "EX", seconds(c.ttl)}, {"GET", c.name},
	}})
	if err != nil {
		return err
	}
	s.judge(c.kind, "GET", c.name, c.register.read(replies[0], at))
	c.register.set(value, c.ttl, at)
	s.judge(c.kind, "GET", c.name, c.register.read(replies[2], at))
	return nil
}

// ---- tags

// getWithTag reads an entry and its tag's version in one command, as a cache with tags does. The
// two keys are of two rules.
func getWithTag(c *cell, s *session) error {
	least := c.tag.before(0)
	replies, at, err := s.send(c.kind, batch{commands: []command{{"MGET", c.name, c.tag.name}}})
	if err != nil {
		return err
	}
	s.judge(c.kind, "MGET", c.name, c.register.read(replies[0].at(0), at))
	s.judge(c.kind, "MGET", c.tag.name, c.tag.after(replies[0].at(1), least, 0))
	return nil
}

func bump(c *cell, s *session) error {
	least := c.tag.before(1)
	r, _, err := c.one(s, "INCR", c.tag.name)
	if err == nil {
		s.judge(c.kind, "INCR", c.tag.name, c.tag.after(r, least+1, 1))
	}
	return err
}

func readTag(c *cell, s *session) error {
	least := c.tag.before(0)
	r, _, err := c.one(s, "GET", c.tag.name)
	if err == nil {
		s.judge(c.kind, "GET", c.tag.name, c.tag.after(r, least, 0))
	}
	return err
}

// before notes that n counts begin, and returns what the tag has reached for certain.
func (t *tagCell) before(n int64) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tally.begun += n
	return t.tally.least()
}

// after judges a count and notes that n counts were acknowledged.
func (t *tagCell) after(r reply, least, n int64) verdict {
	got := int64(0)
	if !r.null {
		got = r.integer()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tally.acknowledged += n
	return t.tally.judge(got, least)
}

// ---- the rate limiter

// points are how many hits of a window are allowed; the first one too many blocks.
const points = 40

func hit(c *cell, s *session) error {
	r, at, err := c.one(s, "INCR", c.name)
	if err != nil {
		return err
	}
	s.judge(c.kind, "INCR", c.name, c.counter.incremented(r.num, at))
	switch {
	case r.num == 1:
		_, at, err := c.one(s, "EXPIRE", c.name, seconds(c.ttl))
		if err == nil {
			c.counter.expireIn(c.ttl, at)
		}
		return err
	case r.num == points:
		return c.limit(s, points)
	default:
		return nil
	}
}

// limit writes a count with a window of its own: a block.
func (c *cell) limit(s *session, n int64) error {
	_, at, err := c.one(s, "SET", c.name, strconv.FormatInt(n, 10), "EX", seconds(c.ttl))
	if err == nil {
		c.counter.exists, c.counter.n = true, n
		c.counter.expireIn(c.ttl, at)
	}
	return err
}

func peek(c *cell, s *session) error {
	r, at, err := c.one(s, "GET", c.name)
	if err == nil {
		s.judge(c.kind, "GET", c.name, c.counter.read(r, at))
	}
	return err
}

func forgive(c *cell, s *session) error {
	r, at, err := c.one(s, "DEL", c.name)
	if err != nil {
		return err
	}
	f := c.counter.found(r.num == 1, at)
	s.judge(c.kind, "DEL", c.name, verdict{f, presenceWord(f != revived), presenceWord(r.num == 1)})
	c.counter.exists = false
	return nil
}
