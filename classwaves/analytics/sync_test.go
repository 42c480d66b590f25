package analytics

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/internal/redistest"
)

// The list of live sessions is the database's: whatever else is in Redis is not looked at.
func TestSyncWritesWhatTheDatabaseListsAsLive(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(2*pageSize+10)
	db.created["s3"] = true
	db.sessions["s4"] = SessionInfo{ID: "s4", TeacherID: "t0", Ended: true}
	a, b := start(t, client(s), db), start(t, client(s), db)
	for i, x := range []*Analytics{a, b, a} { // s0 by a, s1 by b, s2 by a; the others by nobody
		id := fmt.Sprintf("s%d", i)
		apply(t, x, id, joined(id+"-a"), joined(id+"-a"))
	}
	report, err := a.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	live := 2*pageSize + 8
	if report.Live != live || report.Written != 3 || report.Absent != live-3 || report.Unchanged != 0 || len(report.Missed) != 0 || report.Held != 0 {
		t.Errorf("first: got %+v", report)
	}
	for _, id := range []string{"s0", "s1", "s2"} {
		if got := db.storedParticipants(t, id); got != 2 {
			t.Errorf("%s: got %d participants in the database, want 2", id, got)
		}
	}
	if report, err = b.Sync(t.Context()); err != nil || report.Written != 0 || report.Unchanged != 3 {
		t.Errorf("second, of another process: got %+v, %v", report, err)
	}
	if m := b.Metrics(); m.Unstored != 0 || m.Syncs != 1 || m.LastSync.IsZero() {
		t.Errorf("metrics: got %+v", m)
	}
}

// What the cache cannot be asked for is reported, session by session.
func TestSyncReportsWhatItMissed(t *testing.T) {
	s, db := redistest.Start(t), newMemory(3)
	a, b := start(t, client(s, once), db), start(t, client(s, once), db)
	apply(t, a, "s0", joined("s0-a"))
	apply(t, b, "s1", joined("s1-a"))
	s.Kill()
	report, err := a.Sync(t.Context())
	if err != nil || report.Live != 3 || len(report.Missed) != 3 {
		t.Errorf("Redis down: got %+v, %v", report, err)
	}
	// Its own part it has written all the same.
	if got := db.storedParticipants(t, "s0"); got != 1 || report.Held != 0 {
		t.Errorf("Redis down: got %d participants in the database and %d held, want 1 and 0", got, report.Held)
	}
	if m := a.Metrics(); m.SyncMissed != 3 {
		t.Errorf("got %+v", m)
	}
}

// An entry that lacks what the database has is given it: the process that wrote the database while its
// Redis was away may be gone.
func TestSyncRestoresEntries(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	link := redistest.SlowLink(t, s.Addr())
	cut := start(t, s.Client(withAddr(link.Addr()), once), db)
	apply(t, cut, "s0", joined("s0-a"))
	apply(t, start(t, s.Client(), db), "s0", joined("s0-b"))
	link.Refuse()
	link.Cut()
	apply(t, cut, "s0", joined("s0-a")) // in the database alone, and this process is never heard of again

	b := start(t, s.Client(), db)
	if got := sessionOf(t, b, "s0").Participants; got != 2 {
		t.Fatalf("got %d participants: the test shows nothing", got)
	}
	dashboardOf(t, b, "t0")
	report, err := b.Sync(t.Context())
	if err != nil || report.Restored != 1 || report.Written != 1 {
		t.Errorf("got %+v, %v", report, err)
	}
	if s, g, d := sessionOf(t, b, "s0"), groupOf(t, b, "s0-a"), dashboardOf(t, b, "t0"); s.Participants != 3 || g.Participants != 2 || d.Participants != 3 {
		t.Errorf("got %d, %d and %d participants, want 3, 2 and 3", s.Participants, g.Participants, d.Participants)
	}
	if got := db.storedParticipants(t, "s0"); got != 3 {
		t.Errorf("database: got %d participants, want 3", got)
	}
}

