package accesscode

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/unavailable"
)

// Release takes a session's code from it, when the session has ended. Redis forgets the code first,
// then it is free in the database.
//
// If one of the two is unavailable the error is an *[unavailable.Error], the code stays the ended
// session's, so that nobody else can get it, and this process keeps the release in mind: it calls the
// code absent from now on, and releases it when both answer again.
func (c *Codes) Release(ctx context.Context, sessionID string) error {
	if _, err := keys.SessionAccessCode(sessionID); err != nil {
		return err
	}
	c.releases.add(sessionID)
	if err := c.release(ctx, sessionID); err != nil {
		return err
	}
	c.releases.remove(sessionID)
	return nil
}

func (c *Codes) release(ctx context.Context, sessionID string) error {
	cached, _, cacheErr := c.codeIn(ctx, sessionID)
	code, found, err := c.directory.CodeOfSession(ctx, sessionID)
	err = unavailable.Wrap("find a session's access code", err)
	if cacheErr != nil {
		return errors.Join(err, cacheErr)
	}
	if cached != "" && cached != code {
		if err := c.forget(ctx, sessionID, cached); err != nil {
			return err
		}
	}
	if err != nil || !found {
		return err
	}
	if err := c.forget(ctx, sessionID, code); err != nil {
		return err
	}
	if err := c.directory.ReleaseCode(ctx, sessionID); err != nil {
		return unavailable.Wrap("release an access code", err)
	}
	// A repair that was under way may have written the pair again, by what the database said before.
	return c.forget(ctx, sessionID, code)
}

// settleEvery is how often a release is tried again that could not be made.
const settleEvery = time.Second

// settle makes one of the releases that are due, in the call of somebody for whom Redis answers.
func (c *Codes) settle(ctx context.Context) {
	if c.outage.Out() {
		return
	}
	sessionID, due := c.releases.due(c.now())
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout) // for the database too
	defer cancel()
	if c.release(ctx, sessionID) == nil {
		c.releases.remove(sessionID)
	}
}

// maxReleases bounds what is kept in mind. Sessions beyond keep their code until somebody releases
// them again.
const maxReleases = 10_000

// releases are those under way and those that could not be made. The zero value has none.
type releases struct {
	mu       sync.Mutex
	sessions map[string]struct{}
	last     time.Time // the last attempt to settle one
}

func (r *releases) add(sessionID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions = make(map[string]struct{})
	}
	if len(r.sessions) < maxReleases {
		r.sessions[sessionID] = struct{}{}
	}
}

func (r *releases) remove(sessionID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, sessionID)
}

func (r *releases) has(sessionID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.sessions[sessionID]
	return ok
}

func (r *releases) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}

// due picks any session, if the last attempt is long enough ago.
func (r *releases) due(now time.Time) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sessions) == 0 || now.Sub(r.last) < settleEvery {
		return "", false
	}
	r.last = now
	for sessionID := range r.sessions {
		return sessionID, true
	}
	return "", false
}
