package demo

import (
	"fmt"
	"maps"
	"slices"
)

// sessionLimit is how many sessions a teacher may have. One more, and the oldest go.
const sessionLimit = 3

// ---- the set of a teacher's sessions

// logIn adds a session, and ends the oldest where there are too many: the limit that a half-moved
// set does not keep.
func logIn(c *cell, s *session) error {
	c.writes++
	member := fmt.Sprintf("s%05d", c.writes)
	replies, at, err := s.send(c.kind, batch{transaction: true, commands: []command{
		{"SADD", c.name, member}, {"EXPIRE", c.name, seconds(c.ttl)}, {"SCARD", c.name},
	}})
	if err != nil {
		return err
	}
	c.want(at)
	c.set.in[member], c.set.exists = true, true
	c.set.expireIn(c.ttl, at)
	c.count(s, replies[2].num)
	excess := slices.Sorted(maps.Keys(c.set.in))
	if len(excess) <= sessionLimit {
		return nil
	}
	excess = excess[:len(excess)-sessionLimit]
	r, _, err := c.one(s, append([]string{"SREM", c.name}, excess...)...)
	if err != nil {
		return err
	}
	for _, member := range excess {
		delete(c.set.in, member)
	}
	return c.judgeCount(s, "SREM", r.num, int64(len(excess)))
}

// want forgets members whose key has expired.
func (c *cell) want(at span) {
	if c.set.in == nil || c.set.at(at) == absent {
		c.set.in = make(map[string]bool)
	}
}

// count judges SCARD.
func (c *cell) count(s *session, got int64) {
	_ = c.judgeCount(s, "SCARD", got, int64(len(c.set.in)))
}

// judgeCount judges a reply that counts members. The members themselves are put right by the next
// reading of the set.
func (c *cell) judgeCount(s *session, command string, got, want int64) error {
	v := verdict{0, fmt.Sprint(want), fmt.Sprint(got)}
	switch {
	case got < want:
		v.fault = lost
	case got > want:
		v.fault = revived
	}
	s.judge(c.kind, command, c.name, v)
	if v.fault != 0 {
		return listSessions(c, s.silent())
	}
	return nil
}

func logOut(c *cell, s *session) error {
	all := slices.Sorted(maps.Keys(c.set.in))
	member := "s00000" // nobody's
	if len(all) > 0 {
		member = all[s.random.IntN(len(all))]
	}
	r, at, err := c.one(s, "SREM", c.name, member)
	if err != nil {
		return err
	}
	c.want(at)
	want := int64(0)
	if c.set.in[member] {
		want = 1
	}
	delete(c.set.in, member)
	c.set.exists = len(c.set.in) > 0
	return c.judgeCount(s, "SREM", r.num, want)
}

func listSessions(c *cell, s *session) error {
	r, at, err := c.one(s, "SMEMBERS", c.name)
	if err == nil {
		s.judge(c.kind, "SMEMBERS", c.name, c.set.read(r.list, at))
	}
	return err
}

// isSession asks for a member that is there and for one that never was.
func isSession(c *cell, s *session) error {
	all := slices.Sorted(maps.Keys(c.set.in))
	if len(all) == 0 {
		return listSessions(c, s)
	}
	member := all[s.random.IntN(len(all))]
	replies, at, err := s.send(c.kind, batch{commands: []command{{"SISMEMBER", c.name, member}, {"SCARD", c.name}}})
	if err != nil {
		return err
	}
	c.want(at)
	want := int64(0)
	if c.set.in[member] {
		want = 1
	}
	if err := c.judgeCount(s, "SISMEMBER", replies[0].num, want); err != nil || replies[0].num != want {
		return err
	}
	return c.judgeCount(s, "SCARD", replies[1].num, int64(len(c.set.in)))
}

func logOutEverywhere(c *cell, s *session) error {
	r, at, err := c.one(s, "DEL", c.name)
	if err != nil {
		return err
	}
	c.want(at)
	want := min(int64(len(c.set.in)), 1)
	c.set.in, c.set.exists = nil, false
	return c.judgeCount(s, "DEL", r.num, want)
}

// ---- access codes: two keys that must agree

// assignCode takes a code with SET NX, so that no two sessions share one, and then tells it to the
// session.
func assignCode(c *cell, s *session) error {
	c.writes++
	session, code := fmt.Sprintf("v%d %s", c.writes, c.pair.name), fmt.Sprintf("v%d %s", c.writes, c.name)
	r, at, err := c.one(s, "SET", c.name, session, "NX", "EX", seconds(c.ttl))
	if err != nil {
		return err
	}
	s.judge(c.kind, "SET NX", c.name, c.register.flagged(r.null, at))
	if r.null {
		return nil
	}
	c.register.set(session, c.ttl, at)
	_, at, err = c.pair.one(s, "SET", c.pair.name, code, "EX", seconds(c.ttl))
	if err == nil {
		c.pair.register.set(code, c.ttl, at)
	}
	return err
}

// resolveCode reads the round trip, from the code to its session and back.
func resolveCode(c *cell, s *session) error {
	replies, at, err := s.send(c.kind, batch{commands: []command{{"GET", c.name}, {"GET", c.pair.name}}})
	if err != nil {
		return err
	}
	s.judge(c.kind, "GET", c.name, c.register.read(replies[0], at))
	s.judge(c.pair.kind, "GET", c.pair.name, c.pair.register.read(replies[1], at))
	return nil
}

// releaseCode deletes both together.
func releaseCode(c *cell, s *session) error {
	replies, at, err := s.send(c.kind, batch{transaction: true, commands: []command{{"DEL", c.name}, {"DEL", c.pair.name}}})
	if err != nil {
		return err
	}
	s.judge(c.kind, "DEL", c.name, c.register.flagged(replies[0].num == 1, at))
	s.judge(c.pair.kind, "DEL", c.pair.name, c.pair.register.flagged(replies[1].num == 1, at))
	c.register.remove()
	c.pair.register.remove()
	return nil
}
