package querycache

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// state is how good an entry is. A greater one is better.
type state uint8

const (
	none    state = iota // absent, unreadable or invalidated: never used
	expired              // past its lifetime, for a loader that fails
	stale                // used, and loaded again in the background
	fresh                // used
)

// reading is what one look at Redis showed.
type reading struct {
	state    state
	value    []byte   // where state is not none
	versions versions // of the entry's tags, as they are now; nil without epochs
}

// read looks at an entry and its tags' counters with one command. A value that check refuses counts
// as damaged; a nil check takes any.
func (c *Cache) read(ctx context.Context, q *query, check func([]byte) bool) (reading, error) {
	within, cancel := c.within(ctx)
	defer cancel()
	replies, err := c.rdb.MGet(within, q.reads...).Result()
	if err := c.outage.see(ctx, "read a cached result", err); err != nil {
		return reading{}, err
	}
	return c.examine(q, replies, check), nil
}

// examine decides about the replies to q.reads. MGET answers nil for a key of another type: such an
// entry is absent, and such a counter as well, until it is overwritten.
func (c *Cache) examine(q *query, replies []any, check func([]byte) bool) reading {
	if len(replies) != len(q.reads) { // no server does this; nothing can be said of it
		return reading{versions: make(versions, len(q.counters))}
	}
	var r reading
	if c.cfg.Epochs {
		r.versions = parseVersions(replies[1:])
	}
	text, ok := replies[0].(string)
	if !ok {
		return r
	}
	e, err := open(q.entry, []byte(text))
	if errors.Is(err, errForeign) {
		return c.examineForeign(q, r, text, check)
	}
	if err != nil {
		q.counts.corrupt.Add(1)
		return r
	}
	if !c.valid(q, &e, r.versions) {
		return r
	}
	age := stateAt(c.cfg.Now(), e.loaded, e.lifetime)
	if age == none {
		return r
	}
	value, err := c.codec.unpack(&e)
	if err != nil || check != nil && !check(value) {
		q.counts.corrupt.Add(1)
		return r
	}
	r.state, r.value = age, value
	return r
}

// examineForeign decides about what the old release stored: results as JSON, without a word about
// when or under which versions. Its TTL is all that it has, so it is fresh while it is there.
func (c *Cache) examineForeign(q *query, r reading, text string, check func([]byte) bool) reading {
	if c.cfg.Epochs {
		return r
	}
	value := []byte(text)
	if len(value) > c.cfg.MaxValue || !json.Valid(value) || check != nil && !check(value) {
		q.counts.corrupt.Add(1)
		return r
	}
	r.state, r.value = fresh, value
	return r
}

// valid says whether an entry was not invalidated. Who does not follow versions cannot tell for an
// entry that has them: with epochs on, nobody removes entries.
func (c *Cache) valid(q *query, e *envelope, now versions) bool {
	if !c.cfg.Epochs || !e.versioned {
		return !c.cfg.Epochs && !e.versioned
	}
	if len(e.tags) != len(q.tags) || !now.usable() {
		return false
	}
	for i, t := range e.tags {
		if t.tag != q.tags[i] || t.version != now[i] {
			return false
		}
	}
	return true
}

// stateAt is the state of an unbroken entry. One from the future is of a process whose clock is
// ahead; the TTL in Redis bounds how long it can seem young.
func stateAt(now, loaded time.Time, lifetime time.Duration) state {
	age := now.Sub(loaded)
	switch {
	case age < time.Duration(freshPart*float64(lifetime)):
		return fresh
	case age < lifetime:
		return stale
	case age < lifetime+staleFor:
		return expired
	}
	return none
}
