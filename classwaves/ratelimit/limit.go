package ratelimit

import (
	"fmt"
	"time"

	"github.com/classwaves/rekey/classwaves/keys"
)

// Limit is how often a subject may do something.
type Limit struct {
	// Name stands in the key and in the metrics, so it is one of a few that the program knows. It
	// holds no colon.
	Name string
	// Points is how many hits pass in a window; at least 1.
	Points int
	// Window begins at a subject's first hit and ends this much later; at least a millisecond. The
	// Node processes count in whole seconds: a limit that they share is one of whole seconds.
	Window time.Duration
	// Block is how long the first hit too many shuts the subject out, from that hit on. 0: until the
	// window ends.
	Block time.Duration
}

// The limits that production always had.
var (
	General = Limit{Name: "general", Points: 100, Window: 900 * time.Second, Block: 900 * time.Second}
	Auth    = Limit{Name: "auth", Points: 5, Window: 900 * time.Second, Block: 900 * time.Second}
)

// Decision is the answer to one hit.
type Decision struct {
	// Allowed says that the hit was within the limit.
	Allowed bool
	// Limit is the limit's points, Remaining how many are left.
	Limit, Remaining int
	// RetryAfter is when a hit may pass again; 0 when this one did.
	RetryAfter time.Duration
	// Reset is when all points are there again.
	Reset time.Duration
	// Insured says that Redis did not answer, and this process decided alone.
	Insured bool
}

// key checks a limit and a subject and names their counter.
func (l Limit) key(subject string) (string, error) {
	switch {
	case l.Points < 1:
		return "", &keys.InvalidError{What: "limit", Reason: "must have at least one point"}
	case l.Window < time.Millisecond || l.Block < 0 || l.Block > 0 && l.Block < time.Millisecond:
		return "", &keys.InvalidError{What: "limit", Reason: "must have a window, and a block or none, of at least a millisecond"}
	}
	name, err := keys.RateLimit(l.Name, subject)
	if err != nil {
		return "", fmt.Errorf("rate limit: %w", err)
	}
	return name, nil
}

// decide is the answer to a count and the rest of its key's life.
func (l Limit) decide(count int64, left time.Duration) Decision {
	d := Decision{Allowed: count <= int64(l.Points), Limit: l.Points, Reset: max(left, 0)}
	if d.Allowed {
		d.Remaining = l.Points - int(max(count, 0))
		return d
	}
	d.RetryAfter = max(left, time.Millisecond)
	return d
}
