package session

import (
	"context"
	"time"
)

// Beat runs one round of Run, for tests that choose the moment.
func (s *Sessions) Beat(ctx context.Context) { s.beat(ctx) }

// SetLinger changes how long what was ended is cleared again.
func (s *Sessions) SetLinger(d time.Duration) { s.settler.linger = d }

// Flush tells the database what no request waited for.
func (s *Sessions) Flush(ctx context.Context) error { return s.flush(ctx) }

// Put puts a session of the database into the cache, as Run does, with a time limit that began then.
func (s *Sessions) Put(ctx context.Context, id string, r Record, began time.Time) error {
	return s.putAgain(ctx, id, r, began)
}

// CacheClock is the server's time.
func (s *Sessions) CacheClock(ctx context.Context) (time.Time, error) { return s.cache.clock(ctx) }

// ErrLate is a put beyond its time limit.
var ErrLate = errLate

// The limits of puts and clears.
const (
	Fence       = fence
	ClearLinger = clearLinger
)
