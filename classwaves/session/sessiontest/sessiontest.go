// Package sessiontest is what every session.Backing must hold to, as tests.
package sessiontest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/session"
)

// Store is a Backing that shows what it recorded.
type Store interface {
	session.Backing
	SessionMismatches(ctx context.Context, hash string) (session.Mismatch, bool, error)
}

var (
	start = time.Date(2030, 1, 2, 3, 4, 5, 6e6, time.UTC)
	limit = session.Limit{Max: 3, Now: start, IdleSince: start.Add(-4 * time.Hour)}
)

// Run runs the tests. each gives a test an empty store, or several stores one after the other.
func Run(t *testing.T, each func(t *testing.T, test func(*testing.T, Store))) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s Store)
	}{
		{"a session is found as it was saved", testSave},
		{"a login beyond the limit ends the oldest", testLimit},
		{"what has ended by the clock does not count", testLimitCountsTheLiving},
		{"concurrent logins leave the limit", testConcurrentLogins},
		{"ended stays ended", testRevoke},
		{"a teacher's sessions end, later ones stay", testRevokeTeacher},
		{"activity moves forward only", testTouch},
		{"pending records come page by page", testPending},
		{"a settled record that changed stays pending", testSettle},
		{"the cache is refilled once for each server", testRefill},
		{"mismatches are counted", testMismatches},
		{"old records are forgotten", testForget},
	} {
		t.Run(test.name, func(t *testing.T) { each(t, test.run) })
	}
}

func record(n int, teacher string) session.Record {
	return session.Record{
		Hash: session.HashID(fmt.Sprint(n)), SealedID: fmt.Sprintf("sealed %d", n), TeacherID: teacher,
		CreatedAt: start, LastActivity: start, Deadline: start.Add(24 * time.Hour), Agent: "agent", Network: "network",
	}
}

func save(t *testing.T, s Store, r session.Record) session.Saved {
	t.Helper()
	saved, err := s.SaveSession(t.Context(), r, limit)
	must(t, err)
	return saved
}

func find(t *testing.T, s Store, hash string) session.Record {
	t.Helper()
	r, found, err := s.FindSession(t.Context(), hash)
	must(t, err)
	if !found {
		t.Fatal("the record is not there")
	}
	return r
}

func testSave(t *testing.T, s Store) {
	want := record(1, "t")
	saved := save(t, s, want)
	want.Order, want.Pending, want.Version = saved.Record.Order, session.PendingPut, saved.Record.Version
	if want.Order < start.UnixMilli() {
		t.Errorf("order %d is before the time of the login", want.Order)
	}
	same(t, saved.Record, want)
	same(t, find(t, s, want.Hash), want)
	if _, found, err := s.FindSession(t.Context(), session.HashID("another")); found || err != nil {
		t.Errorf("a session that was never saved: found %v, error %v", found, err)
	}
}

func testLimit(t *testing.T, s Store) {
	save(t, s, record(100, "another teacher"))
	var last session.Saved
	for n := range 5 {
		before := last
		last = save(t, s, record(n, "t"))
		if last.Record.Order <= before.Record.Order {
			t.Fatalf("login %d has order %d after %d", n, last.Record.Order, before.Record.Order)
		}
	}
	equal(t, "kept", hashes(last.Kept), []string{record(3, "").Hash, record(2, "").Hash})
	equal(t, "evicted", hashes(last.Evicted), []string{record(1, "").Hash})
	gone := find(t, s, record(1, "").Hash)
	if !gone.Revoked() || gone.Pending != session.PendingClear {
		t.Errorf("the oldest: revoked %v, pending %v", gone.Revoked(), gone.Pending)
	}
	if find(t, s, record(100, "").Hash).Revoked() {
		t.Error("another teacher's session was ended")
	}
}

func testLimitCountsTheLiving(t *testing.T, s Store) {
	expired, idle := record(1, "t"), record(2, "t")
	expired.Deadline = start
	idle.LastActivity = limit.IdleSince
	for _, r := range []session.Record{record(0, "t"), expired, idle, record(3, "t")} {
		save(t, s, r)
	}
	last := save(t, s, record(4, "t"))
	if len(last.Evicted) != 0 || len(last.Kept) != 2 {
		t.Errorf("kept %d, evicted %d; want 2 and 0: two were dead", len(last.Kept), len(last.Evicted))
	}
}

