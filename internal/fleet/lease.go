package fleet

import "time"

// Lease is the right of an instance to send commands of rules that are not parked. It is a value: it
// holds no clock and no connection.
//
// Its term counts from when the renewal began, not from when its answer came: the server dates the
// renewal later than this instance began it, so the instance gives the lease up before anybody who
// reads the record can take it for lost. The margin covers what is still on its way then.
type Lease struct {
	began  time.Time // when the renewal that is in force was begun; zero: none was
	term   time.Duration
	margin time.Duration
}

// NewLease is the lease of a renewal.
func NewLease(began time.Time, term, margin time.Duration) Lease { return Lease{began, term, margin} }

// Remaining is how long commands may still be sent; it is not positive when they may not.
func (l Lease) Remaining(now time.Time) time.Duration {
	if l.began.IsZero() {
		return 0
	}
	return l.term - l.margin - now.Sub(l.began)
}

// Age is how long ago the renewal began.
func (l Lease) Age(now time.Time) time.Duration { return now.Sub(l.began) }
