package querycache

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// holder is the value of a lock: a token that is nobody else's, and the versions that its owner saw.
// Who sees other versions need not wait: what the owner loads is good for nobody any more.
type holder string

func newHolder(v versions) holder { return holder(rand.Text() + " " + v.String()) }

func (h holder) versions() string {
	_, v, _ := strings.Cut(string(h), " ")
	return v
}

// Scripts act on a lock only while it is the caller's: KEYS[1] is the lock, ARGV[1] its holder.
var (
	// fillScript keeps a result and gives the lock back.
	fillScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[1])
return 1`)
	releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`)
	renewScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`)
	takeOverScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`)
)

// look is what was seen under a lock or in front of it.
type look struct {
	reading
	mine   bool
	holder holder // who has the lock; empty if that was not to be seen
}

// outdated says whether the lock's holder loads under versions that are no longer those of now.
func (l look) outdated() bool {
	return l.holder != "" && l.versions.usable() && l.holder.versions() != l.versions.String()
}

// tryLock takes the lock if it is free and then looks at the entry, in one round trip. Token and TTL
// are set by one command, so that no lock is left for ever by whoever dies between two.
//
// That the lock is ours is read from it, not from the reply to SET: the client sends a command
// again whose reply was lost, and then the lock is held, by us.
func (c *Cache) tryLock(ctx context.Context, q *query, me holder) (look, error) {
	var got *redis.StringCmd
	var found *redis.SliceCmd
	within, cancel := c.within(ctx)
	defer cancel()
	_, err := c.rdb.Pipelined(within, func(p redis.Pipeliner) error {
		p.SetNX(within, q.lock, string(me), c.lockTTL)
		got = p.Get(within, q.lock)
		found = p.MGet(within, q.reads...)
		return nil
	})
	if errors.Is(err, redis.Nil) { // the lock ended between the first two: that is no failure
		err = found.Err()
	}
	if err := c.outage.see(ctx, "lock a cached result", err); err != nil {
		return look{}, err
	}
	held := holder(got.Val())
	return look{reading: c.examine(q, found.Val(), q.check), mine: held == me, holder: held}, nil
}

// takeOver takes a lock from a holder whose result nobody can use.
func (c *Cache) takeOver(ctx context.Context, q *query, from, me holder) bool {
	n, err := takeOverScript.Run(ctx, c.rdb, []string{q.lock}, string(from), string(me), c.lockTTL.Milliseconds()).Int()
	return c.outage.see(ctx, "take over a lock", err) == nil && n == 1
}

// release gives a lock back if it is still ours. If that fails its TTL ends it.
func (c *Cache) release(ctx context.Context, q *query, me holder) {
	err := releaseScript.Run(ctx, c.rdb, []string{q.lock}, string(me)).Err()
	_ = c.outage.see(ctx, "release a lock", err) // counted; nothing depends on it
}

// releaseLater is release in the background, for a lock of which nothing is known but that Redis did
// not answer well: the load goes on, and nobody should have to wait for the lock's TTL.
func (c *Cache) releaseLater(q *query, me holder) {
	if !c.begin() {
		return
	}
	go func() {
		defer c.work.Done()
		ctx, cancel := context.WithTimeout(c.ctx, cleanupTimeout)
		defer cancel()
		c.release(ctx, q, me)
	}()
}

// fill keeps a result if the lock is still ours. A result that is not kept costs a load later, no
// more, so that no request fails for it.
func (c *Cache) fill(ctx context.Context, q *query, me holder, e *envelope) {
	keep := c.keepFor(e)
	if e.size > c.cfg.MaxValue || keep <= 0 {
		if keep > 0 {
			q.counts.tooLarge.Add(1)
		}
		c.release(ctx, q, me)
		return
	}
	done, err := fillScript.Run(ctx, c.rdb, []string{q.lock, q.entry}, string(me), e.seal(q.entry), keep.Milliseconds()).Int()
	switch {
	case isReply(err): // full memory: what the script does not write it does not release
		c.release(ctx, q, me)
		fallthrough
	case err != nil:
		_ = c.outage.see(ctx, "keep a result", err) // counted: the value is returned all the same
	case done == 0:
		q.counts.fillsRefused.Add(1)
	default:
		q.counts.fills.Add(1)
	}
}

// keepFor is the TTL in Redis: what is left of the lifetime, and the time for loaders that fail.
func (c *Cache) keepFor(e *envelope) time.Duration {
	return e.lifetime + staleFor - c.cfg.Now().Sub(e.loaded)
}

// renew holds a lock while its loader runs. The function that it returns ends that and waits for it.
func (c *Cache) renew(ctx context.Context, q *query, me holder) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(c.lockTTL / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			n, err := renewScript.Run(ctx, c.rdb, []string{q.lock}, string(me), c.lockTTL.Milliseconds()).Int()
			if c.outage.see(ctx, "renew a lock", err) == nil && n == 0 {
				return // it is somebody else's; the fill will find out as well
			}
		}
	}()
	return func() { cancel(); <-done }
}
