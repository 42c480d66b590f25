package analytics

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/classwaves/rekey/classwaves/ttl"
	"github.com/classwaves/rekey/classwaves/unavailable"
)

// SyncReport says what a sync did with the live sessions.
type SyncReport struct {
	// Live is how many the database lists. Each of them is then one of Written, Unchanged (the
	// database had it all), Absent (nothing is known of it but what the database has) and Missed.
	Live, Written, Unchanged, Absent int
	// Restored counts entries that lacked something and were given it.
	Restored int
	// Missed are the sessions of which something may not be in the database now, and why. The next
	// sync tries again.
	Missed []Missed
	// Held is how many sessions still have something of this process that the database lacks.
	Held int
	// Took is how long it took.
	Took time.Duration
}

// Missed is a session that a sync could not bring into the database.
type Missed struct {
	SessionID string
	Err       error
}

// ErrForeign is the reason of a miss: the entry is of another format, as the old release writes it,
// and its figures could not be read.
var ErrForeign = errors.New("the entry is of another format")

// Sync writes the live sessions, found through the database's list of them, from the cache to the
// database. Its error says that the list could not be read to its end; what was found is in the
// report all the same. Any number of processes may do so at the same time.
func (a *Analytics) Sync(ctx context.Context) (SyncReport, error) {
	began := time.Now()
	var report SyncReport
	var listErr error
	listed := make(map[string]struct{})
	for after := ""; ; {
		page, err := a.livePage(ctx, "", after)
		if err != nil {
			listErr = err
			break
		}
		a.syncPage(ctx, page, &report)
		for _, s := range page {
			listed[s.ID] = struct{}{}
		}
		if len(page) < pageSize {
			break
		}
		after = page[len(page)-1].ID
	}
	// What this process holds of sessions that the list did not name, because they ended.
	for _, h := range a.all() {
		_, live := listed[h.id]
		if !live && h.unstored() {
			if _, err := a.flushTurn(ctx, h); err != nil {
				report.Missed = append(report.Missed, Missed{h.id, err})
			} else {
				report.Written++
			}
		}
		if !live && listErr == nil {
			a.noticeEnd(ctx, h)
		}
		if h.unstored() {
			report.Held++
		}
	}
	report.Took = time.Since(began)
	a.counters.synced(report, a.Now())
	if listErr != nil || len(report.Missed) > 0 {
		a.Logger.Warn("analytics: the sync missed sessions", slog.Int("live", report.Live), slog.Int("missed", len(report.Missed)), slog.Any("list", listErr))
	}
	return report, listErr
}

// syncPage brings a page of live sessions into the database.
func (a *Analytics) syncPage(ctx context.Context, page []SessionInfo, report *SyncReport) {
	report.Live += len(page)
	ids := make([]string, len(page))
	for i, s := range page {
		ids[i] = s.ID
	}
	raws, cacheErr := a.raws(ctx, page)
	rows, err := a.rows(ctx, ids)
	for i, s := range page {
		if err != nil {
			report.Missed = append(report.Missed, Missed{s.ID, err})
			continue
		}
		a.syncOne(ctx, s, raws[i], cacheErr, rows[s.ID], report)
	}
}

// syncOne merges entry, row and this process's part, and gives each store what it lacks.
func (a *Analytics) syncOne(ctx context.Context, s SessionInfo, raw []byte, cacheErr error, row Stored, report *SyncReport) {
	miss := func(err error) { report.Missed = append(report.Missed, Missed{s.ID, err}) }
	stored, revision, err := a.read(s, row)
	if err != nil {
		miss(err)
		return
	}
	own := newRecord(s)
	h := a.peek(s.ID)
	var seq int64
	if h != nil {
		p := h.own.Load()
		seq = p.Seq
		own.merge(h.recordOf(p))
	}
	var entry *record
	if raw != nil {
		if entry, err = parseRecord(raw); err != nil {
			a.counters.foreign.Add(1)
			cacheErr = ErrForeign
		}
	}
	lacksEntry := false
	if entry != nil {
		// Both ways: what the entry lacks is found before the database's record is changed.
		whole := &record{figures: entry.figures, Parts: make(map[string]part)}
		whole.merge(entry)
		lacksEntry = whole.merge(stored)
		lacksEntry = whole.merge(own) || lacksEntry
		own = whole
	}
	wrote := false
	if stored.merge(own) {
		stored.sum(a.Now())
		if wrote, err = a.store(ctx, stored, revision); err == nil && !wrote {
			_, wrote, err = a.save(ctx, own, bringsKnown) // somebody else wrote meanwhile
		}
		if err != nil {
			miss(err)
			return
		}
	}
	if h != nil {
		reached(&h.stored, seq)
	}
	if lacksEntry {
		if _, _, _, err := a.merge(ctx, own, known(own)); err == nil {
			report.Restored++
			if h != nil {
				reached(&h.cached, seq)
			}
		}
	}
	switch {
	case cacheErr != nil:
		miss(cacheErr) // what others added is in the cache alone
	case wrote:
		report.Written++
	case entry == nil:
		report.Absent++
	default:
		report.Unchanged++
	}
}

