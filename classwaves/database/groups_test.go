package database_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
)

func TestGroups(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		withClass(t, db)
		ctx := t.Context()
		must(t, db.CreateClassSession(ctx, database.ClassSession{ID: "physics", TeacherID: "ada", Title: "Physics"}))
		red := database.Group{ID: "1", SessionID: "maths", Name: "red", Ready: true}
		must(t, db.AddGroup(ctx, red))
		must(t, db.AddGroup(ctx, database.Group{ID: "2", SessionID: "physics", Name: "red"})) // another session's
		for _, c := range []struct {
			what string
			g    database.Group
			want error
		}{
			{"a name twice", database.Group{ID: "3", SessionID: "maths", Name: "red"}, database.ErrConflict},
			{"an id twice", database.Group{ID: "1", SessionID: "maths", Name: "blue"}, database.ErrConflict},
			{"no name", database.Group{ID: "3", SessionID: "maths"}, database.ErrInvalid},
			{"no session", database.Group{ID: "3", SessionID: "art", Name: "blue"}, database.ErrReference},
		} {
			if err := db.AddGroup(ctx, c.g); !errors.Is(err, c.want) {
				t.Errorf("%s: got %v, want %v", c.what, err, c.want)
			}
		}
		for _, ready := range []bool{false, true, true} {
			red.Ready = ready
			must(t, db.SetGroupReady(ctx, "1", ready))
			if got, err := db.Groups(ctx, "maths"); err != nil || !slices.Equal(got, []database.Group{red}) {
				t.Errorf("got %+v, %v, want %+v", got, err, red)
			}
		}
		if err := db.SetGroupReady(ctx, "9", true); !errors.Is(err, database.ErrReference) {
			t.Errorf("a group that is not there: got %v", err)
		}
		if got, err := db.Groups(ctx, "art"); err != nil || len(got) != 0 {
			t.Errorf("a session that is not there: got %+v, %v", got, err)
		}
	})
}

func TestParticipants(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		withClass(t, db)
		ctx := t.Context()
		must(t, db.CreateClassSession(ctx, database.ClassSession{ID: "physics", TeacherID: "ada", Title: "Physics"}, database.Group{ID: "p", Name: "red"}))
		must(t, db.AddGroup(ctx, database.Group{ID: "m", SessionID: "maths", Name: "red"}))
		want := []database.Participant{
			{ID: "2", SessionID: "maths", GroupID: "m", Name: "Émile", JoinedAt: noon},
			{ID: "1", SessionID: "maths", Name: "Zoë", JoinedAt: noon.Add(time.Second)},
			{ID: "3", SessionID: "maths", GroupID: "m", Name: "Zoë", JoinedAt: noon.Add(time.Second)}, // names repeat in a class
		}
		for _, i := range []int{1, 0, 2} {
			must(t, db.AddParticipant(ctx, want[i]))
		}
		if got, err := db.Participants(ctx, "maths"); err != nil || !slices.Equal(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		ended, err := db.SetState(ctx, "physics", database.Ended, noon, database.Created)
		if err != nil || !ended {
			t.Fatal(ended, err)
		}
		for _, c := range []struct {
			what string
			p    database.Participant
			want error
		}{
			{"an id twice", database.Participant{ID: "1", SessionID: "maths", Name: "Ann"}, database.ErrConflict},
			{"a group of another session", database.Participant{ID: "4", SessionID: "maths", GroupID: "p", Name: "Ann"}, database.ErrReference},
			{"a group that is not there", database.Participant{ID: "4", SessionID: "maths", GroupID: "x", Name: "Ann"}, database.ErrReference},
			{"a session that is not there", database.Participant{ID: "4", SessionID: "art", Name: "Ann"}, database.ErrReference},
			{"a session that has ended", database.Participant{ID: "4", SessionID: "physics", GroupID: "p", Name: "Ann"}, database.ErrReference},
			{"no name", database.Participant{ID: "4", SessionID: "maths"}, database.ErrInvalid},
			{"a group not UTF-8", database.Participant{ID: "4", SessionID: "maths", GroupID: "\xff", Name: "Ann"}, database.ErrInvalid},
		} {
			if err := db.AddParticipant(ctx, c.p); !errors.Is(err, c.want) {
				t.Errorf("%s: got %v, want %v", c.what, err, c.want)
			}
		}
	})
}
