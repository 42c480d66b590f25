package analytics

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// Ended tells that a class session has ended: its figures are final and go to the database. An error that
// is neither [ErrNoSession] nor a *[keys.InvalidError] says that this could not be done yet; from the call
// on this process counts no event of the session, and [Analytics.Run] goes on trying.
func (a *Analytics) Ended(ctx context.Context, sessionID string) error {
	if err := checkSession(sessionID); err != nil {
		return err
	}
	a.owe(sessionID) // before anything can fail: nobody tells it twice
	return a.end(ctx, sessionID)
}

// owe notes an end that the stores are to be told of.
func (a *Analytics) owe(sessionID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ends[sessionID] = struct{}{}
}

// settled strikes out an end that is owed.
func (a *Analytics) settled(sessionID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.ends, sessionID)
}

// owes says whether an end is owed.
func (a *Analytics) owes(sessionID string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.ends[sessionID]
	return ok
}

// end tells the stores of an end that is owed. Once it is held, settle looks after what they lack.
func (a *Analytics) end(ctx context.Context, sessionID string) error {
	info, err := a.info(ctx, sessionID)
	if err != nil {
		if errors.Is(err, ErrNoSession) {
			a.settled(sessionID)
		}
		return err
	}
	h, release, err := a.keepTurn(ctx, info)
	if err != nil {
		return err
	}
	defer release()
	h.ended.Store(true)
	// A later part, so that both stores are known to lack the end.
	last := h.own.Load().with(nil, a.Now(), nil)
	h.changed(&last, a.Now())
	a.settled(sessionID)
	cacheErr := a.push(ctx, h)
	if _, err := a.flush(ctx, h); err != nil {
		return errors.Join(err, cacheErr)
	}
	if cacheErr == nil {
		a.forget(h)
		return nil
	}
	// The database has the end, and every process asks it when the entry is gone.
	a.counters.databaseUpdates.Add(1)
	return nil
}

// tellEnds tells the stores of every end that is owed.
func (a *Analytics) tellEnds(ctx context.Context) error {
	a.mu.Lock()
	owed := slices.Sorted(maps.Keys(a.ends))
	a.mu.Unlock()
	var failed []error
	for _, id := range owed {
		if err := a.end(ctx, id); err != nil && !errors.Is(err, ErrNoSession) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// noticeEnd asks the database whether a session that it does not list as live has ended: the process that
// ended it may have died before it told anybody. It brings no later part, so stores that know are not written.
func (a *Analytics) noticeEnd(ctx context.Context, h *held) {
	if h.ended.Load() {
		return
	}
	info, err := a.info(ctx, h.id)
	if err != nil || !info.Ended {
		return // not started yet, or the next sync asks again
	}
	release, err := h.take(ctx)
	if err != nil {
		return
	}
	defer release()
	h.ended.Store(true)
	cacheErr := a.push(ctx, h)
	if _, err := a.flush(ctx, h); err != nil || cacheErr != nil {
		a.owe(h.id)
	}
}
