// Package database keeps what ClassWaves must not lose: teachers, class sessions, groups,
// participants and access codes, and behind the services in Redis the login sessions and the
// analytics. It is SQLite in a file (or in memory), or PostgreSQL by URL; what holds for one holds for
// the other, and the same tests run on both.
//
// # Answers
//
// A method answers one of four things. A row that is not there is found == false (or ok == false).
// What a constraint refuses is [ErrConflict], [ErrReference] or [ErrInvalid]. Everything else, an
// end of the context too, is an unavailable.Error: the database did not say. An unknown error is
// never taken for an answer.
//
// # Invariants
//
// The database holds these itself, by constraints and indices, whatever runs beside it:
//
//   - an email address belongs to one teacher;
//   - two class sessions never have the same access code, and one that has ended has none;
//   - a participant's group is a group of the participant's class session;
//   - a state is reached only from a state that the caller named ([DB.SetState] is one statement), so
//     of two that change it at once exactly one wins.
//
// # Transactions
//
// A statement outside of a transaction is one by itself. [DB.write] is serializable on both
// databases and is run again when the database asks for it (a serialization failure, a deadlock, a
// busy file), never when the outcome is unknown (a connection that broke during COMMIT).
// [DB.inTurn] is for what many change at once: they wait in line. SQLite has one writer; it
// waits its turn in this process, and for other processes by busy_timeout.
//
// # Times
//
// Times are stored as microseconds since 1970 in UTC and read back so; the zero time is "not".
//
// # Adding an area
//
// A file here, and a migration NNNNN_name.sql with -- +goose Up and Down, that holds on both databases
// (TEXT, BIGINT, BOOLEAN, BYTEA and DOUBLE PRECISION do). Where it cannot, NNNNN_name.sqlite.sql and
// NNNNN_name.postgres.sql. Statements are written with $1 for both, and run by the methods in query.go:
// one row by [one], rows by [list], a change by exec, all with the words of what was being done.
package database
