package database

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	connectTimeout = 3 * time.Second // unless the URL has connect_timeout
	maxIdleTime    = 5 * time.Minute
)

func (db *DB) openPostgres(url string) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("database URL: PostgreSQL's driver cannot read it%s", parseReason(err))
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "classwaves"
	}
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(db.config.MaxConns)
	pool.SetMaxIdleConns(db.config.MaxConns)
	pool.SetConnMaxIdleTime(maxIdleTime)
	db.reads, db.writes = pool, pool
	return nil
}

// parseReason is what is wrong with a URL, without the URL, whose password pgx finds only where one
// is expected.
func parseReason(err error) string {
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		if cause := parse.Unwrap(); cause != nil && !strings.Contains(cause.Error(), parse.ConnString) {
			return ": " + cause.Error()
		}
	}
	return ""
}

// postgresKind is the kind of an error that the server sent.
func postgresKind(err *pgconn.PgError) kind {
	switch err.Code {
	case "23505", "23P01": // unique_violation, exclusion_violation
		return conflict
	case "23503": // foreign_key_violation
		return reference
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return again
	}
	switch err.Code[:min(2, len(err.Code))] {
	case "22", "23": // data exceptions (no UTF-8, a number out of range), other constraints
		return invalid
	}
	return out
}

func hintPostgres(err error) string {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		var connect *pgconn.ConnectError
		if errors.As(err, &connect) {
			return "is PostgreSQL there, and does it listen at this address?"
		}
		return ""
	}
	switch e.Code {
	case "28P01", "28000": // invalid_password, invalid_authorization_specification
		return "check user and password of the database URL, and the server's pg_hba.conf"
	case "3D000": // invalid_catalog_name
		return "create the database first: createdb NAME"
	case "42501": // insufficient_privilege
		return "the user of the database URL may not do this: make it the owner of the database"
	}
	return ""
}
