package session

import (
	"context"
	"errors"
	"time"
)

// find looks for a living session: in Redis, and in the database while Redis cannot answer or this
// process is suspect.
func (s *Sessions) find(ctx context.Context, id string) (found content, how lookup, ok bool, err error) {
	suspect := s.Suspect()
	cached, keyID, inCache, reason, cacheErr := s.cache.get(ctx, id)
	if reason != nil {
		s.metrics.integrity.WithLabelValues(reason.Error()).Inc()
	}
	switch {
	case errors.Is(reason, errTampered), errors.Is(reason, errContent):
		return content{}, lookup{}, false, nil
	case errors.Is(reason, errType):
		// Whoever put it there has overwritten a session, perhaps: the database knows, and Redis is told.
	case cacheErr == nil && !suspect:
		if !inCache {
			return content{}, lookup{}, false, nil
		}
		return cached, lookup{reseal: keyID != s.ring.first}, s.living(cached), nil
	}
	record, known, err := s.db.find(ctx, HashID(id))
	if err != nil {
		return content{}, lookup{}, false, err
	}
	s.metrics.database.WithLabelValues("authenticate").Inc()
	if !known {
		return content{}, lookup{}, false, nil
	}
	if record.Revoked() {
		s.metrics.refused.WithLabelValues("revoked").Inc()
		return content{}, lookup{}, false, nil
	}
	how = lookup{uncached: cacheErr != nil, stale: cacheErr == nil && !inCache}
	found = contentOf(record)
	if inCache {
		found.Last = max(found.Last, cached.Last)
		how.stale = cached.Last < record.LastActivity.UnixMilli()
		how.reseal = keyID != s.ring.first
	}
	return found, how, s.living(found), nil
}

// living says whether a session is within its limits, and counts it if not.
func (s *Sessions) living(c content) bool {
	reason := c.ended(s.cfg.Now(), s.cfg.IdleLimit)
	if reason != "" {
		s.metrics.refused.WithLabelValues(reason).Inc()
	}
	return reason == ""
}

// due says whether a request is reason enough to store the session again.
func (s *Sessions) due(c content, how lookup) bool {
	return how.stale || how.reseal || s.cfg.Now().Sub(time.UnixMilli(c.Last)) >= s.cfg.RefreshEvery
}

// refresh stores a sign of life: in Redis at once, if the session is still there, and in the database
// with the next beat. An outage does not fail the request: the database then has to tell Redis.
func (s *Sessions) refresh(ctx context.Context, id string, c content, how lookup) error {
	put := how.uncached || how.stale
	if !put {
		found, err := s.cache.refresh(ctx, id, c)
		if err == nil && !found {
			return errGone
		}
		if err != nil {
			s.metrics.database.WithLabelValues("refresh").Inc()
			put = true
		}
	}
	s.queue.touch(Touch{Hash: HashID(id), At: time.UnixMilli(c.Last), Put: put})
	return nil
}
