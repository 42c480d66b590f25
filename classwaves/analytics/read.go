package analytics

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/classwaves/rekey/classwaves/keys"
)

// Session gives the figures of a class session: from its entry, else from the database, which fills the
// entry. The database's answer is found for every class session that there is, with figures of 0 where
// nothing was ever counted. The error is an *unavailable.Error when neither answers.
func (a *Analytics) Session(ctx context.Context, sessionID string) (SessionMetrics, bool, error) {
	if err := checkSession(sessionID); err != nil {
		return SessionMetrics{}, false, err
	}
	raw, cacheErr := a.raw(ctx, sessionID)
	if raw != nil {
		if f, ok := a.readEntry(sessionID, raw); ok {
			a.counters.hits.Add(1)
			return f.metrics(), true, nil
		}
	}
	f, err := a.fill(ctx, sessionID, cacheErr)
	if errors.Is(err, ErrNoSession) {
		return SessionMetrics{}, false, nil
	}
	return f.metrics(), err == nil, err
}

// readEntry reads a session's entry, with this process's part on top where the entry may lack it.
func (a *Analytics) readEntry(sessionID string, raw []byte) (f figures, ok bool) {
	if h := a.peek(sessionID); h != nil && h.behind() {
		rec, err := parseRecord(raw)
		if err != nil {
			a.counters.foreign.Add(1)
			return f, false
		}
		rec.merge(h.record())
		rec.sum(a.Now())
		return rec.figures, true
	}
	// The parts are not wanted here: reading them is most of the work.
	if err := json.Unmarshal(raw, &f); err != nil || f.Format != format {
		a.counters.foreign.Add(1)
		return f, false
	}
	return f, true
}

// fill answers from the database and merges what it says into the entry. cacheErr is how the cache
// failed before, nil if it did not.
func (a *Analytics) fill(ctx context.Context, sessionID string, cacheErr error) (figures, error) {
	a.counters.misses.Add(1)
	info, err := a.info(ctx, sessionID)
	if err != nil {
		return figures{}, errors.Join(err, cacheErr)
	}
	rec, err := a.base(ctx, info)
	if err != nil {
		return figures{}, errors.Join(err, cacheErr)
	}
	if cacheErr == nil {
		how := known(rec)
		how.create = true
		var f figures
		if f, _, _, cacheErr = a.merge(ctx, rec, how); cacheErr == nil {
			a.counters.fills.Add(1)
			return f, nil
		}
	}
	a.counters.databaseReads.Add(1)
	return rec.figures, nil
}

// Group gives the figures of a group, as [Analytics.Session] does those of a session.
func (a *Analytics) Group(ctx context.Context, groupID string) (GroupMetrics, bool, error) {
	key, err := keys.AnalyticsGroup(groupID)
	if err != nil {
		return GroupMetrics{}, false, err
	}
	raw, cacheErr := a.get(ctx, "read group analytics", key)
	if raw != nil {
		if g, ok := a.readGroup(raw); ok {
			a.counters.hits.Add(1)
			return g.metrics(), true, nil
		}
	}
	sessionID, found, err := a.groupSession(ctx, groupID)
	if err != nil || !found {
		return GroupMetrics{}, false, errors.Join(err, whenFailed(err, cacheErr))
	}
	g, err := a.fillGroup(ctx, sessionID, groupID, cacheErr)
	return g.metrics(), err == nil, err
}

func whenFailed(err, other error) error {
	if err == nil {
		return nil
	}
	return other
}

// readGroup reads a group's entry; not where this process has added to the session what the entry
// may lack.
func (a *Analytics) readGroup(raw []byte) (g groupFigures, ok bool) {
	if err := json.Unmarshal(raw, &g); err != nil || g.Format != format {
		a.counters.foreign.Add(1)
		return g, false
	}
	h := a.peek(g.SessionID)
	return g, h == nil || !h.behind()
}

// fillGroup sums a group up from its session, in the cache where that has the session's entry.
func (a *Analytics) fillGroup(ctx context.Context, sessionID, groupID string, cacheErr error) (groupFigures, error) {
	a.counters.misses.Add(1)
	info, err := a.info(ctx, sessionID)
	if err != nil {
		return groupFigures{}, errors.Join(err, cacheErr)
	}
	how := merging{groups: []string{groupID}}
	if cacheErr == nil {
		own := newRecord(info)
		own.Ended = false // the entry knows, or the database will be asked
		if h := a.peek(sessionID); h != nil {
			own.merge(h.record())
			how.groups = append(how.groups, known(own).groups...) // whose entries may lack something too
		}
		_, g, absent, err := a.merge(ctx, own, how)
		if err == nil && !absent {
			a.counters.fills.Add(1)
			return g[0], nil
		}
		cacheErr = err
	}
	rec, err := a.base(ctx, info)
	if err != nil {
		return groupFigures{}, errors.Join(err, cacheErr)
	}
	if cacheErr == nil {
		how.create, how.groups = true, append([]string{groupID}, known(rec).groups...)
		if _, g, _, err := a.merge(ctx, rec, how); err == nil {
			a.counters.fills.Add(1)
			return g[0], nil
		}
	}
	a.counters.databaseReads.Add(1)
	return rec.group(groupID, a.Now()), nil
}

// Started tells that a class session was started: its entry is filled, and the teacher's dashboard
// will show it.
func (a *Analytics) Started(ctx context.Context, sessionID string) error {
	info, err := a.info(ctx, sessionID)
	if err != nil {
		return err
	}
	_, err = a.fill(ctx, sessionID, nil)
	return errors.Join(err, a.invalidate(ctx, info.TeacherID))
}
