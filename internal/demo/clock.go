package demo

import (
	"context"
	"sync/atomic"
	"time"
)

// clock is the time by which keys expire: the world's for a real server, or that of the embedded one,
// which stands still but for the steps by which it is driven. The embedded server could follow the
// world by its own means (ClockTTL), but then it looks at every key before every command.
type clock struct {
	origin time.Time
	real   bool
	// begun and done are the steps of the embedded server's clock, in sum. While a step is made its
	// time lies between the two.
	begun, done atomic.Int64
}

// before is a time that the server's has reached.
func (c *clock) before() time.Time {
	if c.real {
		return time.Now()
	}
	return c.origin.Add(time.Duration(c.done.Load()))
}

// after is a time that the server's has not passed.
func (c *clock) after() time.Time {
	if c.real {
		return time.Now()
	}
	return c.origin.Add(time.Duration(c.begun.Load()))
}

// clockStep is how often the embedded server's clock is moved on. Each time it sorts all of its keys
// and answers nobody meanwhile, so on a machine where that is slow it is done less often: clockShare
// is the share of time that may go into it.
const (
	clockStep  = 50 * time.Millisecond
	clockShare = 20
)

// drive moves the embedded server's clock as the world's goes.
func (c *clock) drive(ctx context.Context, forward func(time.Duration)) {
	next := time.NewTimer(clockStep)
	defer next.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			now := time.Now()
			c.begun.Add(int64(now.Sub(last)))
			forward(now.Sub(last))
			c.done.Store(c.begun.Load())
			last = now
			next.Reset(max(clockStep, clockShare*time.Since(now)))
		}
	}
}
