package accesscode

import (
	"context"
	"fmt"
)

// Resolve finds the class session of a code, as somebody typed it. The session may have ended a
// moment ago: whoever lets people in looks at its state. The error is the directory's (an
// *[unavailable.Error] for an outage), or a *[keys.InvalidError] for what cannot be a code.
func (c *Codes) Resolve(ctx context.Context, typed string) (sessionID string, found bool, err error) {
	code, err := Normalize(typed)
	if err != nil {
		return "", false, err
	}
	sessionID, by, err := c.resolve(ctx, code)
	found = sessionID != ""
	c.metrics.resolvedBy(by, found, err)
	return sessionID, found, err
}

// Who answered.
const (
	byRedis     = "redis"
	byDirectory = "directory"
)

func (c *Codes) resolve(ctx context.Context, code string) (sessionID, by string, err error) {
	sessionID, agrees, cacheErr := c.sessionIn(ctx, code)
	if agrees {
		return sessionID, byRedis, nil
	}
	before := sessionID
	sessionID, found, err := c.directory.SessionOfCode(ctx, code)
	switch {
	case err != nil:
		return "", byDirectory, fmt.Errorf("find the session of an access code: %w", err)
	case !found:
		return "", byDirectory, nil
	}
	if cacheErr == nil {
		c.repair(ctx, sessionID, code, before)
	}
	return sessionID, byDirectory, nil
}