func testConcurrentLogins(t *testing.T, s Store) {
	const n = 100
	var group sync.WaitGroup
	saved := make([]session.Saved, n)
	errs := make([]error, n)
	for i := range n {
		group.Go(func() { saved[i], errs[i] = s.SaveSession(context.Background(), record(i, "t"), limit) })
	}
	group.Wait()
	orders := map[int64]bool{}
	alive, evicted := 0, 0
	for i := range n {
		must(t, errs[i])
		orders[saved[i].Record.Order] = true
		evicted += len(saved[i].Evicted)
		if !find(t, s, record(i, "").Hash).Revoked() {
			alive++
		}
	}
	if alive != 3 || evicted != n-3 || len(orders) != n {
		t.Errorf("%d alive, %d evicted, %d orders; want 3, %d, %d", alive, evicted, len(orders), n-3, n)
	}
}

func testRevoke(t *testing.T, s Store) {
	r := save(t, s, record(1, "t")).Record
	at := start.Add(time.Minute)
	ended, err := s.RevokeSessions(t.Context(), []string{r.Hash, session.HashID("unknown")}, at)
	must(t, err)
	equal(t, "ended", hashes(ended), []string{r.Hash})
	got := find(t, s, r.Hash)
	if !got.RevokedAt.Equal(at) || got.Pending != session.PendingClear || got.Version == r.Version {
		t.Errorf("ended at %v, pending %v, version %d", got.RevokedAt, got.Pending, got.Version)
	}
	again, err := s.RevokeSessions(t.Context(), []string{r.Hash}, at.Add(time.Hour))
	must(t, err)
	if len(again) != 1 || !again[0].RevokedAt.Equal(at) || again[0].Version == got.Version {
		t.Errorf("ended twice: %+v", again)
	}
	if none, err := s.RevokeSessions(t.Context(), nil, at); len(none) != 0 || err != nil {
		t.Errorf("ending nothing: %v, %v", none, err)
	}
}

func testRevokeTeacher(t *testing.T, s Store) {
	first, second := save(t, s, record(1, "t")).Record, save(t, s, record(2, "t")).Record
	save(t, s, record(3, "another"))
	ended, order, err := s.RevokeTeacher(t.Context(), "t", start, math.MaxInt64)
	must(t, err)
	got := hashes(ended)
	want := []string{first.Hash, second.Hash}
	slices.Sort(got)
	slices.Sort(want)
	equal(t, "ended", got, want)
	later := save(t, s, record(4, "t")).Record
	if order < second.Order || order >= later.Order {
		t.Errorf("orders %d, %d, then everywhere %d, then %d", first.Order, second.Order, order, later.Order)
	}
	if find(t, s, record(3, "").Hash).Revoked() {
		t.Error("another teacher's session was ended")
	}
	ended, _, err = s.RevokeTeacher(t.Context(), "t", start, later.Order-1)
	must(t, err)
	if len(ended) != 0 || find(t, s, later.Hash).Revoked() {
		t.Errorf("%d sessions ended beyond the order", len(ended))
	}
	if ended, _, err = s.RevokeTeacher(t.Context(), "nobody", start, math.MaxInt64); len(ended) != 0 || err != nil {
		t.Errorf("a teacher without sessions: %v, %v", ended, err)
	}
}

func testTouch(t *testing.T, s Store) {
	r := save(t, s, record(1, "t")).Record
	settle(t, s, r)
	at := start.Add(time.Minute)
	must(t, s.TouchSessions(t.Context(), []session.Touch{{Hash: r.Hash, At: at}, {Hash: session.HashID("unknown"), At: at}}))
	if got := find(t, s, r.Hash); !got.LastActivity.Equal(at) || got.Pending != session.PendingNone {
		t.Errorf("last activity %v, pending %v", got.LastActivity, got.Pending)
	}
	must(t, s.TouchSessions(t.Context(), []session.Touch{{Hash: r.Hash, At: start, Put: true}}))
	got := find(t, s, r.Hash)
	if !got.LastActivity.Equal(at) || got.Pending != session.PendingPut || got.Version == r.Version {
		t.Errorf("last activity %v, pending %v, version %d", got.LastActivity, got.Pending, got.Version)
	}
	_, err := s.RevokeSessions(t.Context(), []string{r.Hash}, at)
	must(t, err)
	must(t, s.TouchSessions(t.Context(), []session.Touch{{Hash: r.Hash, At: at.Add(time.Hour), Put: true}}))
	if got := find(t, s, r.Hash); !got.LastActivity.Equal(at) || got.Pending != session.PendingClear {
		t.Errorf("after its end: last activity %v, pending %v", got.LastActivity, got.Pending)
	}
}

func settle(t *testing.T, s Store, r session.Record) {
	t.Helper()
	changed, err := s.SettleSessions(t.Context(), []session.Settled{{Hash: r.Hash, Version: r.Version}})
	must(t, err)
	if len(changed) != 0 {
		t.Fatal("the record was not settled")
	}
}

