package database_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
)

func TestLifeOfAClassSession(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		withClass(t, db)
		ctx := t.Context()
		at := func(minute int) time.Time { return noon.Add(time.Duration(minute) * time.Minute) }
		want := database.ClassSession{ID: "maths", TeacherID: "ada", Title: "Maths", State: database.Created, CreatedAt: noon}
		for _, step := range []struct {
			to   database.State
			from []database.State
			at   time.Time
			ok   bool
			then func(*database.ClassSession)
		}{
			{database.Paused, []database.State{database.Active}, at(1), false, func(c *database.ClassSession) {}},
			{database.Active, []database.State{database.Created, database.Paused}, at(2), true, func(c *database.ClassSession) { c.State, c.StartedAt = database.Active, at(2) }},
			{database.Active, []database.State{database.Created, database.Paused}, at(3), false, func(c *database.ClassSession) {}},
			{database.Paused, []database.State{database.Active}, at(4), true, func(c *database.ClassSession) { c.State, c.PausedAt = database.Paused, at(4) }},
			{database.Active, []database.State{database.Paused}, at(5), true, func(c *database.ClassSession) { c.State, c.PausedAt = database.Active, time.Time{} }},
			{database.Paused, []database.State{database.Active}, at(6), true, func(c *database.ClassSession) { c.State, c.PausedAt = database.Paused, at(6) }},
			{database.Ended, []database.State{database.Created, database.Active, database.Paused}, at(7), true, func(c *database.ClassSession) { c.State, c.EndedAt = database.Ended, at(7) }},
			{database.Active, []database.State{database.Created, database.Paused}, at(8), false, func(c *database.ClassSession) {}},
			{database.Active, []database.State{database.Ended}, at(9), true, func(c *database.ClassSession) {
				c.State, c.PausedAt, c.EndedAt = database.Active, time.Time{}, time.Time{}
			}},
		} {
			ok, err := db.SetState(ctx, "maths", step.to, step.at, step.from...)
			step.then(&want)
			if err != nil || ok != step.ok {
				t.Errorf("from %v to %s: got %v, %v", step.from, step.to, ok, err)
			}
			if got, found, err := db.ClassSession(ctx, "maths"); err != nil || !found || got != want {
				t.Fatalf("from %v to %s: got %+v, %v, %v, want %+v", step.from, step.to, got, found, err, want)
			}
		}
		if ok, err := db.SetState(ctx, "physics", database.Active, noon, database.Created); err != nil || ok {
			t.Errorf("a session that is not there: got %v, %v", ok, err)
		}
		for _, to := range []database.State{"", "finished", "ACTIVE"} {
			if _, err := db.SetState(ctx, "maths", to, noon, database.Active); !errors.Is(err, database.ErrInvalid) {
				t.Errorf("state %q: got %v", to, err)
			}
		}
		if _, err := db.SetState(ctx, "maths", database.Ended, noon); !errors.Is(err, database.ErrInvalid) {
			t.Errorf("from no state: got %v", err)
		}
	})
}

// Several states can be reached at once; each transition is won by one. The second test of this file
// shows what reading first and writing then makes of it.
func TestConcurrentSetStateHasOneWinner(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		withClass(t, db)
		for round := range 20 {
			id := fmt.Sprintf("round %d", round)
			must(t, db.CreateClassSession(t.Context(), database.ClassSession{ID: id, TeacherID: "ada", Title: "Race"}))
			winners := race(t, 10, func() (bool, error) {
				return db.SetState(t.Context(), id, database.Active, noon, database.Created)
			})
			if winners != 1 {
				t.Fatalf("%s: %d won, want 1", id, winners)
			}
		}
	})
}

func TestReadingTheStateFirstHasSeveralWinners(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		withClass(t, db)
		var read sync.WaitGroup
		read.Add(2)
		winners := race(t, 2, func() (bool, error) {
			c, _, err := db.ClassSession(t.Context(), "maths")
			read.Done()
			read.Wait()
			if err != nil || c.State != database.Created {
				return false, err
			}
			return db.SetState(t.Context(), "maths", database.Active, noon, database.Created, database.Active, database.Paused)
		})
		if winners != 2 {
			t.Errorf("%d won, want 2: the test above would not notice", winners)
		}
	})
}

// race runs do n times at once and counts how often it said yes.
func race(t *testing.T, n int, do func() (bool, error)) (yes int) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	start := make(chan struct{})
	for range n {
		all.Go(func() {
			<-start
			ok, err := do()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if ok {
				yes++
			}
		})
	}
	close(start)
	all.Wait()
	return yes
}

