package database

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// openSQLite opens a file twice: with one connection that writes and several that read. SQLite has
// one writer anyway. With one connection for it, those of this process wait for each other in a fair
// queue that a context can leave; with several they would poll for the file's lock. In WAL mode
// readers wait for nobody.
//
// A database in memory is its connection, so there it is one for everything.
func (db *DB) openSQLite(path string) error {
	if path == memory {
		both, err := sql.Open("sqlite", memory+"?"+sqliteParams(nil).Encode())
		if err != nil {
			return fmt.Errorf("open SQLite in memory: %w", err)
		}
		both.SetMaxOpenConns(1) // never idle too long, never too old: the data would go with it
		db.reads, db.writes = both, both
		return nil
	}
	name := (&url.URL{Scheme: "file", Opaque: url.PathEscape(path)}).String() + "?"
	var err error
	if db.writes, err = sql.Open("sqlite", name+sqliteParams(url.Values{"_txlock": {"immediate"}}).Encode()); err != nil {
		return fmt.Errorf("open SQLite file: %w", err)
	}
	db.writes.SetMaxOpenConns(1)
	if db.reads, err = sql.Open("sqlite", name+sqliteParams(url.Values{"_query_only": {"1"}}).Encode()); err != nil {
		return errors.Join(fmt.Errorf("open SQLite file: %w", err), db.writes.Close())
	}
	db.reads.SetMaxOpenConns(db.config.MaxConns)
	db.reads.SetMaxIdleConns(db.config.MaxConns)
	return nil
}

// sqliteParams are the settings of every connection.
func sqliteParams(more url.Values) url.Values {
	p := url.Values{
		"_busy_timeout": {"4000"},   // other processes; below the default Timeout, so that their lock is named as the cause
		"_journal_mode": {"WAL"},    // readers beside the writer
		"_synchronous":  {"NORMAL"}, // WAL with NORMAL cannot be corrupted; the last commits may be lost with the machine's power
		"_foreign_keys": {"1"},      // off by default
		"_dqs":          {"0"},      // "misspelt" is an error and not a string
		"_defensive":    {"1"},      // no statement can damage the file
		"_pragma":       {"trusted_schema(0)"},
	}
	for name, values := range more {
		p[name] = values
	}
	return p
}

// sqliteKind is the kind of an error of SQLite.
func sqliteKind(err *driver.Error) kind {
	switch err.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return conflict
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return reference
	case sqlite3.SQLITE_CONSTRAINT_CHECK, sqlite3.SQLITE_CONSTRAINT_NOTNULL, sqlite3.SQLITE_CONSTRAINT_DATATYPE,
		sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH:
		return invalid
	}
	switch err.Code() & 0xff { // the primary code of what has variants
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return again
	}
	return out
}

func hintSQLite(path string, err error) string {
	var e *driver.Error
	if !errors.As(err, &e) {
		return ""
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_NOTADB:
		return fmt.Sprintf("%s is not a SQLite database: name another file, or move this one away", path)
	case sqlite3.SQLITE_CANTOPEN:
		return fmt.Sprintf("%s cannot be made or opened: its directory must exist and be writable for this user", path)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return fmt.Sprintf("%s and its directory must be writable for this user", path)
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Sprintf("%s is damaged: restore it from a backup", path)
	}
	return ""
}