func testPending(t *testing.T, s Store) {
	var want []string
	for n := range 7 {
		r := save(t, s, record(n, fmt.Sprint(n))).Record
		if n == 3 {
			settle(t, s, r)
			continue
		}
		want = append(want, r.Hash)
	}
	slices.Sort(want)
	var got []string
	after := ""
	for {
		page, err := s.PendingSessions(t.Context(), after, 4)
		must(t, err)
		got = append(got, hashes(page)...)
		if len(page) < 4 {
			break
		}
		after = page[len(page)-1].Hash
	}
	equal(t, "pending", got, want)
}

func testSettle(t *testing.T, s Store) {
	r := save(t, s, record(1, "t")).Record
	_, err := s.RevokeSessions(t.Context(), []string{r.Hash}, start)
	must(t, err)
	changed, err := s.SettleSessions(t.Context(), []session.Settled{{Hash: r.Hash, Version: r.Version}})
	must(t, err)
	equal(t, "changed", changed, []string{r.Hash})
	if got := find(t, s, r.Hash); got.Pending != session.PendingClear {
		t.Errorf("pending %v; the end of the session would be forgotten", got.Pending)
	}
}

func testRefill(t *testing.T, s Store) {
	alive, ended := save(t, s, record(1, "t")).Record, save(t, s, record(2, "t")).Record
	old := record(3, "t")
	old.Deadline = start
	old = save(t, s, old).Record
	records, err := s.RevokeSessions(t.Context(), []string{ended.Hash}, start)
	must(t, err)
	for _, r := range []session.Record{alive, records[0], old} {
		settle(t, s, r)
	}
	for _, step := range []struct {
		server string
		done   bool
	}{{"a", true}, {"a", false}, {"b", true}} {
		done, err := s.RefillCache(t.Context(), step.server, start)
		must(t, err)
		if done != step.done {
			t.Fatalf("refilled %s: %v, want %v", step.server, done, step.done)
		}
	}
	for hash, want := range map[string]session.Pending{
		alive.Hash: session.PendingPut, ended.Hash: session.PendingClear, old.Hash: session.PendingNone,
	} {
		if got := find(t, s, hash); got.Pending != want {
			t.Errorf("pending %v, want %v", got.Pending, want)
		}
	}
}

func testMismatches(t *testing.T, s Store) {
	hash := session.HashID("1")
	m := session.Mismatch{Hash: hash, Agent: true, Count: 2, At: start}
	must(t, s.RecordMismatches(t.Context(), []session.Mismatch{m}))
	m.Agent, m.Network, m.Count, m.At = false, true, 3, start.Add(time.Second)
	must(t, s.RecordMismatches(t.Context(), []session.Mismatch{m}))
	got, found, err := s.SessionMismatches(t.Context(), hash)
	must(t, err)
	m.Count = 5
	if !found || got.Count != 5 || got.Agent || !got.Network || !got.At.Equal(m.At) {
		t.Errorf("found %v, %+v; want %+v", found, got, m)
	}
}

func testForget(t *testing.T, s Store) {
	old := record(1, "t")
	old.Deadline = start.Add(-time.Hour)
	save(t, s, old)
	save(t, s, record(2, "t"))
	must(t, s.RecordMismatches(t.Context(), []session.Mismatch{{Hash: old.Hash, Count: 1, At: start}}))
	n, err := s.ForgetSessions(t.Context(), start)
	must(t, err)
	if n != 1 {
		t.Errorf("%d forgotten, want 1", n)
	}
	if _, found, err := s.FindSession(t.Context(), old.Hash); found || err != nil {
		t.Errorf("the old record: found %v, error %v", found, err)
	}
	if _, found, err := s.SessionMismatches(t.Context(), old.Hash); found || err != nil {
		t.Errorf("its mismatches: found %v, error %v", found, err)
	}
	find(t, s, record(2, "").Hash)
}

func hashes(records []session.Record) []string {
	out := make([]string, 0, len(records))
	for _, r := range records {
		out = append(out, r.Hash)
	}
	return out
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// same compares records; times may differ in their location.
func same(t *testing.T, got, want session.Record) {
	t.Helper()
	times := func(r session.Record) []int64 {
		return []int64{r.CreatedAt.UnixMilli(), r.LastActivity.UnixMilli(), r.Deadline.UnixMilli()}
	}
	gotTimes, wantTimes := times(got), times(want)
	got.CreatedAt, got.LastActivity, got.Deadline = want.CreatedAt, want.LastActivity, want.Deadline
	if got != want || !slices.Equal(gotTimes, wantTimes) {
		t.Errorf("record\n%+v %v, want\n%+v %v", got, gotTimes, want, wantTimes)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
