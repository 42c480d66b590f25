package querycache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/singleflight"
)

// query is one Get: where its entry is and how its value is made.
type query struct {
	names
	typ    Type
	counts *counts
	load   func(context.Context) ([]byte, error)
	check  func([]byte) bool // whether a stored value can be used; nil: any can
}

func (c *Cache) query(e Entry) (*query, error) {
	n, err := namesOf(e, c.cfg.Epochs)
	if err != nil {
		return nil, err
	}
	return &query{names: n, typ: e.Type, counts: c.metrics.of(e.Type)}, nil
}

// Get returns an entry's value, from the cache or from load, which then runs once for all who ask
// at the same time, in this process and in others. The value is the caller's own.
//
// load's context carries the values of the ctx that began it and ends with Config.LoadTimeout or
// Close, not with ctx. A panic of load is raised in every Get that waits for it. An error of load is
// returned as it is, unless an entry that expired less than 60 s ago can be given instead. Redis is
// never a reason for an error; what is wrong with the Entry is ([ErrType], [ErrTags],
// [keys.InvalidError]), and ctx's end is.
func (c *Cache) Get(ctx context.Context, e Entry, load func(ctx context.Context) ([]byte, error)) ([]byte, error) {
	q, err := c.query(e)
	if err != nil {
		return nil, err
	}
	q.load = load
	return c.get(ctx, q, func([]byte) bool { return true })
}

// Load is [Cache.Get] for values that are kept as JSON. An entry that does not decode into a T is a
// miss.
func Load[T any](ctx context.Context, c *Cache, e Entry, load func(ctx context.Context) (T, error)) (T, error) {
	var value T
	q, err := c.query(e)
	if err != nil {
		return value, err
	}
	q.load = func(ctx context.Context) ([]byte, error) {
		v, err := load(ctx)
		if err != nil {
			return nil, err
		}
		return json.Marshal(v)
	}
	q.check = func(stored []byte) bool { return json.Unmarshal(stored, new(T)) == nil }

	decoded := false
	stored, err := c.get(ctx, q, func(found []byte) bool {
		decoded = json.Unmarshal(found, &value) == nil
		return decoded
	})
	if decoded || err != nil {
		return value, err
	}
	var loaded T
	if err := json.Unmarshal(stored, &loaded); err != nil {
		return loaded, fmt.Errorf("query cache: decode a loaded result: %w", err)
	}
	return loaded, nil
}

// Lookup returns an entry's value if it is there, in its lifetime and not invalidated. Redis not
// answering is an [unavailable.Error]. The value is the caller's own.
func (c *Cache) Lookup(ctx context.Context, e Entry) (value []byte, found bool, err error) {
	start := time.Now()
	q, err := c.query(e)
	if err != nil {
		return nil, false, err
	}
	if c.ctx.Err() != nil {
		return nil, false, ErrClosed
	}
	r, err := c.read(ctx, q, nil)
	if err != nil {
		return nil, false, err
	}
	found = r.state >= stale
	q.counts.retrieved(found, start)
	if !found {
		return nil, false, nil
	}
	return r.value, true, nil
}

// get answers from the entry if accept takes its value, and otherwise from a flight.
func (c *Cache) get(ctx context.Context, q *query, accept func([]byte) bool) ([]byte, error) {
	start := time.Now()
	if c.ctx.Err() != nil {
		return nil, ErrClosed
	}
	r, readErr := c.read(ctx, q, nil) // accept checks: the value is decoded once on the way of most Gets
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r.state >= stale {
		if accept(r.value) {
			if r.state == stale {
				c.refresh(ctx, q, r)
			}
			q.counts.retrieved(true, start)
			return r.value, nil
		}
	}
	a, err := c.join(ctx, q, r, readErr)
	q.counts.retrieved(false, start)
	if err != nil {
		return nil, err
	}
	return a.value, nil
}

// origin says where a flight's value came from.
type origin uint8

const (
	fromLoader origin = iota
	fromEntry         // somebody else loaded it meanwhile
	fromExpired
)

// answer is what a flight brings.
type answer struct {
	value []byte
	from  origin
}

// join waits for the flight of those who saw what r shows, and begins it if there is none.
//
// Who saw other versions does not join, nor who came after an invalidation or upsert by this
// process: the running loader may have read what was invalidated.
func (c *Cache) join(ctx context.Context, q *query, r reading, readErr error) (answer, error) {
	kind := "get"
	switch {
	case readErr != nil:
		kind = "direct"
	case q.check != nil:
		kind = "load" // not with one that takes values that do not decode
	}
	leader := false
	name := c.flightName(kind, q, r)
	flight := c.flights.DoChan(name, func() (any, error) {
		leader = true
		return c.fly(ctx, func(ctx context.Context) (answer, error) {
			if readErr != nil {
				value, err := c.runLoader(ctx, q)
				return answer{value, fromLoader}, err
			}
			return c.loadOnce(ctx, q, r, name)
		})
	})
	select {
	case <-ctx.Done():
		return answer{}, ctx.Err()
	case done := <-flight:
		return received(q, done, leader)
	}
}

func received(q *query, done singleflight.Result, leader bool) (answer, error) {
	if done.Err != nil {
		if p, ok := errors.AsType[*loaderPanic](done.Err); ok {
			panic(p)
		}
		return answer{}, done.Err
	}
	a := done.Val.(answer)
	switch {
	case a.from == fromExpired:
		q.counts.staleServed.Add(1)
	case !leader || a.from == fromEntry:
		q.counts.coalesced.Add(1)
	}
	if done.Shared { // what one caller does to its value must not reach the others
		a.value = bytes.Clone(a.value)
	}
	return a, nil
}

// flightName is equal for those who may share a load.
func (c *Cache) flightName(kind string, q *query, r reading) string {
	return kind + " " + strconv.FormatUint(c.generation.Load(), 10) + " " + r.versions.String() + " " + q.entry
}
