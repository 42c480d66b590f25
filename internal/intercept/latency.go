package intercept

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// AddedEach is of how many writes and reads of a connection one is measured, on average: a look at the clock
// costs as much as a small command. Which one is left to chance, since an application may send the same
// commands in the same order for ever.
const AddedEach = 16

// AddedBounds are the upper bounds of the buckets of a [Latency]; there is one more behind them.
var AddedBounds = [...]time.Duration{
	time.Microsecond, 2 * time.Microsecond, 5 * time.Microsecond, 10 * time.Microsecond, 20 * time.Microsecond, 50 * time.Microsecond,
	100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond,
}

// Latency counts durations by their size. It is safe for concurrent use.
type Latency struct {
	buckets [len(AddedBounds) + 1]atomic.Uint64
	sum     atomic.Int64
}

func (l *Latency) add(d time.Duration) {
	i := 0
	for i < len(AddedBounds) && d > AddedBounds[i] {
		i++
	}
	l.buckets[i].Add(1)
	l.sum.Add(int64(d))
}

// Counts are how many durations there were in each bucket, and their sum.
func (l *Latency) Counts() (counts []uint64, sum time.Duration) {
	for i := range l.buckets {
		counts = append(counts, l.buckets[i].Load())
	}
	return counts, time.Duration(l.sum.Load())
}

// began is the time of now for each call that is measured, else zero. What the call waits for the other side of
// the connection belongs to what it adds.
func (c *Conn) began() time.Time {
	if c.until.Add(-1) > 0 {
		return time.Time{}
	}
	c.until.Store(untilNext())
	return time.Now()
}

// untilNext is a number of calls to the next one that is measured.
func untilNext() int32 { return 1 + rand.Int32N(2*AddedEach-1) }

// orNow is the time of now where no other is known.
func orNow(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now()
	}
	return t
}

// added notes how long a call that began then has held bytes up.
func (c *Conn) added(began time.Time) {
	if !began.IsZero() {
		c.session.rules.Stats.Added.add(time.Since(began))
	}
}