// Run writes what a single event left long before the entry can run out, and tells nobody of a
// session for ever.
func TestRunStoresBeforeTheEntryRunsOut(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	var clock testClock
	a := start(t, client(s), db, clock.set)
	apply(t, a, "s0", joined("s0-a"))
	clock.forward(storeWithin - time.Second)
	a.settle(t.Context())
	if got := db.storedParticipants(t, "s0"); got != 0 {
		t.Errorf("stored early: %d", got)
	}
	clock.forward(2 * time.Second)
	a.settle(t.Context())
	if got := db.storedParticipants(t, "s0"); got != 1 {
		t.Errorf("not stored: %d", got)
	}
	clock.forward(forgetAfter)
	a.settle(t.Context())
	if m := a.Metrics(); m.Held != 0 {
		t.Errorf("still held: %+v", m)
	}
	// Held again it is another writer, so what was before is not taken for its own.
	if got := apply(t, a, "s0", joined("s0-a")).Participants; got != 2 {
		t.Errorf("after it was forgotten: got %d participants, want 2", got)
	}
}

// The cache loses an entry without a word; the process that added to it puts it back.
func TestRunPutsBackWhatTheCacheLost(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	var clock testClock
	rdb := client(s)
	a, b := start(t, rdb, db, clock.set), start(t, client(s), db, clock.set)
	apply(t, a, "s0", joined("s0-a"))
	apply(t, b, "s0", joined("s0-b"))
	rdb.FlushAll(t.Context())
	clock.forward(pushEvery)
	a.settle(t.Context())
	b.settle(t.Context())
	if got := sessionOf(t, start(t, rdb, db), "s0").Participants; got != 2 {
		t.Errorf("got %d participants, want 2", got)
	}
}

func TestRunEndsWithEverythingInTheDatabase(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	a := start(t, client(s), db)
	stop := running(t, a)
	apply(t, a, "s0", joined("s0-a"))
	stop()
	if got := db.storedParticipants(t, "s0"); got != 1 {
		t.Errorf("got %d participants in the database, want 1", got)
	}
}

func TestRunSyncs(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	apply(t, start(t, client(s), db), "s0", joined("s0-a"))
	a := start(t, client(s), db, func(c *Config) { c.SyncEvery = 5 * time.Millisecond })
	defer running(t, a)()
	redistest.WaitFor(t, waitAtMost, func() bool { return db.storedParticipants(t, "s0") == 1 })
}

// Figures are final after the end, whoever asks and whoever comes late.
func TestEnded(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(2)
	a, b := start(t, client(s), db), start(t, client(s), db)
	apply(t, a, "s0", joined("s0-a"))
	apply(t, b, "s0", joined("s0-b"))
	dashboardOf(t, a, "t0")
	db.set(func(m *memory) { m.sessions["s0"] = SessionInfo{ID: "s0", TeacherID: "t0", Ended: true} })
	if err := a.Ended(t.Context(), "s0"); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]*Analytics{"the one that ended it": a, "one that holds it": b} {
		if _, err := x.Apply(t.Context(), "s0", joined("s0-a")); err != ErrEnded {
			t.Errorf("%s: got error %v, want %v", name, err, ErrEnded)
		}
		if m := sessionOf(t, x, "s0"); !m.Ended || m.Participants != 2 {
			t.Errorf("%s: got %+v", name, m)
		}
		if d := dashboardOf(t, x, "t0"); d.LiveSessions != 1 || d.Participants != 0 {
			t.Errorf("%s: dashboard: got %+v", name, d)
		}
	}
	if a.peek("s0") != nil {
		t.Error("the session is still held")
	}
	client(s).FlushAll(t.Context())
	if m := sessionOf(t, start(t, client(s), db), "s0"); !m.Ended || m.Participants != 2 {
		t.Errorf("from the database: got %+v", m)
	}
}

// A session is ended while Redis is away.
func TestEndedWithoutRedis(t *testing.T) {
	s, db := redistest.Start(t), newMemory(1)
	a := start(t, client(s, once), db)
	apply(t, a, "s0", joined("s0-a"))
	s.Kill()
	db.set(func(m *memory) { m.sessions["s0"] = SessionInfo{ID: "s0", TeacherID: "t0", Ended: true} })
	if err := a.Ended(t.Context(), "s0"); err != nil {
		t.Fatal(err)
	}
	if m := sessionOf(t, a, "s0"); !m.Ended || m.Participants != 1 {
		t.Errorf("got %+v", m)
	}
	s.Restart()
	defer running(t, a)()
	redistest.WaitFor(t, waitAtMost, func() bool { return a.Metrics().Held == 0 })
	if m := sessionOf(t, a, "s0"); !m.Ended || m.Participants != 1 {
		t.Errorf("Redis is back: got %+v", m)
	}
}

