package database_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/database/databasetest"
	"github.com/classwaves/rekey/classwaves/unavailable"
)

// An error says what is wrong and never holds the password, wherever in the URL it stands.
func TestURLsThatCannotBeOpened(t *testing.T) {
	const password = "s3kr1t"
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	nobody := closed.Addr().String()
	must(t, closed.Close())
	dir := t.TempDir()
	text := filepath.Join(dir, "letter.txt")
	must(t, os.WriteFile(text, []byte(strings.Repeat("Dear Ada, this is a letter and no database.\n", 100)), 0o600))

	for _, c := range []struct {
		url, want string
		outage    bool
	}{
		{"", "want sqlite:PATH, sqlite::memory: or postgres://", false},
		{"/var/lib/classwaves.db", "want sqlite:PATH", false},
		{"mysql://ada:" + password + "@localhost/classwaves", "want sqlite:PATH", false},
		{"ada:" + password + "@localhost/classwaves", "want sqlite:PATH", false},
		{"sqlite:", "the path of a file", false},
		{"sqlite:classwaves.db?_pragma=" + password, "without parameters", false},
		{"sqlite://" + password, "without the slashes", false},
		{"postgres:ada:" + password, "not a URL", false},
		{"postgres://ada:" + password + "/x@localhost/classwaves", "escape what is special in its password", false},
		{"postgres://ada:" + password + "%zz@localhost/classwaves", "escape what is special in its password", false},
		{"postgres://ada:" + password + "@localhost", "names no database", false},
		{"postgres://ada:" + password + "@localhost/", "names no database", false},
		{"postgres://ada:" + password + "@localhost/classwaves?sslmode=" + password, "sslmode", false},
		{"postgres://ada:" + password + "@localhost/classwaves?connect_timeout=soon", "soon", false},
		{"postgres://ada:" + password + "@" + nobody + "/classwaves?sslmode=disable", "is PostgreSQL there", true},
		{"postgres://ada:" + password + "@/classwaves?host=" + dir, "is PostgreSQL there", true},
		{"sqlite:" + text, "letter.txt is not a SQLite database: name another file", true},
		{"sqlite:" + filepath.Join(dir, "no", "such", "directory", "classwaves.db"), "its directory must exist", true},
		{"sqlite:" + dir, "cannot be made or opened", true},
	} {
		db, err := database.Open(t.Context(), c.url)
		if err == nil {
			t.Errorf("%s: opened, %v", c.url, db.Close())
			continue
		}
		if !strings.Contains(err.Error(), c.want) || unavailable.Is(err) != c.outage {
			t.Errorf("%s: got %q (unavailable: %v), want %q", c.url, err, unavailable.Is(err), c.want)
		}
		if strings.Contains(err.Error(), password) {
			t.Errorf("%s: the error tells the password: %v", c.url, err)
		}
	}
	after, err := os.ReadFile(text)
	if err != nil || !strings.HasPrefix(string(after), "Dear Ada") {
		t.Errorf("the file that is no database was changed: %.40q, %v", after, err)
	}
}

func TestPathsOfFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, path := range []string{"plain.db", "./here.db", filepath.Join(dir, "absolute.db"), "with space.db", "100%.db", "a%20b.db", "hash#tag.db", "plus+and&.db", "ünï.db", "a:b.db"} {
		db, err := database.Open(t.Context(), "sqlite:"+path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		must(t, db.Close())
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A database in memory is its connection, and a statement that is broken off must not take it along.
func TestMemoryOutlivesWhatIsBrokenOff(t *testing.T) {
	db := databasetest.Open(t, "sqlite::memory:")
	withClass(t, db)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := db.Strings(ctx, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT CAST(MAX(i) AS TEXT) FROM n")
	if !unavailable.Is(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a statement without end: got %v", err)
	}
	if _, found, err := db.ClassSession(t.Context(), "maths"); err != nil || !found {
		t.Errorf("after it: got %v, %v", found, err)
	}
	other := databasetest.Open(t, "sqlite::memory:")
	if _, found, err := other.ClassSession(t.Context(), "maths"); err != nil || found {
		t.Errorf("another one in memory: got %v, %v", found, err)
	}
}