// push merges this process's part into the entry, whether or not that is known to have it. The caller
// has the turn.
func (a *Analytics) push(ctx context.Context, h *held) error {
	p := h.own.Load()
	own := h.recordOf(p)
	_, _, absent, err := a.merge(ctx, own, known(own))
	if err == nil && absent {
		// A reader may be about to fill the entry with what the database had before. So there is one.
		var base *record
		if base, err = a.base(ctx, SessionInfo{ID: h.id, TeacherID: h.teacher}); err == nil {
			how := known(base)
			how.create = true
			_, _, _, err = a.merge(ctx, base, how)
		}
		if err == nil {
			err = a.invalidate(ctx, h.teacher)
		}
	}
	if err == nil {
		h.wasPushed(p.Seq, a.Now())
	}
	return err
}

// flush merges this process's part and the entry into the database. The caller has the turn.
func (a *Analytics) flush(ctx context.Context, h *held) (wrote bool, err error) {
	p := h.own.Load()
	rec := h.recordOf(p)
	if entry, err := a.entry(ctx, h.id); err == nil && entry != nil {
		rec.merge(entry)
	}
	if _, wrote, err = a.save(ctx, rec, bringsKnown); err == nil {
		reached(&h.stored, p.Seq)
	}
	return wrote, err
}

func (a *Analytics) flushTurn(ctx context.Context, h *held) (wrote bool, err error) {
	release, err := h.take(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	return a.flush(ctx, h)
}

const (
	// settleEvery is how often Run looks after what one of the stores lacks.
	settleEvery = time.Second
	// pushEvery is how often it merges into the entry what the database lacks.
	pushEvery = 5 * time.Second
	// storeWithin is how old what the database lacks may become: the entry itself may have run out after
	// its shortest lifetime.
	storeWithin = ttl.AnalyticsSession / 3
	// forgetAfter is how long without an event this process holds a session.
	forgetAfter = 10 * time.Minute
)

// Run syncs every Config.SyncEvery, and in between brings what this process has added into the store that
// lacks it: into the cache as soon as that is back, into the database before the cache's entry can run
// out. When ctx ends it brings everything into the database and returns; its error names what is then in
// the cache alone.
func (a *Analytics) Run(ctx context.Context) error {
	settle, sync := time.NewTicker(min(settleEvery, a.SyncEvery)), time.NewTicker(a.SyncEvery)
	defer settle.Stop()
	defer sync.Stop()
	for {
		select {
		case <-settle.C:
			a.settle(ctx)
		case <-sync.C:
			_, _ = a.Sync(ctx) // reported by Metrics and the log, and done again
		case <-ctx.Done():
			return a.Flush(context.WithoutCancel(ctx))
		}
	}
}

// Flush brings everything that this process has added into the database. Its error is an
// *unavailable.Error where some of that is in the cache alone.
func (a *Analytics) Flush(ctx context.Context) error {
	failed := []error{a.tellEnds(ctx)}
	for _, h := range a.all() {
		if !h.unstored() {
			continue
		}
		if _, err := a.flushTurn(ctx, h); err != nil {
			failed = append(failed, err)
		}
	}
	return unavailable.Wrap("flush session analytics", errors.Join(failed...))
}

// settle looks after every session that this process holds.
func (a *Analytics) settle(ctx context.Context) {
	_ = a.tellEnds(ctx) // counted and logged as outages, and it is tried again
	for _, h := range a.all() {
		if ctx.Err() != nil {
			return
		}
		if n := h.needs(a.Now()); n != (needs{}) {
			a.settleOne(ctx, h)
		}
	}
}

func (a *Analytics) settleOne(ctx context.Context, h *held) {
	release, err := h.take(ctx)
	if err != nil {
		return // the end of Run, which flushes
	}
	defer release()
	// Errors are counted and logged as outages, and it is tried again.
	n := h.needs(a.Now())
	if n.cache {
		_ = a.push(ctx, h)
	}
	if n.database {
		_, _ = a.flush(ctx, h)
	}
	if n.forget {
		a.forget(h)
	}
}
