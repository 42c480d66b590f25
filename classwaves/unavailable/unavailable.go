// Package unavailable is how the services of ClassWaves say "I do not know".
//
// A store answers one of three things: found, certainly absent, or unavailable. The first two are
// values; the third is an [Error]. Whoever takes an outage for absence logs people out, or lets
// them in.
package unavailable

import (
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Error is a store that could not answer.
type Error struct {
	Op  string // what was being done, without identifiers
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: unavailable: %v", e.Op, e.Err) }

// Unwrap gives the store's own error.
func (e *Error) Unwrap() error { return e.Err }

// Wrap makes an error of a store an [Error]. A nil error stays nil, and so does Redis's nil reply,
// which is an answer: certainly absent.
func Wrap(op string, err error) error {
	if err == nil || errors.Is(err, redis.Nil) {
		return nil
	}
	var already *Error
	if errors.As(err, &already) {
		return err
	}
	return &Error{Op: op, Err: err}
}

// Is says whether err is, or wraps, an [Error].
func Is(err error) bool {
	var e *Error
	return errors.As(err, &e)
}
