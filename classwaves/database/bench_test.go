package database_test

import (
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
)

// BenchmarkClassSession is a lookup beside the bare statement that it needs, in turns; x-bare is how
// many times as long it takes.
func BenchmarkClassSession(b *testing.B) {
	db := databasetest.Open(b, databasetest.SQLite(b))
	withClass(b, db)
	ours := func() error {
		_, _, err := db.ClassSession(b.Context(), "maths")
		return err
	}
	bare := func() error {
		var c database.ClassSession
		var created, started, paused, ended int64
		return db.Bare().QueryRowContext(b.Context(), `SELECT id, teacher_id, title, state, created_at, started_at, paused_at, ended_at
			FROM class_sessions WHERE id = $1`, "maths").Scan(&c.ID, &c.TeacherID, &c.Title, &c.State, &created, &started, &paused, &ended)
	}
	var took [2]time.Duration
	for b.Loop() {
		for i, call := range []func() error{ours, bare} {
			began := time.Now()
			if err := call(); err != nil {
				b.Fatal(err)
			}
			took[i] += time.Since(began)
		}
	}
	b.ReportMetric(float64(took[0])/float64(took[1]), "x-bare")
}
