package analytics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/classwaves/rekey/classwaves/unavailable"
)

// query runs one step against the database. An error that is not its outage stays as it is.
func (a *Analytics) query(ctx context.Context, op string, step func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, a.SourceTimeout)
	defer cancel()
	err := step(within)
	if err == nil {
		if a.counters.sourceDown.CompareAndSwap(true, false) {
			a.Logger.Info("analytics: the database is back")
		}
		return nil
	}
	if ctx.Err() == nil && a.counters.sourceDown.CompareAndSwap(false, true) {
		a.counters.sourceOutages.Add(1)
		a.Logger.Warn("analytics: the database is unavailable", "error", err)
	}
	return unavailable.Wrap(op, err)
}

// info says whose a session is. While the database does not answer, its entry says so.
func (a *Analytics) info(ctx context.Context, sessionID string) (info SessionInfo, err error) {
	if err := checkSession(sessionID); err != nil {
		return info, err
	}
	var found bool
	err = a.query(ctx, "look up a class session", func(ctx context.Context) (err error) {
		info, found, err = a.Source.AnalyticsSession(ctx, sessionID)
		return err
	})
	if err != nil {
		rec, cacheErr := a.entry(ctx, sessionID)
		if cacheErr != nil || rec == nil {
			return info, err
		}
		return SessionInfo{ID: sessionID, TeacherID: rec.TeacherID, Ended: rec.Ended}, nil
	}
	if !found {
		return info, ErrNoSession
	}
	info.ID = sessionID
	return info, nil
}

func (a *Analytics) groupSession(ctx context.Context, groupID string) (sessionID string, found bool, err error) {
	err = a.query(ctx, "look up a group", func(ctx context.Context) (err error) {
		sessionID, found, err = a.Source.AnalyticsGroup(ctx, groupID)
		return err
	})
	return sessionID, found, err
}

// base is what the database knows of a session, with this process's part on top.
func (a *Analytics) base(ctx context.Context, info SessionInfo) (*record, error) {
	rec, _, err := a.load(ctx, info)
	if err != nil {
		return nil, err
	}
	if h := a.peek(info.ID); h != nil {
		rec.merge(h.record())
	}
	rec.sum(a.Now())
	return rec, nil
}

// load reads the database's record and its revision; an empty record and 0 for none.
func (a *Analytics) load(ctx context.Context, info SessionInfo) (*record, int64, error) {
	var rows map[string]Stored
	err := a.query(ctx, "load session analytics", func(ctx context.Context) (err error) {
		rows, err = a.Source.LoadAnalytics(ctx, info.ID)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return a.read(info, rows[info.ID])
}

// read makes a record of a row. A row that cannot be read is an outage: it must not be overwritten.
func (a *Analytics) read(info SessionInfo, row Stored) (*record, int64, error) {
	if row.Revision == 0 {
		return newRecord(info), 0, nil
	}
	rec, err := parseRecord(row.Data)
	if err != nil {
		return nil, 0, unavailable.Wrap("read stored session analytics", err)
	}
	rec.Ended = rec.Ended || info.Ended
	return rec, row.Revision, nil
}

// brings says what a record brings to the database.
type brings uint8

const (
	bringsKnown brings = iota // what was acknowledged before
	bringsEvent               // an event, which a session that has ended does not take
)

// save merges a record into the database's, and gives the result. Others may write at the same time: it tries again until SourceTimeout.
func (a *Analytics) save(ctx context.Context, r *record, what brings) (merged *record, wrote bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.SourceTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		stored, revision, err := a.load(ctx, SessionInfo{ID: r.SessionID, TeacherID: r.TeacherID})
		if err != nil {
			return nil, false, err
		}
		if what == bringsEvent && stored.Ended {
			return nil, false, ErrEnded
		}
		changed := stored.merge(r)
		stored.sum(a.Now())
		if !changed {
			return stored, false, nil
		}
		saved, err := a.store(ctx, stored, revision)
		if saved || err != nil {
			return stored, saved, err
		}
		a.counters.conflicts.Add(1)
		pause := time.NewTimer(rand.N(min(time.Duration(attempt)*time.Millisecond, 20*time.Millisecond)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, false, unavailable.Wrap("save session analytics", errors.Join(errContended, ctx.Err()))
		}
	}
}

var errContended = errors.New("others write the same session all the time")

// store writes a record where the row still has the revision.
func (a *Analytics) store(ctx context.Context, r *record, revision int64) (saved bool, err error) {
	data, err := json.Marshal(r)
	if err != nil {
		return false, fmt.Errorf("encode session analytics: %w", err)
	}
	err = a.query(ctx, "save session analytics", func(ctx context.Context) (err error) {
		saved, err = a.Source.SaveAnalytics(ctx, r.SessionID, data, revision)
		return err
	})
	return saved, err
}