func TestPages(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		withClass(t, db)
		ctx := t.Context()
		must(t, db.CreateTeacher(ctx, database.Teacher{ID: "bob", Email: "bob@example.org", Name: "Bob", PasswordHash: "hash"}))
		must(t, db.CreateClassSession(ctx, database.ClassSession{ID: "bob's", TeacherID: "bob", Title: "Bob's", CreatedAt: noon.Add(time.Hour)}))
		create := func(i int) { // three at a time, so that pages end within the same time
			must(t, db.CreateClassSession(ctx, database.ClassSession{
				ID: fmt.Sprintf("%02d", i), TeacherID: "ada", Title: "Lesson", CreatedAt: noon.Add(time.Duration(i/3+1) * time.Second),
			}))
		}
		var want []string
		for i := range 20 {
			create(i)
			want = append(want, fmt.Sprintf("%02d", i))
		}
		slices.Reverse(want)
		want = append(want, "maths")

		for _, limit := range []int{1, 2, 4, 7, 21, 50} {
			var got []string
			before := ""
			for {
				page, err := db.ClassSessions(ctx, "ada", limit, before)
				must(t, err)
				if len(page) == 0 {
					break
				}
				if len(page) > limit {
					t.Fatalf("a page of %d has %d", limit, len(page))
				}
				for _, c := range page {
					got = append(got, c.ID)
				}
				before = page[len(page)-1].ID
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d: got %v, want %v", limit, got, want)
			}
		}

		// What is made while somebody turns the pages moves none of them. With OFFSET, the second
		// page would show the end of the first again.
		first, err := db.ClassSessions(ctx, "ada", 5, "")
		must(t, err)
		create(20)
		second, err := db.ClassSessions(ctx, "ada", 5, first[4].ID)
		must(t, err)
		if second[0].ID != want[5] {
			t.Errorf("the second page begins with %s, want %s", second[0].ID, want[5])
		}

		for _, c := range []struct {
			teacher, before string
			limit           int
		}{{"ada", "bob's", 5}, {"ada", "nobody's", 5}, {"ada", "\xff", 5}, {"carol", "", 5}, {"ada", "", 0}, {"ada", "", -1}} {
			if page, err := db.ClassSessions(ctx, c.teacher, c.limit, c.before); err != nil || len(page) != 0 {
				t.Errorf("%+v: got %d sessions, %v", c, len(page), err)
			}
		}
		for i := 21; i < database.MaxPage+30; i++ {
			create(i)
		}
		if page, err := db.ClassSessions(ctx, "ada", 1<<40, ""); err != nil || len(page) != database.MaxPage {
			t.Errorf("a page without end has %d sessions, %v, want %d", len(page), err, database.MaxPage)
		}
	})
}

func TestAClassSessionWithItsGroupsIsMadeWholeOrNotAtAll(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		withClass(t, db)
		ctx := t.Context()
		err := db.CreateClassSession(ctx, database.ClassSession{ID: "physics", TeacherID: "ada", Title: "Physics"},
			database.Group{ID: "1", Name: "red"}, database.Group{ID: "2", Name: "red"})
		if !errors.Is(err, database.ErrConflict) {
			t.Errorf("two groups of one name: got %v", err)
		}
		if _, found, err := db.ClassSession(ctx, "physics"); err != nil || found {
			t.Errorf("the session is there without its groups: %v, %v", found, err)
		}
		must(t, db.CreateClassSession(ctx, database.ClassSession{ID: "physics", TeacherID: "ada", Title: "Physics"},
			database.Group{ID: "1", Name: "red"}, database.Group{ID: "2", Name: "blue"}))
		must(t, db.AddGroup(ctx, database.Group{ID: "0", SessionID: "physics", Name: "green"}))
		groups, err := db.Groups(ctx, "physics") // as they were named, and not as they would be sorted
		want := []database.Group{{ID: "1", SessionID: "physics", Name: "red"}, {ID: "2", SessionID: "physics", Name: "blue"}, {ID: "0", SessionID: "physics", Name: "green"}}
		if err != nil || !slices.Equal(groups, want) {
			t.Errorf("got %+v, %v, want %+v", groups, err, want)
		}

		if err := db.CreateClassSession(ctx, database.ClassSession{ID: "x", TeacherID: "bob", Title: "Bob's"}); !errors.Is(err, database.ErrReference) {
			t.Errorf("of a teacher who is not there: got %v", err)
		}
		if err := db.CreateClassSession(ctx, database.ClassSession{ID: "maths", TeacherID: "ada", Title: "Again"}); !errors.Is(err, database.ErrConflict) {
			t.Errorf("twice: got %v", err)
		}
		if err := db.CreateClassSession(ctx, database.ClassSession{ID: "x", TeacherID: "ada", Title: "X", State: "unknown"}); !errors.Is(err, database.ErrInvalid) {
			t.Errorf("unknown state: got %v", err)
		}
	})
}

func TestParseState(t *testing.T) {
	for _, s := range []database.State{database.Created, database.Active, database.Paused, database.Ended} {
		if got, err := database.ParseState(string(s)); err != nil || got != s {
			t.Errorf("%s: got %s, %v", s, got, err)
		}
	}
	for _, text := range []string{"", "Active", "gone"} {
		if _, err := database.ParseState(text); err == nil {
			t.Errorf("%q is a state", text)
		}
	}
}
