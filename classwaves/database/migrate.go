package database

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrateTimeout is how long all migrations may take, the wait for another process that is at
// them included.
const migrateTimeout = 2 * time.Minute

// migrate brings the schema up to date. Processes that start at once on one database do it once.
func (db *DB) migrate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	migrations, err := db.migrations()
	if err != nil {
		return err
	}
	// On PostgreSQL an advisory lock keeps others out. SQLite has none that lasts over several
	// transactions: whoever comes second fails at what the first one has made, and goes on from there.
	for version := int64(-1); ; {
		_, err := migrations.Up(ctx)
		if err == nil {
			return nil
		}
		reached, versionErr := migrations.GetDBVersion(ctx)
		if db.dialect == postgres || versionErr != nil || reached <= version {
			return mapped(ctx, "migrate the database", err)
		}
		version = reached
	}
}

// migrations is what goose needs to go up and down.
func (db *DB) migrations() (*goose.Provider, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	dialect, others := goose.DialectSQLite3, ".postgres.sql"
	var locked []goose.ProviderOption
	if db.dialect == postgres {
		dialect, others = goose.DialectPostgres, ".sqlite.sql"
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, uint64(migrateTimeout/time.Second)))
		if err != nil {
			return nil, fmt.Errorf("make the lock of the migrations: %w", err)
		}
		locked = append(locked, goose.WithSessionLocker(locker))
	}
	excluded, err := endingWith(files, others)
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(dialect, db.writes, files, append(locked,
		goose.WithExcludeNames(excluded), goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return provider, nil
}

// endingWith lists the files that are for the other database.
func endingWith(files fs.FS, suffix string) ([]string, error) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), suffix) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}
