package analytics

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/unavailable"
	"github.com/classwaves/rekey/internal/redistest"
)

// running runs analytics in the background until the function that it gives is called.
func running(t *testing.T, a *Analytics) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

// Redis is killed under two processes that have counted, both go on, and it comes back empty. Nothing
// that was acknowledged is gone, and nobody was restarted.
func TestRedisIsKilledAndComesBackEmpty(t *testing.T) {
	s, db := redistest.Start(t), newMemory(2)
	a, b := start(t, client(s, once), db), start(t, client(s, once), db)
	apply(t, a, "s0", joined("s0-a"), joined("s0-a"))
	apply(t, b, "s0", joined("s0-b"))
	apply(t, b, "s1", joined("s1-a"), joined("s1-b")) // and not a word more until the end
	if db.storedParticipants(t, "s0") != 0 {
		t.Fatal("the database has it already: the test shows nothing")
	}

	s.Kill()
	// The database answers reads, with what this process added on top.
	if got := sessionOf(t, a, "s0").Participants; got != 2 {
		t.Errorf("a, Redis killed: got %d participants, want the 2 of this process", got)
	}
	// Updates go to the database, which then knows of all that the updating processes had added.
	for range 5 {
		apply(t, a, "s0", joined("s0-a"))
		apply(t, b, "s0", joined("s0-b"))
	}
	if got := db.storedParticipants(t, "s0"); got != 13 {
		t.Errorf("database, Redis killed: got %d participants, want 13", got)
	}
	for name, x := range map[string]*Analytics{"a": a, "b": b} {
		if got := sessionOf(t, x, "s0").Participants; got != 13 {
			t.Errorf("%s, Redis killed: got %d participants, want 13", name, got)
		}
		if got := groupOf(t, x, "s0-b").Participants; got != 6 {
			t.Errorf("%s, Redis killed: group: got %d participants, want 6", name, got)
		}
		if d := dashboardOf(t, x, "t0"); d.Sessions[0].Participants != 13 {
			t.Errorf("%s, Redis killed: dashboard: got %+v", name, d)
		}
		if m := x.Metrics(); m.DatabaseUpdates != 5 || m.DatabaseReads == 0 || m.CacheOutages != 1 || m.Behind == 0 {
			t.Errorf("%s: the outage was not counted: %+v", name, m)
		}
	}
	if _, found, err := a.Session(t.Context(), "s9"); found || err != nil {
		t.Errorf("an unknown session, Redis killed: found %v, error %v: the database answers", found, err)
	}

	s.Restart()
	stopA, stopB := running(t, a), running(t, b)
	third := start(t, client(s), db)
	redistest.WaitFor(t, waitAtMost, func() bool {
		return sessionOf(t, third, "s0").Participants == 13 && sessionOf(t, third, "s1").Participants == 2 &&
			dashboardOf(t, third, "t0").Participants == 15
	})
	apply(t, a, "s0", joined("s0-a"))
	if m := a.Metrics(); m.DatabaseUpdates != 5 || m.Behind != 0 {
		t.Errorf("the cache is back and not used: %+v", m)
	}
	stopA()
	stopB()
	if s0, s1 := db.storedParticipants(t, "s0"), db.storedParticipants(t, "s1"); s0 != 14 || s1 != 2 {
		t.Errorf("database at the end: got %d and %d participants, want 14 and 2", s0, s1)
	}
}

// Redis comes back with what it had a while ago, and the process that went on without it never
// speaks of the session again.
func TestRedisComesBackWithTheEntryOfBefore(t *testing.T) {
	s, db := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always")), newMemory(1)
	a, b := start(t, client(s, once), db), start(t, client(s, once), db)
	apply(t, a, "s0", joined("s0-a"))
	apply(t, b, "s0", joined("s0-b"))
	dashboardOf(t, b, "t0")
	s.Kill()
	apply(t, a, "s0", joined("s0-a"), joined("s0-a"))
	s.Restart()
	redistest.WaitFor(t, waitAtMost, func() bool { return sessionOf(t, b, "s0").Participants >= 2 && !b.down() })
	if got := sessionOf(t, a, "s0").Participants; got != 4 {
		t.Errorf("a process reads %d participants after it added the 4th", got)
	}
	defer running(t, a)()
	redistest.WaitFor(t, waitAtMost, func() bool {
		return sessionOf(t, b, "s0").Participants == 4 && groupOf(t, b, "s0-a").Participants == 3 && dashboardOf(t, b, "t0").Participants == 4
	})
}

// down says that the cache is left alone for now.
func (a *Analytics) down() bool {
	return a.ask(context.Background(), "ping", func(ctx context.Context) error { return a.Redis.Ping(ctx).Err() }) != nil
}

