package analytics

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/classwaves/rekey/classwaves/unavailable"
)

// Apply counts one event and gives the session's figures with it. Events of one session that come
// in while one is being written go together in one round trip.
//
// An error says that the event is not counted: *[EventError], *[keys.InvalidError], [ErrNoSession],
// [ErrNoGroup] and [ErrEnded] are the caller's, *[unavailable.Error] says that neither cache nor database
// took it. When ctx ends while the event is being written, Apply waits for the outcome, for as long as the
// two timeouts of [Config] allow.
func (a *Analytics) Apply(ctx context.Context, sessionID string, event Event) (SessionMetrics, error) {
	if err := event.check(); err != nil {
		return SessionMetrics{}, err
	}
	for {
		h, err := a.hold(ctx, sessionID)
		if err != nil {
			return SessionMetrics{}, a.refused(err)
		}
		if err := a.member(ctx, h, event.GroupID); err != nil {
			return SessionMetrics{}, a.refused(err)
		}
		if b, c := h.join(event); b != nil {
			return a.await(ctx, h, b, c)
		}
		// The session was forgotten between the two: it is held again.
	}
}

func (a *Analytics) refused(err error) error {
	if unavailable.Is(err) {
		a.counters.refused.Add(1)
	}
	return err
}

// join adds an event to the batch that is next; nil when the session was forgotten.
func (h *held) join(event Event) (*batch, *call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return nil, nil
	}
	if h.next == nil {
		h.next = &batch{done: make(chan struct{})}
	}
	c := &call{event}
	h.next.calls = append(h.next.calls, c)
	return h.next, c
}

// leave takes a call back; false when its batch is being written.
func (h *held) leave(b *batch, c *call) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next != b {
		return false
	}
	b.calls = slices.DeleteFunc(b.calls, func(other *call) bool { return other == c })
	return true
}

// await waits until a batch is written, and writes it itself if it gets the turn.
func (a *Analytics) await(ctx context.Context, h *held, b *batch, c *call) (SessionMetrics, error) {
	select {
	case <-b.done:
	case h.turn <- struct{}{}:
		a.lead(context.WithoutCancel(ctx), h)
		<-h.turn
		<-b.done // by now, or by who had the turn before
	case <-ctx.Done():
		if h.leave(b, c) {
			return SessionMetrics{}, ctx.Err()
		}
		<-b.done
	}
	return b.m, a.refused(b.err)
}

// lead writes the batch that is next and tells the subscribers. It has the turn.
func (a *Analytics) lead(ctx context.Context, h *held) {
	h.mu.Lock()
	b := h.next
	h.next = nil
	h.mu.Unlock()
	if b == nil {
		return
	}
	if len(b.calls) == 0 { // all of them left
		close(b.done)
		return
	}
	events := make([]Event, len(b.calls))
	for i, c := range b.calls {
		events[i] = c.event
	}
	b.m, b.err = a.commit(ctx, h, events)
	close(b.done)
	if b.err == nil {
		a.counters.updates.Add(uint64(len(events)))
		a.counters.batches.Add(1)
		a.publish(ctx, b.m)
	}
}

// publish tells the subscribers.
func (a *Analytics) publish(ctx context.Context, m SessionMetrics) {
	if a.Publish == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, a.CacheTimeout)
	defer cancel()
	if err := a.Publish(ctx, m.SessionID, m); err != nil {
		a.counters.publishErrors.Add(1)
	}
}

// commit makes the next part of the events and brings it into a store.
func (a *Analytics) commit(ctx context.Context, h *held, events []Event) (SessionMetrics, error) {
	if h.ended.Load() {
		return SessionMetrics{}, ErrEnded // whatever the stores know yet
	}
	readyAt, err := a.words(ctx, h, events)
	if err != nil {
		return SessionMetrics{}, err
	}
	before := h.own.Load()
	next := before.with(events, a.Now(), readyAt)
	f, err := a.write(ctx, h, &next, groupsOf(events))
	switch {
	case err != nil && !unavailable.Is(err):
		return SessionMetrics{}, err // nothing was written anywhere
	case err != nil:
		// It may have arrived all the same. A later part without the events takes it back.
		back := part{Seq: next.Seq + 1, Groups: make(map[string]tally)}
		for id := range next.Groups {
			back.Groups[id] = before.Groups[id] // also one that had nothing: its entry is to follow
		}
		h.changed(&back, a.Now())
		if errors.Is(err, ErrEnded) {
			err = ErrEnded
		}
		return SessionMetrics{}, err
	}
	return f.metrics(), nil
}

// write brings a part into the cache, or while that is unavailable into the database.
func (a *Analytics) write(ctx context.Context, h *held, p *part, groups []string) (figures, error) {
	if h.behind() { // the part brings earlier events as well
		groups = slices.Collect(maps.Keys(p.Groups))
	}
	how := merging{event: true, groups: groups}
	f, _, absent, err := a.merge(ctx, h.recordOf(p), how)
	if err == nil && absent {
		var base *record
		if base, err = a.base(ctx, SessionInfo{ID: h.id, TeacherID: h.teacher}); err != nil {
			return f, err // without a base the entry would hide what the database has
		}
		if base.Ended {
			return f, ErrEnded
		}
		base.merge(h.recordOf(p))
		how.create, how.groups = true, known(base).groups
		f, _, _, err = a.merge(ctx, base, how)
	}
	switch {
	case err == nil:
		h.changed(p, a.Now())
		reached(&h.cached, p.Seq)
		return f, nil
	case !unavailable.Is(err):
		return f, err
	}
	merged, _, dbErr := a.save(ctx, h.recordOf(p), bringsEvent)
	if dbErr != nil {
		return f, unavailable.Wrap("apply an event", errors.Join(err, dbErr))
	}
	a.counters.databaseUpdates.Add(1)
	h.changed(p, a.Now())
	reached(&h.stored, p.Seq)
	return merged.figures, nil
}

// words gives the number of the last word on readiness of each group whose readiness the events set.
func (a *Analytics) words(ctx context.Context, h *held, events []Event) (map[string]int64, error) {
	if !slices.ContainsFunc(events, func(e Event) bool { return e.Kind == GroupReady || e.Kind == GroupNotReady }) {
		return nil, nil
	}
	rec, err := a.entry(ctx, h.id)
	if rec == nil { // none, or no answer
		var dbErr error
		if rec, dbErr = a.base(ctx, SessionInfo{ID: h.id, TeacherID: h.teacher}); dbErr != nil {
			return nil, unavailable.Wrap("apply an event", errors.Join(err, dbErr))
		}
	}
	out := make(map[string]int64)
	for id, t := range rec.groups() {
		out[id] = t.ReadyAt
	}
	return out, nil
}

func groupsOf(events []Event) []string {
	var out []string
	for _, e := range events {
		if !slices.Contains(out, e.GroupID) {
			out = append(out, e.GroupID)
		}
	}
	return out
}
