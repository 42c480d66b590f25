package database_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/classwaves/rekey/classwaves/database"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is a time as the database keeps it.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// withClass makes a teacher and a class session of theirs.
func withClass(t testing.TB, db *database.DB) {
	t.Helper()
	must(t, db.CreateTeacher(t.Context(), database.Teacher{ID: "ada", Email: "ada@example.org", Name: "Ada", PasswordHash: "hash", CreatedAt: noon}))
	must(t, db.CreateClassSession(t.Context(), database.ClassSession{ID: "maths", TeacherID: "ada", Title: "Maths", CreatedAt: noon}))
}
