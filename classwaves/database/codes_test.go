package database_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
)

func TestCodes(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		withClass(t, db)
		ctx := t.Context()
		must(t, db.CreateClassSession(ctx, database.ClassSession{ID: "physics", TeacherID: "ada", Title: "Physics"}))
		set := func(session, code string, want bool) {
			t.Helper()
			if taken, err := db.SetCode(ctx, session, code); err != nil || taken != want {
				t.Errorf("SetCode %s %s: got taken %v, %v", session, code, taken, err)
			}
		}
		// codes says which session has which code, asked both ways.
		codes := func(want map[string]string) {
			t.Helper()
			for _, session := range []string{"maths", "physics", "art"} {
				code, found, err := db.CodeOfSession(ctx, session)
				if err != nil || found != (want[session] != "") || code != want[session] {
					t.Errorf("CodeOfSession %s: got %q, %v, %v, want %q", session, code, found, err, want[session])
				}
			}
			for _, code := range []string{"AAAAAA", "BBBBBB", ""} {
				owner := ""
				for session, has := range want {
					if has == code {
						owner = session
					}
				}
				session, found, err := db.SessionOfCode(ctx, code)
				if err != nil || found != (owner != "") || session != owner {
					t.Errorf("SessionOfCode %q: got %q, %v, %v, want %q", code, session, found, err, owner)
				}
			}
		}
		codes(nil)
		set("maths", "AAAAAA", false)
		codes(map[string]string{"maths": "AAAAAA"})
		set("physics", "AAAAAA", true)
		codes(map[string]string{"maths": "AAAAAA"})
		set("maths", "BBBBBB", false) // it keeps the one that it has
		codes(map[string]string{"maths": "AAAAAA"})
		set("physics", "BBBBBB", false)
		codes(map[string]string{"maths": "AAAAAA", "physics": "BBBBBB"})
		set("maths", "BBBBBB", false)
		must(t, db.ReleaseCode(ctx, "physics"))
		must(t, db.ReleaseCode(ctx, "physics"))
		must(t, db.ReleaseCode(ctx, "art"))
		codes(map[string]string{"maths": "AAAAAA"})

		// A session that ends gives its code to whoever wants it next, and gets none again.
		if ok, err := db.SetState(ctx, "maths", database.Ended, noon, database.Created); err != nil || !ok {
			t.Fatal(ok, err)
		}
		codes(nil)
		set("physics", "AAAAAA", false)
		codes(map[string]string{"physics": "AAAAAA"})
		for _, session := range []string{"maths", "art"} {
			if taken, err := db.SetCode(ctx, session, "BBBBBB"); !errors.Is(err, database.ErrReference) || taken {
				t.Errorf("SetCode %s: got %v, %v", session, taken, err)
			}
		}
	})
}

// A hundred sessions want one code at once.
func TestACodeIsOneSessionsOnly(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		withClass(t, db)
		const n = 100
		for i := range n {
			must(t, db.CreateClassSession(t.Context(), database.ClassSession{ID: fmt.Sprint(i), TeacherID: "ada", Title: "Race"}))
		}
		var next atomic.Int64
		winners := race(t, n, func() (bool, error) {
			taken, err := db.SetCode(t.Context(), fmt.Sprint(next.Add(1)-1), "AAAAAA")
			return !taken, err
		})
		if winners != 1 {
			t.Errorf("%d sessions have the code, want 1", winners)
		}
	})
}
