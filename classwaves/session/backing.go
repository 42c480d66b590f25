package session

import (
	"context"
	"time"
)

// Record is what the database knows of one login session. Times have milliseconds.
type Record struct {
	Hash         string    // hexadecimal SHA-256 of the session id: 64 characters, the record's name
	SealedID     string    // the id itself, under the key ring; only package session opens it
	TeacherID    string    //
	Order        int64     // a later login of the teacher has a higher one; given by SaveSession
	CreatedAt    time.Time //
	LastActivity time.Time // at most a minute and a second behind
	Deadline     time.Time // the absolute limit
	Agent        string    // fingerprint of the user agent
	Network      string    // fingerprint of the network
	RevokedAt    time.Time // zero: the session was not ended
	Pending      Pending   // what the cache has still to be told
	Version      int64     // changes whenever Pending is set
}

// Revoked says whether the session was ended.
func (r Record) Revoked() bool { return !r.RevokedAt.IsZero() }

// Pending is what the cache has still to be told about a session. It is stored as its number.
type Pending int8

const (
	// PendingNone: the cache knows all.
	PendingNone Pending = iota
	// PendingPut: the session must be in the cache.
	PendingPut
	// PendingClear: the session must not be in the cache.
	PendingClear
)

// String names the state for logs.
func (p Pending) String() string {
	switch p {
	case PendingNone:
		return "none"
	case PendingPut:
		return "put"
	case PendingClear:
		return "clear"
	default:
		return "unknown"
	}
}

// Limit is how many sessions a teacher may have, and which of the stored ones count.
type Limit struct {
	Max       int       // sessions a teacher, the new one among them; at least 1
	Now       time.Time // a session whose Deadline is not after it does not count
	IdleSince time.Time // nor does one whose LastActivity is not after this
}

// Saved is the outcome of SaveSession.
type Saved struct {
	Record  Record   // as it was stored, with its Order and Version
	Kept    []Record // the teacher's other living sessions
	Evicted []Record // those that the new one ended
}

// Touch is a sign of life of a session.
type Touch struct {
	Hash string
	At   time.Time
	Put  bool // the cache does not know it: PendingPut
}

// Mismatch is a number of requests with a session's cookie from somewhere else.
type Mismatch struct {
	Hash           string
	Agent, Network bool // which of the two differed in the last of them
	Count          int64
	At             time.Time // of the last
}

// Settled names a state of a record's Pending that the cache has been told.
type Settled struct {
	Hash    string
	Version int64
}

// Backing is the database behind the cache. It is the record of which login sessions there are: who
// logs in or out changes it first and the cache afterwards, and it remembers in the same transaction
// (Pending) what the cache has still to be told.
//
// Each method is one transaction. A missing record is never an error; any error means that the
// database could not answer. Methods may be called concurrently, from several processes.
type Backing interface {
	// SaveSession stores a new session, PendingPut, and ends the teacher's oldest living ones beyond
	// the limit, PendingClear. The new one has a higher Order than every session of the teacher
	// before it, and one of at least limit.Now in Unix milliseconds. Concurrent calls for one teacher
	// take effect one after the other.
	SaveSession(ctx context.Context, r Record, limit Limit) (Saved, error)

	// FindSession returns a record, ended ones as well.
	FindSession(ctx context.Context, hash string) (r Record, found bool, err error)

	// RevokeSessions ends sessions, PendingClear, and returns their records. One that was ended
	// before is returned with its first RevokedAt and is PendingClear again; unknown ones are left out.
	RevokeSessions(ctx context.Context, hashes []string, at time.Time) ([]Record, error)

	// RevokeTeacher ends every session of a teacher that was not ended and has an Order of at most
	// upTo, PendingClear, and returns them. order is at least the Order of every session of the teacher
	// that was saved before, and less than that of every one saved later.
	RevokeTeacher(ctx context.Context, teacherID string, at time.Time, upTo int64) (ended []Record, order int64, err error)

	// TouchSessions moves LastActivity forward, never back. Put sets PendingPut. Ended sessions stay
	// as they are.
	TouchSessions(ctx context.Context, touches []Touch) error

	// RecordMismatches adds to the count of requests that were refused for their fingerprint.
	RecordMismatches(ctx context.Context, mismatches []Mismatch) error

	// PendingSessions returns records that are not PendingNone, in the order of Hash, after the given one.
	PendingSessions(ctx context.Context, after string, limit int) ([]Record, error)

	// SettleSessions makes records PendingNone whose Version is still the given one. It returns the
	// hashes of the others.
	SettleSessions(ctx context.Context, settled []Settled) (changed []string, err error)

	// RefillCache makes every record whose Deadline is after now PendingPut, or PendingClear if it was
	// ended, unless the last call was for the same server. It says whether it did so.
	RefillCache(ctx context.Context, server string, now time.Time) (bool, error)

	// ForgetSessions deletes records whose Deadline is before the given time.
	ForgetSessions(ctx context.Context, before time.Time) (n int, err error)
}
