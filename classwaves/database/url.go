package database

import (
	"errors"
	"net/url"
	"strings"

	"github.com/classwaves/rekey/classwaves/unavailable"
)

type dialect int

const (
	sqlite dialect = iota
	postgres
)

func (d dialect) String() string {
	switch d {
	case sqlite:
		return "SQLite"
	case postgres:
		return "PostgreSQL"
	}
	return "unknown database"
}

// place is where a database is.
type place struct {
	dialect dialect
	path    string // SQLite: of the file, or memory
	url     string // PostgreSQL
}

const memory = ":memory:"

// errURL ends in what a URL looks like, and holds nothing of the one that was given: a password may
// stand where none is expected.
var errURL = errors.New("database URL: want sqlite:PATH, sqlite::memory: or postgres://USER:PASSWORD@HOST:PORT/NAME")

func parseURL(text string) (place, error) {
	scheme, rest, _ := strings.Cut(text, ":")
	switch scheme {
	case "sqlite":
		if strings.HasPrefix(rest, "//") {
			return place{}, errors.New("database URL: want sqlite:PATH without the slashes of a host: sqlite:/var/lib/classwaves.db, sqlite:classwaves.db")
		}
		if rest == "" || strings.ContainsAny(rest, "?\x00") {
			return place{}, errors.New("database URL: want sqlite:PATH, the path of a file, without parameters")
		}
		return place{dialect: sqlite, path: rest}, nil
	case "postgres", "postgresql":
		u, err := url.Parse(text)
		if err != nil || !strings.HasPrefix(rest, "//") {
			// The error of package url repeats the whole URL.
			return place{}, errors.New("database URL: not a URL; escape what is special in its password (@ is %40, / is %2F): postgres://USER:PASSWORD@HOST:PORT/NAME")
		}
		if strings.Trim(u.Path, "/") == "" {
			return place{}, errors.New("database URL: names no database: postgres://USER:PASSWORD@HOST:PORT/NAME")
		}
		return place{dialect: postgres, url: text}, nil
	}
	return place{}, errURL
}

// explain says of a database that could not be opened what an operator can do about it.
func (db *DB) explain(where place, err error) error {
	hint := ""
	switch where.dialect {
	case sqlite:
		hint = hintSQLite(where.path, err)
	case postgres:
		hint = hintPostgres(err)
	}
	if hint == "" {
		return err
	}
	var inner *unavailable.Error
	if errors.As(err, &inner) {
		err = inner.Err // without what it was doing: pinging means nothing to an operator
	}
	return &unavailable.Error{Op: "open the database", Err: &hintError{err, hint}}
}

// hintError is an error with what to do about it.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() + ": " + e.hint }
func (e *hintError) Unwrap() error { return e.err }
