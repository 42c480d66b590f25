package accesscode

import (
	"context"
	_ "embed"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/internal/failsoft"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/unavailable"
)

//go:embed claim.lua
var claimText string

//go:embed commit.lua
var commitText string

//go:embed forget.lua
var forgetText string

// The scripts get both keys and build no names, so they run on keys that rekey moves. What they
// compare and what they write is one step: between two commands the code could go to another session.
var (
	claimScript  = redis.NewScript(claimText)
	commitScript = redis.NewScript(commitText)
	forgetScript = redis.NewScript(forgetText)
)

// pair names the two keys of a session and its code.
func pair(sessionID, code string) ([]string, error) {
	codeKey, err := keys.AccessCode(code)
	if err != nil {
		return nil, err
	}
	sessionKey, err := keys.SessionAccessCode(sessionID)
	if err != nil {
		return nil, err
	}
	return []string{codeKey, sessionKey}, nil
}

// get reads one key; "" is absent, which no half of a pair is. Nor is what is no string.
func (c *Codes) get(ctx context.Context, key string) (string, error) {
	within, rdb, cancel := c.redis.For(ctx)
	defer cancel()
	value, err := rdb.Get(within, key).Result()
	if failsoft.OtherType(err) {
		err = redis.Nil
	}
	c.outage.Saw(ctx, err)
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	return value, unavailable.Wrap("read an access code", err)
}

// sessionIn reads code to session to code. agrees says that both halves are of one pair; if not,
// sessionID is what the code's key alone holds, and means nothing.
func (c *Codes) sessionIn(ctx context.Context, code string) (sessionID string, agrees bool, err error) {
	codeKey, err := keys.AccessCode(code)
	if err != nil {
		return "", false, err
	}
	sessionID, err = c.get(ctx, codeKey)
	if err != nil || sessionID == "" {
		return "", false, err
	}
	sessionKey, err := keys.SessionAccessCode(sessionID)
	if err != nil {
		return sessionID, false, nil // what is stored there is no session: nobody has the code
	}
	back, err := c.get(ctx, sessionKey)
	return sessionID, err == nil && back == code, err
}

// codeIn reads session to code to session. If the halves do not agree, code is what the session's key
// alone holds.
func (c *Codes) codeIn(ctx context.Context, sessionID string) (code string, agrees bool, err error) {
	sessionKey, err := keys.SessionAccessCode(sessionID)
	if err != nil {
		return "", false, err
	}
	code, err = c.get(ctx, sessionKey)
	if err != nil || code == "" {
		return "", false, err
	}
	codeKey, err := keys.AccessCode(code)
	if err != nil {
		return "", false, nil // what is stored there is no code: the session has none
	}
	back, err := c.get(ctx, codeKey)
	return code, err == nil && back == sessionID, err
}

// reserve is the first write of a new code. It fails where anybody has the code, be it a process of
// the old release.
func (c *Codes) reserve(ctx context.Context, sessionID, code string) (bool, error) {
	names, err := pair(sessionID, code)
	if err != nil {
		return false, err
	}
	within, rdb, cancel := c.redis.For(ctx)
	defer cancel()
	err = rdb.SetArgs(within, names[0], sessionID, redis.SetArgs{Mode: "NX", TTL: ReserveFor}).Err()
	c.outage.Saw(ctx, err)
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, unavailable.Wrap("reserve an access code", err)
}

// claim reserves a code that the database knows; before is the session that was read from the
// code's key, if any.
func (c *Codes) claim(ctx context.Context, sessionID, code, before string) (bool, error) {
	n, err := c.run(ctx, claimScript, sessionID, code, func(names []string) ([]string, []any) {
		return names[:1], []any{sessionID, before, ms(ReserveFor)}
	})
	return n == 1, unavailable.Wrap("claim an access code", err)
}

// commit writes both halves, if the reservation holds.
func (c *Codes) commit(ctx context.Context, sessionID, code string) (bool, error) {
	n, err := c.run(ctx, commitScript, sessionID, code, func(names []string) ([]string, []any) {
		return names, []any{sessionID, code, ms(c.lifetime())}
	})
	return n == 1, unavailable.Wrap("write an access code", err)
}

// forget removes both halves, or the reservation.
func (c *Codes) forget(ctx context.Context, sessionID, code string) error {
	_, err := c.run(ctx, forgetScript, sessionID, code, func(names []string) ([]string, []any) {
		return names, []any{sessionID, code}
	})
	return unavailable.Wrap("remove an access code", err)
}

// run runs a script on the keys of a pair.
func (c *Codes) run(ctx context.Context, s *redis.Script, sessionID, code string, args func([]string) ([]string, []any)) (int64, error) {
	names, err := pair(sessionID, code)
	if err != nil {
		return 0, err
	}
	within, rdb, cancel := c.redis.For(ctx)
	defer cancel()
	on, argv := args(names)
	n, err := s.Run(within, rdb, on, argv...).Int64()
	c.outage.Saw(ctx, err)
	return n, err
}

func ms(d time.Duration) int64 { return d.Milliseconds() }
