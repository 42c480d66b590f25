package session

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/classwaves/rekey/classwaves/unavailable"
)

const (
	settleBatch = 100              // records that are put or cleared under one time limit
	forgetEvery = time.Hour        // pause between two deletions of old records
	forgetAfter = 24 * time.Hour   // how long a record outlives its deadline
	lastFlush   = 10 * time.Second // how long Run has after its end to deliver what waits
)

// settler tells Redis what it missed. Its fields belong to the one beat at a time.
type settler struct {
	mu     sync.Mutex
	server string              // the run of Redis that was filled last
	seen   map[string]sighting // clears that were made and are made again
	linger time.Duration
	forgot time.Time
}

// sighting is when a record was first seen in one state of its Pending.
type sighting struct {
	version int64
	at      time.Time
}

// Run does the background work until ctx ends or Close is called, and then returns nil: each second it
// tells the database of signs of life and refused requests, looks whether Redis is there and still the
// one that it was, and tells it what it missed. Every process has to run it.
func (s *Sessions) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.runs.Add(1)
	s.mu.Unlock()
	defer s.runs.Done()

	beat := time.NewTicker(s.cfg.Beat)
	defer beat.Stop()
	for {
		s.beat(ctx)
		select {
		case <-ctx.Done():
		case <-s.closing:
		case <-beat.C:
			continue
		}
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
		defer cancel()
		_ = s.flush(last) // the database logs its outages itself
		return nil
	}
}

// beat is one round. It ends the suspicion when all of it went well and nothing failed meanwhile.
func (s *Sessions) beat(ctx context.Context) {
	s.settler.mu.Lock()
	defer s.settler.mu.Unlock()
	_, generation := s.health.state()
	flushErr := s.flush(ctx)
	run, err := s.cache.server(ctx)
	if err != nil {
		return
	}
	if run != "" && run != s.settler.server {
		if s.settler.server != "" {
			s.health.fail(nil) // it was started again, perhaps from an old snapshot
			_, generation = s.health.state()
		}
		if err := s.refill(ctx, run); err != nil {
			return
		}
		s.settler.server = run
	}
	if err := s.settle(ctx); err == nil && flushErr == nil {
		s.health.trust(generation)
	}
	s.forgetOld(ctx)
}

// flush tells the database what no request waited for.
func (s *Sessions) flush(ctx context.Context) error {
	taken := s.queue.take()
	err := s.deliver(ctx, taken)
	if err != nil {
		s.queue.giveBack(taken)
	}
	return err
}

// deliver takes out of what it was given what it has delivered.
func (s *Sessions) deliver(ctx context.Context, q *queue) error {
	for teacher, at := range q.teachers {
		if _, _, err := s.db.revokeTeacher(ctx, teacher, at, at.UnixMilli()); err != nil {
			return err
		}
		delete(q.teachers, teacher)
	}
	for at, hashes := range q.endedByTime() {
		if _, err := s.db.revoke(ctx, hashes, at); err != nil {
			return err
		}
		for _, hash := range hashes {
			delete(q.ended, hash)
		}
	}
	for batch := range slices.Chunk(q.touchList(), settleBatch) {
		if err := s.db.do(ctx, "store signs of life", writeTimeout, func(ctx context.Context) error {
			return s.db.backing.TouchSessions(ctx, batch)
		}); err != nil {
			return err
		}
		for _, t := range batch {
			delete(q.touches, t.Hash)
		}
	}
	for batch := range slices.Chunk(q.mismatchList(), settleBatch) {
		if err := s.db.do(ctx, "record refused requests", writeTimeout, func(ctx context.Context) error {
			return s.db.backing.RecordMismatches(ctx, batch)
		}); err != nil {
			return err
		}
		for _, m := range batch {
			delete(q.mismatches, m.Hash)
		}
	}
	return nil
}

// refill has all of Redis told again, once for each run of the server.
func (s *Sessions) refill(ctx context.Context, run string) error {
	return s.db.do(ctx, "refill the cache", writeTimeout, func(ctx context.Context) error {
		done, err := s.db.backing.RefillCache(ctx, run, s.cfg.Now())
		if done {
			s.metrics.settled.WithLabelValues("refill").Inc()
		}
		return err
	})
}