// The reply of an update is lost after the server has acted on it: it counts once.
func TestAnUpdateWhoseReplyIsLostCountsOnce(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	link := redistest.SlowLink(t, s.Addr())
	rdb := s.Client(func(o *redis.Options) { o.Addr, o.ContextTimeoutEnabled = link.Addr(), true })
	a := start(t, rdb, db)
	apply(t, a, "s0", joined("s0-a"))
	for range 10 {
		link.CutAfter(redistest.ToClient, 3) // in the middle of the next reply
		again := resumeWhenCut(link)
		apply(t, a, "s0", joined("s0-a"))
		again()
	}
	if got := sessionOf(t, start(t, s.Client(), db), "s0").Participants; got != 11 {
		t.Errorf("got %d participants, want 11", got)
	}

	// The naive form, a counter that is raised, is raised again by the client that lost the reply.
	key, err := keys.AnalyticsGroup("s0-naive")
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		link.CutAfter(redistest.ToClient, 3)
		again := resumeWhenCut(link)
		if err := redis.NewScript(`return redis.call('INCR', KEYS[1])`).Run(t.Context(), rdb, []string{key}).Err(); err != nil {
			t.Fatal(err)
		}
		again()
	}
	got, err := s.Client().Get(t.Context(), key).Int()
	if err != nil || got <= 10 {
		t.Errorf("the naive form: got %d (%v): the test shows nothing", got, err)
	}
	t.Logf("the naive form counted 10 as %d", got)
}

// resumeWhenCut lets the connection after the cut one through.
func resumeWhenCut(link *redistest.Link) (wait func()) {
	passed := link.Passed(redistest.ToClient)
	done := make(chan struct{})
	var stop atomic.Bool
	go func() {
		defer close(done)
		for !stop.Load() && link.Passed(redistest.ToClient) < passed+3 {
			time.Sleep(100 * time.Microsecond) // polls; the test waits for nothing else
		}
		link.Resume(redistest.ToClient)
	}()
	return func() { stop.Store(true); <-done }
}

// Neither store takes an update, though the cache did act on it: it was refused, so it does not count.
func TestARefusedUpdateIsTakenBack(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	link := redistest.SlowLink(t, s.Addr())
	a := start(t, s.Client(withAddr(link.Addr())), db, func(c *Config) { c.CacheTimeout = 2 * time.Second })
	other := start(t, s.Client(), db)
	apply(t, a, "s0", joined("s0-a"))
	link.Stall(redistest.ToClient)
	db.set(func(m *memory) { m.down = true })
	_, err := a.Apply(t.Context(), "s0", joined("s0-a"))
	if !unavailable.Is(err) {
		t.Fatalf("got error %v, want one of an outage", err)
	}
	if got := sessionOf(t, other, "s0").Participants; got != 2 {
		t.Fatalf("got %d participants: the update did not arrive, so the test shows nothing", got)
	}
	link.Resume(redistest.ToClient)
	db.set(func(m *memory) { m.down = false })
	redistest.WaitFor(t, waitAtMost, func() bool {
		a.settle(t.Context())
		return sessionOf(t, other, "s0").Participants == 1
	})
	apply(t, a, "s0", joined("s0-a"))
	if got := sessionOf(t, other, "s0"); got.Participants != 2 {
		t.Errorf("after one more: got %+v, want 2 participants", got)
	}
	if m := a.Metrics(); m.Refused != 1 || m.SourceOutages != 1 {
		t.Errorf("got %+v", m)
	}
}

func TestTheDatabaseIsDown(t *testing.T) {
	s, db := redistest.Start(t), newMemory(2)
	rdb := client(s, once)
	a := start(t, rdb, db)
	apply(t, a, "s0", joined("s0-a"))
	db.set(func(m *memory) { m.down = true })
	fresh := start(t, client(s, once), db)
	for name, x := range map[string]*Analytics{"a process that knows the session": a, "one that does not": fresh} {
		apply(t, x, "s0", joined("s0-a"))
		if got := sessionOf(t, x, "s0").Participants; got < 2 {
			t.Errorf("%s: got %d participants", name, got)
		}
	}
	if _, err := fresh.Apply(t.Context(), "s0", joined("s0-other")); !unavailable.Is(err) {
		t.Errorf("a group that nobody has counted: got error %v, want one of an outage", err)
	}
	if _, err := fresh.Apply(t.Context(), "s1", joined("s1-a")); !unavailable.Is(err) {
		t.Errorf("a session without an entry: got error %v, want one of an outage", err)
	}
	if _, found, err := fresh.Session(t.Context(), "s1"); found || !unavailable.Is(err) {
		t.Errorf("a session without an entry: found %v, error %v: absent is not the same as unavailable", found, err)
	}
	if _, err := a.Sync(t.Context()); !unavailable.Is(err) {
		t.Errorf("sync: got error %v, want one of an outage", err)
	}
	if err := a.Flush(t.Context()); !unavailable.Is(err) {
		t.Errorf("flush: got error %v, want one of an outage", err)
	}
	// The entry is gone as well: it is not begun without what the database has.
	rdb.FlushAll(t.Context())
	if _, err := a.Apply(t.Context(), "s0", joined("s0-a")); !unavailable.Is(err) {
		t.Errorf("a lost entry: got error %v, want one of an outage", err)
	}
	s.Kill()
	if _, _, err := a.Session(t.Context(), "s0"); !unavailable.Is(err) {
		t.Errorf("both down: got error %v", err)
	}
	if _, _, err := a.Group(t.Context(), "s0-a"); !unavailable.Is(err) {
		t.Errorf("both down: group: got error %v", err)
	}
	if _, err := a.Dashboard(t.Context(), "t0"); !unavailable.Is(err) {
		t.Errorf("both down: dashboard: got error %v", err)
	}
	if _, err := a.Apply(t.Context(), "s0", joined("s0-a")); !unavailable.Is(err) || errors.Is(err, ErrNoSession) {
		t.Errorf("both down: apply: got error %v", err)
	}
	db.set(func(m *memory) { m.down = false })
	if got := sessionOf(t, a, "s0").Participants; got != 2 {
		t.Errorf("the database is back: got %d participants, want the 2 that this process was told are counted", got)
	}
}

