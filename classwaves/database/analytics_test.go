package database_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/analytics"
	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
)

// school makes two teachers with class sessions in every state, each with one group.
func school(t *testing.T, db *database.DB) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"ada", "bob"} {
		must(db.CreateTeacher(ctx, database.Teacher{ID: id, Email: id + "@example.org", Name: id, PasswordHash: "x"}))
	}
	for _, s := range []struct {
		id, teacher string
		way         []database.State
	}{
		{"a-created", "ada", nil},
		{"b-active", "ada", []database.State{database.Active}},
		{"c-paused", "ada", []database.State{database.Active, database.Paused}},
		{"d-ended", "ada", []database.State{database.Active, database.Ended}},
		{"e-active", "bob", []database.State{database.Active}},
	} {
		must(db.CreateClassSession(ctx, database.ClassSession{ID: s.id, TeacherID: s.teacher, Title: "t"}))
		must(db.AddGroup(ctx, database.Group{ID: "group of " + s.id, SessionID: s.id, Name: "g"}))
		from := database.Created
		for _, to := range s.way {
			if ok, err := db.SetState(ctx, s.id, to, time.Now(), from); !ok || err != nil {
				t.Fatal(to, ok, err)
			}
			from = to
		}
	}
}

func TestAnalyticsSessionsAndGroups(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		school(t, db)
		for id, want := range map[string]analytics.SessionInfo{
			"a-created": {ID: "a-created", TeacherID: "ada"},
			"d-ended":   {ID: "d-ended", TeacherID: "ada", Ended: true},
			"e-active":  {ID: "e-active", TeacherID: "bob"},
		} {
			got, found, err := db.AnalyticsSession(t.Context(), id)
			if got != want || !found || err != nil {
				t.Errorf("session %s: got %+v, %v, %v", id, got, found, err)
			}
			session, found, err := db.AnalyticsGroup(t.Context(), "group of "+id)
			if session != id || !found || err != nil {
				t.Errorf("group of %s: got %q, %v, %v", id, session, found, err)
			}
		}
		if _, found, err := db.AnalyticsSession(t.Context(), "nobody"); found || err != nil {
			t.Errorf("unknown session: %v, %v", found, err)
		}
		if _, found, err := db.AnalyticsGroup(t.Context(), "nobody"); found || err != nil {
			t.Errorf("unknown group: %v, %v", found, err)
		}
		for _, c := range []struct {
			teacher, after string
			limit          int
			want           []string
		}{
			{"", "", 10, []string{"b-active", "c-paused", "e-active"}},
			{"", "", 2, []string{"b-active", "c-paused"}},
			{"", "c-paused", 2, []string{"e-active"}},
			{"ada", "", 10, []string{"b-active", "c-paused"}},
			{"ada", "b-active", 10, []string{"c-paused"}},
			{"eve", "", 10, nil},
		} {
			page, err := db.LiveSessions(t.Context(), c.teacher, c.after, c.limit)
			var got []string
			for _, s := range page {
				got = append(got, s.ID)
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("live sessions of %q after %q: got %v (%v), want %v", c.teacher, c.after, got, err, c.want)
			}
		}
	})
}

func TestAnalyticsRecordsAreSavedByRevision(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		school(t, db)
		save := func(data string, revision int64, want bool) {
			t.Helper()
			if saved, err := db.SaveAnalytics(t.Context(), "b-active", []byte(data), revision); saved != want || err != nil {
				t.Errorf("save at revision %d: got %v, %v, want %v", revision, saved, err, want)
			}
		}
		save("one", 1, false) // there is none yet
		save("one", 0, true)
		save("other", 0, false)
		save("two", 1, true)
		save("other", 1, false)
		save("other", 3, false)
		loaded, err := db.LoadAnalytics(t.Context(), "b-active", "c-paused", "nobody")
		if err != nil || len(loaded) != 1 || string(loaded["b-active"].Data) != "two" || loaded["b-active"].Revision != 2 {
			t.Errorf("got %+v, %v", loaded, err)
		}
		if loaded, err := db.LoadAnalytics(t.Context()); len(loaded) != 0 || err != nil {
			t.Errorf("of nothing: got %+v, %v", loaded, err)
		}
		if saved, err := db.SaveAnalytics(t.Context(), "nobody", []byte("x"), 0); saved || err == nil {
			t.Errorf("of no session: got %v, %v", saved, err)
		}
	})
}

// Of many who save the same revision exactly one does.
func TestAnalyticsOneSaverWins(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		school(t, db)
		for revision := range int64(10) {
			var won atomic.Int64
			var work sync.WaitGroup
			for i := range 8 {
				work.Go(func() {
					saved, err := db.SaveAnalytics(t.Context(), "b-active", fmt.Appendf(nil, "%d", i), revision)
					if err != nil {
						t.Error(err)
					}
					if saved {
						won.Add(1)
					}
				})
			}
			work.Wait()
			if won.Load() != 1 {
				t.Fatalf("revision %d: %d won", revision, won.Load())
			}
		}
	})
}

// The service itself, with its cache and without it.
func TestAnalyticsOnTheDatabase(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		school(t, db)
		server := miniredis.RunT(t)
		var processes []*analytics.Analytics
		for range 4 {
			rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), DialerRetries: 1, MaxRetries: -1})
			t.Cleanup(func() { _ = rdb.Close() }) // nothing buffered
			a, err := analytics.New(analytics.Config{Redis: rdb, Source: db})
			if err != nil {
				t.Fatal(err)
			}
			processes = append(processes, a)
		}
		const rounds = 20
		count := func() {
			t.Helper()
			var work sync.WaitGroup
			for _, a := range processes {
				for range 3 {
					work.Go(func() {
						for range rounds {
							if _, err := a.Apply(t.Context(), "b-active", analytics.Event{Kind: analytics.ParticipantJoined, GroupID: "group of b-active"}); err != nil {
								t.Error(err)
							}
						}
					})
				}
			}
			work.Wait()
		}
		count()
		server.Close() // and the database takes the rest
		count()
		for i, a := range processes {
			if err := a.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			m, found, err := a.Session(t.Context(), "b-active")
			if want := int64(2 * 4 * 3 * rounds); i == len(processes)-1 && (m.Participants != want || !found || err != nil) {
				t.Errorf("got %d participants, %v, %v, want %d", m.Participants, found, err, want)
			}
		}
		d, err := processes[0].Dashboard(t.Context(), "ada")
		if err != nil || d.LiveSessions != 2 || d.Participants != 2*4*3*rounds {
			t.Errorf("dashboard: got %+v, %v", d, err)
		}
	})
}
