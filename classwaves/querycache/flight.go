package querycache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

const (
	// A waiter looks again after firstPause, and then ever more rarely up to lastPause.
	firstPause = 2 * time.Millisecond
	lastPause  = 100 * time.Millisecond
	// refreshPause is between two attempts of a process to load a stale entry in the background, if
	// the first one did not.
	refreshPause = 500 * time.Millisecond
	// cleanupTimeout bounds what is done after a loader, whose own context may have ended.
	cleanupTimeout = 2 * time.Second
)

// loaderPanic carries a loader's panic from the flight to those who wait for it.
type loaderPanic struct {
	value any
	stack []byte
}

func (p *loaderPanic) Error() string {
	return fmt.Sprintf("query cache: loader panicked: %v\n\n%s", p.value, p.stack)
}

// fly runs a load whose context is not the request's: others may wait for it.
func (c *Cache) fly(request context.Context, load func(context.Context) (answer, error)) (answer, error) {
	if !c.begin() {
		return answer{}, ErrClosed
	}
	defer c.work.Done()
	ctx, cancel := c.detach(request)
	defer cancel()
	return load(ctx)
}

// detach gives a context with the request's values that ends with the cache.
func (c *Cache) detach(request context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(request))
	unfollow := context.AfterFunc(c.ctx, func() { cancel(ErrClosed) })
	return ctx, func() { unfollow(); cancel(nil) }
}

// refresh loads a stale entry again in the background, if nobody does so already.
func (c *Cache) refresh(request context.Context, q *query, r reading) {
	name := c.flightName("refresh", q, r)
	if _, already := c.refreshing.LoadOrStore(name, nil); already {
		return
	}
	if !c.begin() {
		c.refreshing.Delete(name)
		return
	}
	go func() {
		defer c.work.Done()
		defer c.refreshing.Delete(name)
		ctx, cancel := c.detach(request)
		defer cancel()
		if !c.refreshNow(ctx, q, r) {
			pause(ctx, refreshPause) // or every Get of the entry would try again
		}
	}()
}

// refreshNow answers false if the entry is as stale as before: another process is at it, Redis is
// away, or the loader failed.
func (c *Cache) refreshNow(ctx context.Context, q *query, r reading) bool {
	me := newHolder(r.versions)
	look, err := c.tryLock(ctx, q, me)
	if err != nil || !look.mine {
		return false
	}
	if look.state == fresh || !look.versions.usable() {
		c.release(ctx, q, me)
		return true
	}
	q.counts.refreshAhead.Add(1)
	_, err = c.loadLocked(ctx, q, me, look.versions)
	if p, ok := errors.AsType[*loaderPanic](err); ok { // there is no request to raise it in
		c.cfg.Logger.Error("query cache: a loader panicked in the background", "type", q.typ.Name, "stack", string(p.stack))
	}
	return err == nil
}

// loadOnce gives a value that at most one process of the fleet loads. r is what the caller saw, and
// flight the name under which others join.
func (c *Cache) loadOnce(ctx context.Context, q *query, r reading, flight string) (answer, error) {
	if !r.versions.usable() {
		var err error
		r.versions, err = c.start(ctx, q.counters, r.versions)
		// Who sees no counters from now on does not join: they may be gone again, after an
		// invalidation that this load has not seen.
		c.flights.Forget(flight)
		if err != nil {
			return c.loadAlone(ctx, q)
		}
	}
	me := newHolder(r.versions)
	giveUp := time.Now().Add(c.lockTTL)
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		look, err := c.tryLock(ctx, q, me)
		if ctx.Err() != nil {
			return answer{}, context.Cause(ctx)
		}
		if err != nil {
			c.releaseLater(q, me) // the lock may be ours all the same: only the reply is missing
			return c.loadAlone(ctx, q)
		}
		if look.state >= stale {
			if look.mine {
				c.release(ctx, q, me)
			}
			return answer{look.value, fromEntry}, nil
		}
		if look.mine {
			return c.loadHere(ctx, q, me, look.versions)
		}
		if c.cfg.Epochs && look.outdated() && c.takeOver(ctx, q, look.holder, me) {
			continue // look again: what was read was read before the lock was ours
		}
		if time.Now().After(giveUp) {
			return c.loadAlone(ctx, q)
		}
		pause(ctx, wait/2+rand.N(wait))
	}
}

// pause returns after d or at ctx's end.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// loadHere runs the loader under a lock that is ours. If it fails, an entry that is good enough and
// was not invalidated meanwhile is given instead.
func (c *Cache) loadHere(ctx context.Context, q *query, me holder, now versions) (answer, error) {
	value, err := c.loadLocked(ctx, q, me, now)
	if err == nil {
		return answer{value, fromLoader}, nil
	}
	return c.insteadOf(ctx, q, err)
}

// loadAlone runs the loader without keeping its result: nobody would know what it could overwrite.
func (c *Cache) loadAlone(ctx context.Context, q *query) (answer, error) {
	value, err := c.runLoader(ctx, q)
	if err == nil {
		return answer{value, fromLoader}, nil
	}
	return c.insteadOf(ctx, q, err)
}

// insteadOf gives an entry for a loader that failed. A panic is no such failure: it is to be seen.
func (c *Cache) insteadOf(ctx context.Context, q *query, loadErr error) (answer, error) {
	if _, ok := errors.AsType[*loaderPanic](loadErr); ok {
		return answer{}, loadErr
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	r, err := c.read(ctx, q, q.check)
	switch {
	case err != nil || r.state == none:
		return answer{}, loadErr
	case r.state == expired:
		return answer{r.value, fromExpired}, nil
	}
	return answer{r.value, fromEntry}, nil
}

// loadLocked runs the loader, keeps its result and gives the lock back. now are the versions that
// were read under the lock.
func (c *Cache) loadLocked(ctx context.Context, q *query, me holder, now versions) (value []byte, err error) {
	if !now.usable() { // a counter was evicted since we looked first
		if now, err = c.start(ctx, q.counters, now); err != nil {
			now = versions{absent}
		}
	}
	began := c.cfg.Now()
	endRenewal := c.renew(ctx, q, me)
	value, err = c.runLoader(ctx, q)
	endRenewal()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if err != nil || !now.usable() {
		c.release(ctx, q, me)
		return value, err
	}
	c.fill(ctx, q, me, c.envelope(q, began, now, value))
	return value, nil
}

// envelope makes the entry for a value that was being made from began on.
func (c *Cache) envelope(q *query, began time.Time, now versions, value []byte) *envelope {
	e := &envelope{loaded: began, lifetime: c.lifetime(q.typ), versioned: c.cfg.Epochs}
	if c.cfg.Epochs {
		e.tags = make([]tagVersion, len(q.tags))
		for i, tag := range q.tags {
			e.tags[i] = tagVersion{tag, now[i]}
		}
	}
	c.codec.pack(e, q.typ, value)
	return e
}

// runLoader runs the loader within its time and turns its panic into an error.
func (c *Cache) runLoader(ctx context.Context, q *query) (value []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.LoadTimeout)
	defer cancel()
	q.counts.loads.Add(1)
	defer func() {
		if p := recover(); p != nil {
			value, err = nil, &loaderPanic{p, debug.Stack()}
		}
		if err != nil {
			q.counts.loadErrors.Add(1)
		}
	}()
	return q.load(ctx)
}
