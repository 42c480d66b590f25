package analytics

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/classwaves/rekey/classwaves/keys"
)

// held is what this process has added to one class session: its part, and how far either store has
// it. Whoever changes the part has the turn.
type held struct {
	id, teacher, writer string

	turn  chan struct{} // holds a token while somebody has the turn
	own   atomic.Pointer[part]
	ended atomic.Bool // the end is to be told to the stores as well

	// The sequence numbers of the part that the cache and the database are known to have.
	cached, stored atomic.Int64

	mu     sync.Mutex
	next   *batch              // the events that wait for the turn
	gone   bool                // nobody may add any more: the session was forgotten here
	since  time.Time           // of the oldest change that the database lacks
	used   time.Time           // of the last event
	pushed time.Time           // when the part was last merged into the entry by Run
	groups map[string]struct{} // known to be the session's
}

// batch is what is written in one go.
type batch struct {
	calls []*call
	done  chan struct{} // closed when metrics and err stand
	m     SessionMetrics
	err   error
}

type call struct{ event Event }

// hold gives what is held of a session, and begins to hold it where the session exists and goes on.
func (a *Analytics) hold(ctx context.Context, sessionID string) (*held, error) {
	if a.owes(sessionID) {
		return nil, ErrEnded
	}
	if h := a.peek(sessionID); h != nil {
		return h, nil
	}
	info, err := a.info(ctx, sessionID)
	if err != nil {
		return nil, err
	}
	if info.Ended {
		return nil, ErrEnded
	}
	return a.keep(info), nil
}

// peek gives what is held of a session, nil for nothing.
func (a *Analytics) peek(sessionID string) *held {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held[sessionID]
}

func (a *Analytics) keep(info SessionInfo) *held {
	a.mu.Lock()
	defer a.mu.Unlock()
	if h, ok := a.held[info.ID]; ok {
		return h
	}
	h := &held{
		id: info.ID, teacher: info.TeacherID,
		// A writer is never used again, so a part that was forgotten here is never begun anew.
		writer: fmt.Sprintf("%016x", rand.Uint64()),
		turn:   make(chan struct{}, 1), groups: make(map[string]struct{}), used: a.Now(),
	}
	h.own.Store(&part{Groups: map[string]tally{}})
	a.held[info.ID] = h
	return h
}

// keepTurn holds a session and takes its turn, which keeps it from being forgotten.
func (a *Analytics) keepTurn(ctx context.Context, info SessionInfo) (h *held, release func(), err error) {
	for {
		h = a.keep(info)
		if release, err = h.take(ctx); err != nil {
			return nil, nil, err
		}
		if a.peek(info.ID) == h {
			return h, release, nil
		}
		release() // it was forgotten between the two
	}
}

// all gives everything that is held.
func (a *Analytics) all() []*held {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*held, 0, len(a.held))
	for _, h := range a.held {
		out = append(out, h)
	}
	return out
}

// forget drops what both stores have, if nobody waits to add to it. The caller has the turn.
func (a *Analytics) forget(h *held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next != nil || h.behind() || h.unstored() {
		return
	}
	h.gone = true
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.held, h.id)
}

// take takes the turn, until the function that it gives is called.
func (h *held) take(ctx context.Context) (release func(), err error) {
	select {
	case h.turn <- struct{}{}:
		return func() { <-h.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// record is the part as a record of its own, to be merged.
func (h *held) record() *record { return h.recordOf(h.own.Load()) }

func (h *held) recordOf(p *part) *record {
	r := newRecord(SessionInfo{ID: h.id, TeacherID: h.teacher, Ended: h.ended.Load()})
	if p.Seq > 0 {
		r.Parts[h.writer] = *p
	}
	return r
}

// behind says that the cache may lack what this process has added; unstored, that the database may.
func (h *held) behind() bool   { return h.cached.Load() < h.own.Load().Seq }
func (h *held) unstored() bool { return h.stored.Load() < h.own.Load().Seq }

// reached notes that a store has the part up to a number.
func reached(n *atomic.Int64, seq int64) {
	for {
		have := n.Load()
		if have >= seq || n.CompareAndSwap(have, seq) {
			return
		}
	}
}

// changed notes a new part that the database lacks.
func (h *held) changed(p *part, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.unstored() {
		h.since = now
	}
	h.used = now
	h.own.Store(p)
}

// needs is what is to be done for a session beside its calls.
type needs struct{ cache, database, forget bool }

// needs decides that. What the database lacks is merged into the entry again and again: the cache may have
// lost it without a word, when it was restarted or evicts.
func (h *held) needs(now time.Time) needs {
	h.mu.Lock()
	defer h.mu.Unlock()
	unstored := h.unstored()
	over := h.ended.Load() || now.Sub(h.used) >= forgetAfter
	return needs{
		cache:    h.behind() || unstored && now.Sub(h.pushed) >= pushEvery,
		database: unstored && (over || now.Sub(h.since) >= storeWithin),
		forget:   over,
	}
}

// wasPushed notes that the part was merged into the entry.
func (h *held) wasPushed(seq int64, now time.Time) {
	reached(&h.cached, seq)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pushed = now
}

// member says whether a group is the session's.
func (a *Analytics) member(ctx context.Context, h *held, groupID string) error {
	h.mu.Lock()
	_, known := h.groups[groupID]
	h.mu.Unlock()
	if known {
		return nil
	}
	session, found, err := a.groupSession(ctx, groupID)
	if err != nil {
		// The database does not answer, but it did when somebody counted the group before.
		rec, cacheErr := a.entry(ctx, h.id)
		if cacheErr != nil || rec == nil {
			return err
		}
		if _, found = rec.groups()[groupID]; !found {
			return err
		}
		session = h.id
	}
	if !found || session != h.id {
		return ErrNoGroup
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.groups[groupID] = struct{}{}
	return nil
}

// checkSession refuses what is no session's identifier.
func checkSession(sessionID string) error {
	if _, err := keys.AnalyticsSession(sessionID); err != nil {
		return err
	}
	if !utf8.ValidString(sessionID) {
		return &keys.InvalidError{What: "session id", Reason: "must be UTF-8"}
	}
	return nil
}
