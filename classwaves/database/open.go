package database

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"github.com/classwaves/rekey/classwaves/unavailable"
)

const (
	defaultTimeout  = 5 * time.Second
	defaultMaxConns = 16
)

// Config says where the database is and how it is used. Only URL has no default.
type Config struct {
	// URL is sqlite:PATH, sqlite::memory: (gone when the DB is closed) or postgres://USER:PASSWORD@HOST/NAME
	// with the parameters that libpq knows. The file is made if it is missing, its directory is not.
	URL string

	// Timeout is the longest that one statement or transaction may take, its retries and the wait
	// for a connection included; a shorter one of the context holds. 0 is 5 s.
	Timeout time.Duration

	// MaxConns is the most connections at once: to PostgreSQL, or that read from a SQLite file.
	// 0 is 16.
	MaxConns int

	// Now is the clock that gives CreatedAt and JoinedAt where the caller gave none. nil is time.Now.
	Now func() time.Time
}

// DB is an open database. Its methods may be called by many goroutines at once.
type DB struct {
	config  Config
	dialect dialect
	reads   *sql.DB // SQLite in a file: connections that cannot write; otherwise the same as writes
	writes  *sql.DB // SQLite: one connection
	close   func() error
}

// Open opens the database of a URL (see [Config]) and brings its schema up to date.
func Open(ctx context.Context, url string) (*DB, error) {
	return Config{URL: url}.Open(ctx)
}

// Open opens the database and brings its schema up to date. Its errors never hold the URL's
// password.
func (c Config) Open(ctx context.Context) (*DB, error) {
	db, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := db.migrate(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// connect opens the database and leaves its schema alone.
func (c Config) connect(ctx context.Context) (*DB, error) {
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.MaxConns <= 0 {
		c.MaxConns = defaultMaxConns
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	where, err := parseURL(c.URL)
	if err != nil {
		return nil, err
	}
	db := &DB{config: c, dialect: where.dialect}
	if where.dialect == sqlite {
		err = db.openSQLite(where.path)
	} else {
		err = db.openPostgres(where.url)
	}
	if err != nil {
		return nil, err
	}
	db.close = sync.OnceValue(func() error {
		if db.reads == db.writes {
			return db.writes.Close()
		}
		return errors.Join(db.reads.Close(), db.writes.Close())
	})
	if err := db.Ping(ctx); err != nil {
		return nil, errors.Join(db.explain(where, err), db.Close())
	}
	return db, nil
}

// Close ends all connections. Calling it again does nothing.
func (db *DB) Close() error { return db.close() }

// Ping asks whether the database can be read and, with SQLite, whether its file is one.
func (db *DB) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, db.config.Timeout)
	defer cancel()
	const op = "ping the database"
	if err := db.writes.PingContext(ctx); err != nil {
		return unavailable.Wrap(op, outage(ctx, err))
	}
	if db.reads != db.writes {
		return unavailable.Wrap(op, outage(ctx, db.reads.PingContext(ctx)))
	}
	return nil
}
