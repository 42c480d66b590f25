package querycache

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/keys"
)

// Upsert stores a value that the caller has just committed to the database, so that the next Get
// need not load it. Loaders that run at that moment do not overwrite it. Of two upserts the later
// one stays: writers that are not ordered by the database call [Cache.Invalidate] instead.
//
// An error ([unavailable.Error], or what is wrong with the Entry) means that an older value may
// still be there. A value over Config.MaxValue is not kept, but the older one is removed.
func (c *Cache) Upsert(ctx context.Context, e Entry, value []byte) error {
	q, err := c.query(e)
	if err != nil {
		return err
	}
	if c.ctx.Err() != nil {
		return ErrClosed
	}
	c.generation.Add(1)
	began := c.cfg.Now()
	now, err := c.versionsOf(ctx, q)
	if isReply(err) {
		return c.remove(ctx, q)
	}
	if err != nil {
		return err
	}
	sealed := c.envelope(q, began, now, value)
	if len(value) > c.cfg.MaxValue {
		q.counts.tooLarge.Add(1)
		return c.remove(ctx, q)
	}
	if !now.usable() {
		return c.remove(ctx, q)
	}
	_, err = c.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, q.entry, sealed.seal(q.entry), c.keepFor(sealed))
		p.Unlink(ctx, q.lock)
		return nil
	})
	if isReply(err) {
		return c.remove(ctx, q)
	}
	if err := c.outage.see(ctx, "store a result", err); err != nil {
		return err
	}
	q.counts.fills.Add(1)
	return nil
}

// versionsOf reads the versions of a query's tags and starts those that are not there.
func (c *Cache) versionsOf(ctx context.Context, q *query) (versions, error) {
	if !c.cfg.Epochs || len(q.counters) == 0 {
		return nil, nil
	}
	replies, err := c.rdb.MGet(ctx, q.counters...).Result()
	if err := c.outage.see(ctx, "read versions", err); err != nil {
		return nil, err
	}
	now := parseVersions(replies)
	if now.usable() {
		return now, nil
	}
	return c.start(ctx, q.counters, now)
}

// remove is for a value that cannot be stored, say for full memory: no entry is as good as the new
// one, and the old one is not.
func (c *Cache) remove(ctx context.Context, q *query) error {
	return c.outage.see(ctx, "remove a cached result", c.rdb.Unlink(ctx, q.entry, q.lock).Err())
}

// Invalidate makes every Get that begins after it has returned load anew what the scopes cover. Call
// it when the change is committed.
//
// It returns an error if any scope may not have been invalidated: an [unavailable.Error], or, before
// anything is sent, what is wrong with a scope. The caller repeats it then or does not acknowledge
// the change: until the entries end by themselves, nobody else will.
//
// With epochs its cost is that of moving one counter for each tag. Without, it walks all keys of the
// database twice.
func (c *Cache) Invalidate(ctx context.Context, scopes ...Scope) error {
	if c.ctx.Err() != nil {
		return ErrClosed
	}
	var counters []string
	for _, s := range scopes {
		if _, err := patternsOf(s); err != nil {
			return err
		}
		if len(s.Tags) == 0 {
			return ErrTags
		}
		names, err := counterNames(s.Tags)
		if err != nil {
			return err
		}
		counters = append(counters, names...)
	}
	if len(scopes) == 0 {
		return nil
	}
	c.generation.Add(1)
	err := c.invalidate(ctx, scopes, sorted(counters))
	if err != nil {
		c.metrics.invalidationsFailed.Add(uint64(len(scopes)))
		return err
	}
	c.metrics.invalidated.Add(uint64(len(scopes)))
	return nil
}

func (c *Cache) invalidate(ctx context.Context, scopes []Scope, counters []string) error {
	if c.cfg.Epochs {
		return c.bump(ctx, counters)
	}
	var errs []error
	for _, s := range scopes {
		patterns, err := patternsOf(s)
		if err != nil {
			return err
		}
		for _, pattern := range patterns {
			if err := c.removeAll(ctx, pattern); err != nil {
				errs = append(errs, err)
				break
			}
		}
	}
	return errors.Join(errs...)
}

// patternsOf gives what to remove, in this order: first the locks, so that no loader that runs now
// can keep what it read, and only when all of those are gone the entries. The other way round, a
// loader could store its result behind the walk over the entries.
func patternsOf(s Scope) (patterns [2]string, err error) {
	if patterns[0], err = keys.QueryCacheLockPattern(s.Type.Name, s.Prefix); err != nil {
		return patterns, err
	}
	patterns[1], err = keys.QueryCachePattern(s.Type.Name, s.Prefix)
	return patterns, err
}

// scanCount is how many keys the server looks at for one SCAN: some tens of microseconds.
const scanCount = 1000

// removeAll removes the keys that match, page by page, never with KEYS: the server answers others in
// between.
func (c *Cache) removeAll(ctx context.Context, pattern string) error {
	const op = "remove cached results"
	for cursor := uint64(0); ; {
		page, next, err := c.rdb.Scan(ctx, cursor, pattern, scanCount).Result()
		if err := c.outage.see(ctx, op, err); err != nil {
			return err
		}
		if len(page) > 0 {
			if err := c.outage.see(ctx, op, c.rdb.Unlink(ctx, page...).Err()); err != nil {
				return err
			}
		}
		if next == 0 {
			return nil
		}
		cursor = next
	}
}
