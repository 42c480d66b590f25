package demo

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// How many keys of each kind get most of the traffic. The others are what a backfill finds.
const (
	hotPerKind = 24
	tagsInAll  = 40 // tags are few, and all workers meet there
)

// keyspace is all keys, by kind.
type keyspace struct {
	byKind [][]*cell // parallel to kinds
	keys   int
}

// newKeyspace makes the models. The cells of access codes stand under both of their kinds.
func newKeyspace(prefix string, perKind int) *keyspace {
	ks := &keyspace{byKind: make([][]*cell, len(kinds))}
	tags := make([]*tagCell, tagsInAll)
	codes := make([]*cell, perKind)
	for k := range kinds {
		kind := &kinds[k]
		n := perKind
		if kind.rule == "tag_versions" {
			n = tagsInAll
		}
		for i := range n {
			c := &cell{kind: kind, name: kind.name(prefix, i)}
			if len(kind.ttls) > 0 {
				// Short times are for the hot keys: the others would be gone before a sweep comes.
				c.ttl = kind.ttls[len(kind.ttls)-1]
				if i < hotPerKind {
					c.ttl = kind.ttls[i%len(kind.ttls)]
				}
			}
			switch kind.rule {
			case "tag_versions":
				if tags[i] == nil {
					tags[i] = &tagCell{name: c.name}
				}
				c.tag = tags[i]
			case "query_cache":
				if t := i % tagsInAll; tags[t] == nil {
					tags[t] = &tagCell{name: kinds[tagKind].name(prefix, t)}
				}
				c.tag = tags[i%tagsInAll]
			case "session_codes":
				codes[i] = c
				continue // it is locked with its code
			case "access_codes":
				c.pair = codes[i]
				ks.byKind[k-1] = append(ks.byKind[k-1], c)
			}
			ks.byKind[k] = append(ks.byKind[k], c)
		}
		ks.keys += n
	}
	return ks
}

// tagKind is the place of tag_versions in kinds.
const tagKind = 1

// pick chooses a kind, one of its keys (most often a hot one) and what to do with it.
func (ks *keyspace) pick(s *session) (*cell, use) {
	k := s.random.IntN(len(kinds))
	cells := ks.byKind[k]
	n := len(cells)
	if s.random.IntN(100) < 85 {
		n = min(n, hotPerKind)
	}
	c := cells[s.random.IntN(n)]
	total := 0
	for _, u := range kinds[k].uses {
		total += u.weight
	}
	at := s.random.IntN(total)
	for _, u := range kinds[k].uses {
		if at -= u.weight; at < 0 {
			return c, u
		}
	}
	panic("demo: weights do not add up")
}

// fill writes every key for the first time.
func (ks *keyspace) fill(ctx context.Context, sessions []*session) error {
	return ks.each(ctx, sessions, func(c *cell, s *session) error {
		switch c.kind.rule {
		case "tag_versions":
			return bump(c, s)
		case "rate_limits":
			c.counter.n = 0
			return c.limit(s, 1)
		case "teacher_sessions":
			if err := logIn(c, s); err != nil {
				return err
			}
			return logIn(c, s)
		case "access_codes":
			return assignCode(c, s)
		default:
			return set(c, s)
		}
	})
}

// check reads every key and compares it with what it must hold.
func (ks *keyspace) check(ctx context.Context, sessions []*session) error {
	return ks.each(ctx, sessions, func(c *cell, s *session) error {
		switch c.kind.rule {
		case "tag_versions":
			return readTag(c, s)
		case "rate_limits":
			return peek(c, s)
		case "teacher_sessions":
			return listSessions(c, s)
		case "access_codes":
			return resolveCode(c, s)
		default:
			return get(c, s)
		}
	})
}

// each does something with every cell, divided among the sessions.
func (ks *keyspace) each(ctx context.Context, sessions []*session, do func(*cell, *session) error) error {
	var all []*cell
	for k, cells := range ks.byKind {
		if kinds[k].rule != "session_codes" { // they are with their codes
			all = append(all, cells...)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for i, s := range sessions {
		group.Go(func() error {
			for j := i; j < len(all) && ctx.Err() == nil; j += len(sessions) {
				all[j].mu.Lock()
				err := do(all[j], s)
				all[j].mu.Unlock()
				if err != nil {
					return fmt.Errorf("%s: %w", all[j].kind.rule, err)
				}
			}
			return ctx.Err()
		})
	}
	return group.Wait()
}
