package accesscode

import (
	"context"
	"errors"
	"fmt"

	"github.com/classwaves/rekey/classwaves/keys"
)

// ErrReleased is that a session's code was released while it was being given one.
var ErrReleased = errors.New("accesscode: the session was released meanwhile")

// Create gives a class session a code, or finds the one that it has. With Redis unavailable the
// database gives it out alone. The error is the directory's (an *[unavailable.Error] for an outage),
// a *[keys.InvalidError] for the session id, [ErrExhausted] or [ErrReleased].
func (c *Codes) Create(ctx context.Context, sessionID string) (code string, err error) {
	if _, err := keys.SessionAccessCode(sessionID); err != nil {
		return "", err
	}
	code, agrees, cacheErr := c.codeIn(ctx, sessionID)
	if agrees {
		return code, nil
	}
	code, found, err := c.directory.CodeOfSession(ctx, sessionID)
	if err != nil {
		return "", fmt.Errorf("find a session's access code: %w", err)
	}
	if found {
		if cacheErr == nil {
			c.repair(ctx, sessionID, code, "")
		}
		return code, nil
	}
	return c.give(ctx, sessionID, cacheErr == nil)
}

// give draws codes until one is free. cached says that Redis answers.
func (c *Codes) give(ctx context.Context, sessionID string, cached bool) (string, error) {
	for range attempts {
		code := c.draw()
		if cached {
			free, err := c.reserve(ctx, sessionID, code)
			cached = err == nil
			if cached && !free {
				c.metrics.collisions.Inc()
				continue
			}
		}
		given, taken, err := c.register(ctx, sessionID, code)
		if given != code && cached {
			_ = c.forget(ctx, sessionID, code) // or the reservation ends by itself
		}
		switch {
		case err != nil:
			return "", err
		case taken:
			c.metrics.collisions.Inc()
			continue
		}
		if given != code {
			return given, nil // whoever was first writes the pair
		}
		c.metrics.created.Inc()
		if cached {
			_, _ = c.commit(ctx, sessionID, code) // the directory knows; a read repairs
		}
		return given, nil
	}
	return "", ErrExhausted
}

// register gives the code to the session in the database, and answers with the code that the session
// has then: another process may have been first. An error leaves open whether it has.
func (c *Codes) register(ctx context.Context, sessionID, code string) (given string, taken bool, err error) {
	taken, err = c.directory.SetCode(ctx, sessionID, code)
	if err != nil {
		return "", false, fmt.Errorf("store an access code: %w", err)
	}
	if taken {
		return "", true, nil
	}
	given, found, err := c.directory.CodeOfSession(ctx, sessionID)
	switch {
	case err != nil:
		return "", false, fmt.Errorf("find a session's access code: %w", err)
	case !found:
		return "", false, ErrReleased
	}
	return given, false, nil
}

// repair writes the pair of a session and the code that the database says it has. before is the
// session that Redis had for the code, if any: a code that went on to yet another session since is left.
//
// The database is asked a second time, after the reservation: its first answer may be from before
// the code was released and given to somebody else. Whoever was given it since then has removed or
// found the reservation, and [Codes.commit] writes only over it.
func (c *Codes) repair(ctx context.Context, sessionID, code, before string) {
	claimed, err := c.claim(ctx, sessionID, code, before)
	if err != nil || !claimed {
		return // the database answers until somebody has more luck
	}
	owner, found, err := c.directory.SessionOfCode(ctx, code)
	if err != nil {
		return // the reservation ends by itself
	}
	if !found || owner != sessionID {
		_ = c.forget(ctx, sessionID, code) // or it ends by itself
		return
	}
	if written, err := c.commit(ctx, sessionID, code); err == nil && written {
		c.metrics.repaired.Inc()
	}
}
