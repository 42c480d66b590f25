package session

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/classwaves/rekey/classwaves/keys"
)

// create makes a session: in the database first, which orders the teacher's logins and ends the
// oldest, and then in Redis. It succeeds without Redis, not without the database.
func (s *Sessions) create(ctx context.Context, id string, c content) (content, error) {
	done, err := s.turns.take(ctx, c.Teacher)
	if err != nil {
		return content{}, err
	}
	defer done()
	ctx = context.WithoutCancel(ctx) // a client that goes away does not leave half a login
	sealedID, err := s.ring.sealID(id)
	if err != nil {
		return content{}, err
	}
	// The put's time limit begins before the database makes the session: whoever ends it does so
	// later, and keeps clearing for longer than the limit.
	began, cacheErr := s.cache.clock(ctx)
	now := s.cfg.Now()
	saved, err := s.db.save(ctx, Record{
		Hash: HashID(id), SealedID: sealedID, TeacherID: c.Teacher, CreatedAt: time.UnixMilli(c.Created),
		LastActivity: time.UnixMilli(c.Last), Deadline: time.UnixMilli(c.Deadline), Agent: c.Agent, Network: c.Network,
	}, Limit{Max: s.cfg.MaxPerTeacher, Now: now, IdleSince: now.Add(-s.cfg.IdleLimit)})
	if err != nil {
		return content{}, err
	}
	c.Order = saved.Record.Order
	displaced := s.ids(saved.Evicted)
	if cacheErr == nil {
		displaced, cacheErr = s.createCached(ctx, id, c, saved, began)
	}
	if cacheErr != nil {
		s.metrics.database.WithLabelValues("login").Inc() // Run puts it
	}
	s.displaced(ctx, displaced)
	return c, nil
}

// createCached is the part of create that is Redis's. It returns what was displaced, in the database
// or in Redis.
func (s *Sessions) createCached(ctx context.Context, id string, c content, saved Saved, began time.Time) (displaced []string, err error) {
	displaced = s.ids(saved.Evicted)
	ended, err := s.cache.put(ctx, id, c, began, slices.Concat(s.ids(saved.Kept), displaced))
	if err != nil {
		return displaced, err
	}
	gone := make([]named, 0, len(displaced)+1)
	for _, old := range missing(displaced, ended) { // mostly Redis chose the same ones
		gone = append(gone, named{old, c.Teacher})
	}
	changed, err := s.db.settle(ctx, []Settled{{Hash: saved.Record.Hash, Version: saved.Record.Version}})
	if err == nil && len(changed) > 0 && s.endedInDatabase(ctx, saved.Record.Hash) {
		gone = append(gone, named{id, c.Teacher}) // by somebody who came before the put
	}
	if extra := missing(ended, displaced); len(extra) > 0 {
		displaced = append(displaced, s.endDisplaced(ctx, id, extra)...)
	}
	return displaced, s.cache.remove(ctx, gone)
}

// endDisplaced tells the database of sessions that Redis ended and the database did not: the old
// release's, and those of a database that was lost. It returns them without the one that they were
// ended for, which is there if it is itself older than the limit allows.
func (s *Sessions) endDisplaced(ctx context.Context, id string, ended []string) []string {
	hashes := make([]string, 0, len(ended))
	for _, old := range ended {
		hashes = append(hashes, HashID(old))
	}
	at := s.cfg.Now()
	if _, err := s.db.revoke(ctx, hashes, at); err != nil {
		s.queue.end(hashes, at)
	}
	return missing(ended, []string{id})
}

func (s *Sessions) endedInDatabase(ctx context.Context, hash string) bool {
	record, found, err := s.db.find(ctx, hash)
	return err == nil && (!found || record.Revoked())
}

// end ends one session: in the database first, then in Redis. Without the database it is ended in
// Redis and the error says so; Run goes on trying to tell the database.
func (s *Sessions) end(ctx context.Context, id string) error {
	if _, err := keys.SecureSession(id); err != nil {
		return nil // no id that we could have given
	}
	ctx = context.WithoutCancel(ctx)
	hashes, now := []string{HashID(id)}, s.cfg.Now()
	records, err := s.db.revoke(ctx, hashes, now)
	if err != nil {
		s.queue.end(hashes, now)
	}
	gone := named{id: id}
	if len(records) > 0 {
		gone.teacher = records[0].TeacherID
	} else if c, _, ok, _, _ := s.cache.get(ctx, id); ok {
		gone.teacher = c.Teacher
	}
	s.clear(s.cache.remove(ctx, []named{gone}))
	s.cfg.Ended(ctx, []string{id})
	return err
}

// endAll ends every session of a teacher.
func (s *Sessions) endAll(ctx context.Context, teacher string) (ended []string, err error) {
	if _, err := keys.TeacherSessions(teacher); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	now := s.cfg.Now()
	records, upTo, err := s.db.revokeTeacher(ctx, teacher, now, math.MaxInt64)
	if err != nil {
		upTo = now.UnixMilli()
		s.queue.endTeacher(teacher, now)
	}
	ended = s.ids(records)
	cached, cacheErr := s.cache.removeAll(ctx, teacher, upTo, ended)
	s.clear(cacheErr)
	ended = append(ended, missing(cached, ended)...)
	s.cfg.Ended(ctx, ended)
	return ended, err
}

// clear takes the outcome of ending something in Redis. What failed the database remembers.
func (s *Sessions) clear(err error) {
	if err != nil {
		s.metrics.database.WithLabelValues("logout").Inc()
	}
}

// missing are those of a that are not in b.
func missing(a, b []string) (out []string) {
	for _, id := range a {
		if !slices.Contains(b, id) {
			out = append(out, id)
		}
	}
	return out
}

// ids opens the ids of records. One that does not open is counted and left out: without its id there
// is nothing in Redis that could be named.
func (s *Sessions) ids(records []Record) []string {
	out := make([]string, 0, len(records))
	for _, r := range records {
		id, err := s.ring.openID(r.Hash, r.SealedID)
		if err != nil {
			s.metrics.integrity.WithLabelValues(err.Error()).Inc()
			continue
		}
		out = append(out, id)
	}
	return out
}

func (s *Sessions) displaced(ctx context.Context, ids []string) {
	if len(ids) == 0 {
		return
	}
	s.metrics.displaced.Add(float64(len(ids)))
	s.cfg.Ended(ctx, ids)
}
