package querycache

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// versions are the values of tags' counters, in the order of the tags. Values below firstVersion
// stand for a counter that nothing may be filled under.
type versions []int64

const (
	absent = 0  // no counter
	broken = -1 // no version of ours: the old release's, which begin at 1, or no number at all

	// firstVersion is the least value at which a counter starts. What counts from 1 after an
	// eviction, as the old release does, never reaches it.
	firstVersion = 1 << 32
	// endOfStarts leaves a counter as many steps again before programs that hold integers in
	// doubles lose count.
	endOfStarts = 1 << 52
)

func randomStart() int64 { return firstVersion + rand.Int64N(endOfStarts-firstVersion) }

func parseVersions(replies []any) versions {
	v := make(versions, len(replies))
	for i, reply := range replies {
		text, ok := reply.(string)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < firstVersion {
			n = broken
		}
		v[i] = n
	}
	return v
}

// usable says whether an entry may be filled or used under these versions.
func (v versions) usable() bool {
	return !slices.ContainsFunc(v, func(n int64) bool { return n < firstVersion })
}

func (v versions) String() string {
	var b strings.Builder
	for i, n := range v {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(n, 36))
	}
	return b.String()
}

// start gives the counters that are not usable a random start, and returns all of them as they are
// then. A counter that somebody else started meanwhile stays as it is. One that is broken is
// overwritten, which invalidates its tag: nothing could be filled under it anyway.
func (c *Cache) start(ctx context.Context, counters []string, now versions) (versions, error) {
	var values *redis.SliceCmd
	within, cancel := c.within(ctx)
	defer cancel()
	_, err := c.rdb.TxPipelined(within, func(p redis.Pipeliner) error {
		for i, n := range now {
			switch {
			case n == absent:
				p.SetNX(within, counters[i], randomStart(), 0)
			case n < firstVersion:
				p.Set(within, counters[i], randomStart(), 0)
			}
		}
		values = p.MGet(within, counters...)
		return nil
	})
	if err := c.outage.see(ctx, "start the counters of tags", err); err != nil {
		return nil, err
	}
	return parseVersions(values.Val()), nil
}

// bump invalidates tags: each counter is moved by one, and one that is not there starts at random.
// Both are one transaction, so that no eviction and no reader comes between them.
//
// A server that refuses (full memory, a counter that is no integer or is of another type) is asked
// to remove the counters instead. That needs no memory and invalidates just as well: no entry holds
// the random value at which the next one starts.
func (c *Cache) bump(ctx context.Context, counters []string) error {
	_, err := c.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, counter := range counters {
			p.SetNX(ctx, counter, randomStart(), 0)
			p.Incr(ctx, counter)
		}
		return nil
	})
	if isReply(err) {
		err = c.rdb.Unlink(ctx, counters...).Err()
	}
	return c.outage.see(ctx, "invalidate tags", err)
}

// isReply says whether an error is the server's answer, so that the server is there and nothing of
// a transaction that it stands for is under way.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}