// An update between a reader's look at the database and its fill is not overwritten.
func TestFillDoesNotOverwriteALaterUpdate(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	rdb := client(s)
	a, b := start(t, rdb, db), start(t, rdb, db)
	apply(t, a, "s0", joined("s0-a"))
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	rdb.FlushAll(t.Context())
	db.set(func(m *memory) { m.onLoad = func() { apply(t, a, "s0", joined("s0-a")) } })
	if got := sessionOf(t, b, "s0").Participants; got != 2 {
		t.Errorf("the reader: got %d participants, want 2", got)
	}
	if got := sessionOf(t, start(t, rdb, db), "s0").Participants; got != 2 {
		t.Errorf("the entry: got %d participants, want 2", got)
	}

	// The naive fill loses the update.
	key, err := keys.AnalyticsSession("s0")
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := b.base(t.Context(), SessionInfo{ID: "s0", TeacherID: "t0"}) // the reader looks
	if err != nil {
		t.Fatal(err)
	}
	apply(t, a, "s0", joined("s0-a"))
	if err := rdb.Set(t.Context(), key, asJSON(t, loaded), time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if got := sessionOf(t, b, "s0").Participants; got == 3 {
		t.Error("the naive fill loses nothing: the test shows nothing")
	}
}

// An update between the summing up of a dashboard and its storing keeps it from being stored.
func TestDashboardIsNotStoredAfterALaterUpdate(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(2)
	a, b := start(t, client(s), db), start(t, client(s), db)
	apply(t, a, "s0", joined("s0-a")) // s1 has no entry, so the database is asked for it
	db.set(func(m *memory) { m.onLoad = func() { apply(t, a, "s0", joined("s0-a")) } })
	dashboardOf(t, b, "t0")
	if got := dashboardOf(t, b, "t0"); got.Participants != 2 {
		t.Errorf("got %d participants, want 2", got.Participants)
	}
	hits := b.Metrics().Hits
	if dashboardOf(t, b, "t0"); b.Metrics().Hits != hits+1 {
		t.Error("the dashboard is not kept")
	}
	apply(t, a, "s1", Event{Kind: Engagement, GroupID: "s1-a", Score: 90}, Event{Kind: Engagement, GroupID: "s1-a", Score: 90})
	apply(t, a, "s0", Event{Kind: Engagement, GroupID: "s0-a", Score: 30})
	if got := dashboardOf(t, b, "t0"); got.AverageEngagement != 70 || got.LiveSessions != 2 {
		t.Errorf("got %+v, want an average of 70 over all samples", got)
	}
}

// A session shows on the dashboard when it is started, and nobody else's does.
func TestStartedSessionsAreOnTheDashboard(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	db.created["s0"] = true
	db.sessions["other"] = SessionInfo{ID: "other", TeacherID: "t1"}
	a := start(t, client(s), db)
	if d := dashboardOf(t, a, "t0"); d.LiveSessions != 0 || d.Sessions == nil {
		t.Errorf("before: got %+v", d)
	}
	db.set(func(m *memory) { delete(m.created, "s0") })
	if err := a.Started(t.Context(), "s0"); err != nil {
		t.Fatal(err)
	}
	if d := dashboardOf(t, a, "t0"); d.LiveSessions != 1 {
		t.Errorf("after: got %+v", d)
	}
}

// Lifetimes are those of the table.
func TestLifetimes(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	rdb := client(s)
	a := start(t, rdb, db)
	apply(t, a, "s0", joined("s0-a"))
	dashboardOf(t, a, "t0")
	session, err1 := keys.AnalyticsSession("s0")
	group, err2 := keys.AnalyticsGroup("s0-a")
	dashboard, err3 := keys.AnalyticsDashboard("t0")
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	for key, want := range map[string]time.Duration{session: 300 * time.Second, group: 300 * time.Second, dashboard: 60 * time.Second} {
		if got := rdb.PTTL(t.Context(), key).Val(); got > want || got < want-10*time.Second {
			t.Errorf("lifetime: got %v, want %v", got, want)
		}
	}
	if n := rdb.DBSize(context.Background()).Val(); n != 3 {
		t.Errorf("got %d keys, want 3", n)
	}
}