// While the cache is down the database takes updates from many at once.
func TestFiftyWritersWithoutRedis(t *testing.T) {
	s, db := redistest.Start(t), newMemory(1)
	var processes []*Analytics
	for range 4 {
		processes = append(processes, start(t, client(s, once), db))
	}
	s.Kill()
	hammer(t, processes)
	wantAll(t, processes[0])
	if m := processes[0].Metrics(); m.DatabaseUpdates == 0 || m.Updates == 0 {
		t.Errorf("got %+v", m)
	}
	if got := db.storedParticipants(t, "s0"); got != writers*each {
		t.Errorf("database: got %d participants, want %d", got, writers*each)
	}
}

// What the old release keeps under the name is no record: it is replaced, and counted.
// TestKeysOfAnotherType: what is no string is an entry of another format, and no outage.
func TestKeysOfAnotherType(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	rdb := client(s)
	a := start(t, rdb, db)
	session, err1 := keys.AnalyticsSession("s0")
	group, err2 := keys.AnalyticsGroup("s0-a")
	dashboard, err3 := keys.AnalyticsDashboard("t0")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	names := []string{session, group, dashboard}
	spoil := func() {
		t.Helper()
		for _, name := range names {
			rdb.Del(t.Context(), name)
			if err := rdb.LPush(t.Context(), name, "x").Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	apply(t, a, "s0", joined("s0-a"))
	spoil()
	if got := sessionOf(t, a, "s0").Participants; got != 1 {
		t.Errorf("session: got %d participants, want 1", got)
	}
	spoil()
	if got := groupOf(t, a, "s0-a").Participants; got != 1 {
		t.Errorf("group: got %d participants, want 1", got)
	}
	spoil()
	if got := dashboardOf(t, a, "t0").Participants; got != 1 {
		t.Errorf("dashboard: got %d participants, want 1", got)
	}
	spoil()
	if got := apply(t, a, "s0", joined("s0-a")).Participants; got != 2 {
		t.Errorf("update: got %d participants, want 2", got)
	}
	if m := a.Metrics(); m.DatabaseReads+m.DatabaseUpdates+m.CacheOutages != 0 || m.Foreign == 0 {
		t.Errorf("taken for an outage: %+v", m)
	}
	for _, name := range names {
		if got := rdb.Type(t.Context(), name).Val(); got != "string" {
			t.Errorf("%s is a %s still", name, got)
		}
	}
}

func TestEntriesOfTheOldRelease(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	rdb := client(s)
	a := start(t, rdb, db)
	key, err := keys.AnalyticsSession("s0")
	if err != nil {
		t.Fatal(err)
	}
	old := func() {
		if err := rdb.Set(t.Context(), key, `{"sessionId":"s0","activeGroups":0,"parts":"none"}`, time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
	}
	old()
	if got := sessionOf(t, a, "s0"); got.Participants != 0 {
		t.Errorf("read: got %+v", got)
	}
	if raw := rdb.Get(t.Context(), key).Val(); !strings.Contains(raw, `"format":1`) {
		t.Errorf("the entry was not replaced: %s", raw)
	}
	apply(t, a, "s0", joined("s0-a"))
	old() // an old process writes once more
	if got := sessionOf(t, a, "s0").Participants; got != 1 {
		t.Errorf("read over an old entry: got %d participants, want 1", got)
	}
	old()
	if got := apply(t, a, "s0", joined("s0-a")).Participants; got != 2 {
		t.Errorf("update over an old entry: got %d participants, want 2", got)
	}
	old()
	report, err := a.Sync(t.Context())
	if err != nil || len(report.Missed) != 1 || !errors.Is(report.Missed[0].Err, ErrForeign) {
		t.Errorf("sync over an old entry: got %+v, %v", report, err)
	}
	if got := db.storedParticipants(t, "s0"); got != 2 {
		t.Errorf("database: got %d participants, want 2", got)
	}
	if m := a.Metrics(); m.Foreign < 3 {
		t.Errorf("not counted: %+v", m)
	}
}
