// Package databasetest gives tests a database that is empty but for its schema, and runs the same
// test on each kind.
//
// SQLite is always there. With the build tag postgres there is PostgreSQL too: one server for the
// test binary, made by the first test that wants it, reachable through a socket in a directory of
// its own only, and gone with the test binary, however that ends. Each test has a database of its
// own in it.
package databasetest

import (
	"path/filepath"
	"testing"

	"github.com/classwaves/rekey/classwaves/database"
)

// kind is a kind of database that tests run on.
type kind struct {
	name string
	url  func(*testing.T) string // of an empty database, which goes away with the test
}

// Each runs test on every kind of database, in a subtest each. The database is closed after it.
func Each(t *testing.T, test func(t *testing.T, db *database.DB)) {
	t.Helper()
	EachURL(t, func(t *testing.T, url string) {
		test(t, Open(t, url))
	})
}

// EachURL is [Each] for tests that open the database themselves, or several times: the database of
// url has no schema yet.
func EachURL(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	for _, kind := range kinds() {
		t.Run(kind.name, func(t *testing.T) { test(t, kind.url(t)) })
	}
}

// Open opens the database of url and closes it with the test.
func Open(t testing.TB, url string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
	return db
}

// SQLite is the URL of a database in a file of the test's.
func SQLite(t testing.TB) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "classwaves.db")
}