// settle tells Redis everything that is pending in the database now. It returns nil when Redis has
// been told all of it.
func (s *Sessions) settle(ctx context.Context) error {
	seen := make(map[string]sighting)
	after := ""
	for {
		began, err := s.cache.clock(ctx) // before the records are read; see create
		if err != nil {
			return err
		}
		records, err := s.db.pending(ctx, after, settleBatch)
		if err != nil {
			return err
		}
		if err := s.settleBatch(ctx, began, records, seen); err != nil {
			return err
		}
		if len(records) < settleBatch {
			break
		}
		after = records[len(records)-1].Hash
	}
	s.settler.seen = seen
	return nil
}

func (s *Sessions) settleBatch(ctx context.Context, began time.Time, records []Record, seen map[string]sighting) error {
	var clears []named
	var done []Settled
	var late error
	for _, r := range records {
		id, err := s.ring.openID(r.Hash, r.SealedID)
		if err != nil { // there is no key that could be named
			s.metrics.integrity.WithLabelValues(err.Error()).Inc()
			done = append(done, Settled{r.Hash, r.Version})
			continue
		}
		if r.Revoked() {
			clears = append(clears, named{id, r.TeacherID})
			if s.lingered(r, seen) {
				done = append(done, Settled{r.Hash, r.Version})
			}
			continue
		}
		if late = s.putAgain(ctx, id, r, began); late != nil {
			break // what is done is kept, the next beat goes on
		}
		done = append(done, Settled{r.Hash, r.Version})
	}
	if err := s.cache.remove(ctx, clears); err != nil {
		return err
	}
	s.metrics.settled.WithLabelValues("clear").Add(float64(len(clears)))
	changed, err := s.db.settle(ctx, done)
	if err != nil {
		return err
	}
	return errors.Join(late, s.clearChanged(ctx, records, changed))
}

// putAgain puts one session into Redis. One that has ended by the clock needs no place there.
func (s *Sessions) putAgain(ctx context.Context, id string, r Record, began time.Time) error {
	c := contentOf(r)
	if c.ended(s.cfg.Now(), s.cfg.IdleLimit) != "" {
		return nil
	}
	ended, err := s.cache.put(ctx, id, c, began, nil)
	if err != nil {
		return err
	}
	s.metrics.settled.WithLabelValues("put").Inc()
	if len(ended) > 0 {
		s.displaced(ctx, s.endDisplaced(ctx, id, ended))
	}
	return nil
}

// clearChanged clears at once what was ended while it was put. Were it not for this, the next beat
// would.
func (s *Sessions) clearChanged(ctx context.Context, records []Record, changed []string) error {
	var gone []named
	for _, r := range records {
		if !slices.Contains(changed, r.Hash) || !s.endedInDatabase(ctx, r.Hash) {
			continue
		}
		if id, err := s.ring.openID(r.Hash, r.SealedID); err == nil {
			gone = append(gone, named{id, r.TeacherID})
		}
	}
	return s.cache.remove(ctx, gone)
}

// lingered says whether a clear was pending for so long that no put from before it can still be on its
// way. It counts by this process's clock, from when this process saw it first.
func (s *Sessions) lingered(r Record, seen map[string]sighting) bool {
	first, ok := s.settler.seen[r.Hash]
	if !ok || first.version != r.Version {
		first = sighting{version: r.Version, at: time.Now()}
	}
	seen[r.Hash] = first
	return time.Since(first.at) >= s.settler.linger
}

// forgetOld deletes records that nobody needs any more, now and then.
func (s *Sessions) forgetOld(ctx context.Context) {
	now := s.cfg.Now()
	if now.Sub(s.settler.forgot) < forgetEvery {
		return
	}
	err := s.db.do(ctx, "forget old sessions", writeTimeout, func(ctx context.Context) error {
		_, err := s.db.backing.ForgetSessions(ctx, now.Add(-forgetAfter))
		return err
	})
	if !unavailable.Is(err) {
		s.settler.forgot = now
	}
}
