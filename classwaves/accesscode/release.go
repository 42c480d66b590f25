package accesscode

import (
	"context"
	"fmt"

	"github.com/classwaves/rekey/classwaves/keys"
)

// Release takes a session's code from it, because the session ends: Redis forgets the code first,
// then it is free in the directory. It is called before the end is put on record, so that it can be
// called again after an error.
//
// With one of the two unavailable the error is an *[unavailable.Error], and the code stays the
// session's: nobody else can get it, and it may lead to this session still.
func (c *Codes) Release(ctx context.Context, sessionID string) error {
	if _, err := keys.SessionAccessCode(sessionID); err != nil {
		return err
	}
	cached, _, err := c.codeIn(ctx, sessionID)
	if err != nil {
		return err
	}
	code, found, err := c.directory.CodeOfSession(ctx, sessionID)
	if err != nil {
		return fmt.Errorf("find a session's access code: %w", err)
	}
	if cached != "" && cached != code {
		if err := c.forget(ctx, sessionID, cached); err != nil {
			return err
		}
	}
	if !found {
		return nil
	}
	if err := c.forget(ctx, sessionID, code); err != nil {
		return err
	}
	if err := c.directory.ReleaseCode(ctx, sessionID); err != nil {
		return fmt.Errorf("release an access code: %w", err)
	}
	// A repair that was under way may have written the pair again, by what the directory said before.
	// If Redis does not answer now, that repair's own second look removes it.
	_ = c.forget(ctx, sessionID, code)
	return nil
}
