package database_test

import (
	"errors"
	"testing"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
)

func TestTeachers(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		ctx := t.Context()
		ada := database.Teacher{ID: "ada", Email: " Ada@Example.ORG ", Name: "Ada Ünal", PasswordHash: "hash", CreatedAt: noon}
		must(t, db.CreateTeacher(ctx, ada))

		ada.Email = "ada@example.org"
		got, found, err := db.Teacher(ctx, "ada")
		if err != nil || !found || got != ada {
			t.Errorf("Teacher: got %+v, %v, %v, want %+v", got, found, err, ada)
		}
		got, found, err = db.TeacherByEmail(ctx, "ADA@example.org")
		if err != nil || !found || got != ada {
			t.Errorf("TeacherByEmail: got %+v, %v, %v, want %+v", got, found, err, ada)
		}
		for name, find := range map[string]func() (database.Teacher, bool, error){
			"unknown id":         func() (database.Teacher, bool, error) { return db.Teacher(ctx, "bob") },
			"unknown email":      func() (database.Teacher, bool, error) { return db.TeacherByEmail(ctx, "bob@example.org") },
			"email not UTF-8":    func() (database.Teacher, bool, error) { return db.TeacherByEmail(ctx, "\xff@example.org") },
			"id with NUL":        func() (database.Teacher, bool, error) { return db.Teacher(ctx, "ada\x00") },
			"empty email":        func() (database.Teacher, bool, error) { return db.TeacherByEmail(ctx, "") },
			"pattern for emails": func() (database.Teacher, bool, error) { return db.TeacherByEmail(ctx, "%") },
		} {
			if got, found, err := find(); err != nil || found {
				t.Errorf("%s: got %+v, %v, %v, want none", name, got, found, err)
			}
		}
	})
}

func TestTeachersThatAreRefused(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		withClass(t, db)
		fine := database.Teacher{ID: "bob", Email: "bob@example.org", Name: "Bob", PasswordHash: "hash", CreatedAt: noon}
		for _, c := range []struct {
			what   string
			change func(*database.Teacher)
			want   error
		}{
			{"id that is there", func(t *database.Teacher) { t.ID = "ada" }, database.ErrConflict},
			{"email that is there", func(t *database.Teacher) { t.Email = "ada@example.org" }, database.ErrConflict},
			{"the same email in capitals", func(t *database.Teacher) { t.Email = "ADA@EXAMPLE.ORG" }, database.ErrConflict},
			{"no id", func(t *database.Teacher) { t.ID = "" }, database.ErrInvalid},
			{"no email", func(t *database.Teacher) { t.Email = " " }, database.ErrInvalid},
			{"no password", func(t *database.Teacher) { t.PasswordHash = "" }, database.ErrInvalid},
			{"name not UTF-8", func(t *database.Teacher) { t.Name = "B\xf6b" }, database.ErrInvalid},
			{"name with NUL", func(t *database.Teacher) { t.Name = "B\x00b" }, database.ErrInvalid},
		} {
			teacher := fine
			c.change(&teacher)
			if err := db.CreateTeacher(t.Context(), teacher); !errors.Is(err, c.want) {
				t.Errorf("%s: got %v, want %v", c.what, err, c.want)
			}
		}
		must(t, db.CreateTeacher(t.Context(), fine))
	})
}

func TestReplacePasswordHash(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, db *database.DB) {
		withClass(t, db)
		ctx := t.Context()
		for _, c := range []struct {
			id, old, hash string
			want          bool
			after         string
		}{
			{"ada", "hash", "better", true, "better"},
			{"ada", "hash", "late", false, "better"}, // the password was changed meanwhile
			{"bob", "hash", "better", false, "better"},
		} {
			ok, err := db.ReplacePasswordHash(ctx, c.id, c.old, c.hash)
			if err != nil || ok != c.want {
				t.Errorf("%+v: got %v, %v", c, ok, err)
			}
			if ada, _, err := db.Teacher(ctx, "ada"); err != nil || ada.PasswordHash != c.after {
				t.Errorf("%+v: Ada has %q, %v", c, ada.PasswordHash, err)
			}
		}
	})
}
