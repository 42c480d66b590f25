package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/classwaves/rekey/classwaves/internal/failsoft"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ttl"
	"github.com/classwaves/rekey/classwaves/unavailable"
)

// fence is how long a put has to reach the server, by the server's clock. clearLinger is how long
// what was ended is cleared again; it must be longer.
const (
	fence       = 2 * time.Second
	clearLinger = 3 * time.Second
)

// triesUnknown is how often a script is sent again for members that it did not know. Each further
// try means that another login came between.
const triesUnknown = 500

// errLate is a put that came too late.
var errLate = errors.New("session: the put was too long on its way")

// cache is Redis, as the sessions use it. Its errors are *unavailable.Error, and make the process
// suspect.
type cache struct {
	cfg     *Config
	rdb     redis.UniversalClient
	ring    *ring
	breaker *gobreaker.CircuitBreaker[struct{}]
	health  *health
}

func newCache(cfg *Config, r *ring, h *health) *cache {
	return &cache{cfg: cfg, rdb: bounded(cfg.Redis, cfg.CacheTimeout), ring: r, breaker: newBreaker("cache"), health: h}
}

// bounded is a client whose reads end with the timeout. By default a context does not end them.
func bounded(client redis.UniversalClient, timeout time.Duration) redis.UniversalClient {
	if single, ok := client.(*redis.Client); ok && !single.Options().ContextTimeoutEnabled {
		return single.WithTimeout(timeout) // on the same connections
	}
	return client
}

// do runs one step on Redis. A Redis that failed several times in a row is left alone for a second.
func (c *cache) do(ctx context.Context, op string, step func(context.Context) error) error {
	_, err := c.breaker.Execute(func() (struct{}, error) { return struct{}{}, c.probe(ctx, op, step) })
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		c.health.fail(nil)
		return &unavailable.Error{Op: op, Err: err}
	}
	return err
}

// probe is do without the breaker.
func (c *cache) probe(ctx context.Context, op string, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CacheTimeout)
	defer cancel()
	err := step(ctx)
	if err == nil {
		return nil
	}
	if !errors.Is(err, context.Canceled) { // the caller went away
		c.health.fail(err)
	}
	return &unavailable.Error{Op: op, Err: err}
}

// get reads a session. reason says why one that is there does not open; it is then not found, and
// stays where it is.
func (c *cache) get(ctx context.Context, id string) (found content, keyID string, ok bool, reason, err error) {
	key, err := keys.SecureSession(id)
	if err != nil {
		return content{}, "", false, nil, nil // no id that we could have given
	}
	var blob string
	there := false
	err = c.do(ctx, "read session", func(ctx context.Context) error {
		var err error
		blob, err = c.rdb.Get(ctx, key).Result()
		there = err == nil
		if failsoft.OtherType(err) {
			reason = errType
			return nil
		}
		if errors.Is(err, redis.Nil) {
			return nil
		}
		return err
	})
	if reason != nil {
		return content{}, "", false, reason, nil
	}
	if err != nil || !there {
		return content{}, "", false, nil, err
	}
	plain, keyID, reason := c.ring.openSession(id, blob)
	if reason != nil {
		return content{}, keyID, false, reason, nil
	}
	if found, reason = decodeContent(plain); reason != nil {
		return content{}, keyID, false, reason, nil
	}
	return found, keyID, true, nil, nil
}

// clock is the server's time: the beginning of a put's time limit.
func (c *cache) clock(ctx context.Context) (now time.Time, err error) {
	err = c.do(ctx, "read the cache's clock", func(ctx context.Context) error {
		var err error
		now, err = c.rdb.Time(ctx).Result()
		return err
	})
	return now, err
}

// put puts a session into the cache, no later than a fence after the server's time began. It returns
// the sessions that were ended for it, which may be itself. others are ids of the teacher's that the
// caller knows of; they spare tries.
func (c *cache) put(ctx context.Context, id string, s content, began time.Time, others []string) (ended []string, err error) {
	life := c.sessionLife(s)
	if life <= 0 {
		return nil, nil
	}
	blob, err := c.seal(id, s)
	if err != nil {
		return nil, err
	}
	set, err := keys.TeacherSessions(s.Teacher)
	if err != nil {
		return nil, fmt.Errorf("session: put: %w", err)
	}
	key, err := keys.SecureSession(id)
	if err != nil {
		return nil, fmt.Errorf("session: put: %w", err)
	}
	idle := c.cfg.Now().Add(-c.cfg.IdleLimit).UnixMilli()
	known := newNames(id, others)
	err = c.do(ctx, "put session", func(ctx context.Context) error {
		for range triesUnknown {
			args := known.allArgs(id, blob, life.Milliseconds(), c.setLife().Milliseconds(), c.cfg.MaxPerTeacher, began.Add(fence).UnixMilli(), idle, len(known.ids))
			answer, err := putScript.Run(ctx, c.rdb, append([]string{set, key}, known.keys...), args...).StringSlice()
			switch {
			case err != nil:
				return err
			case len(answer) == 0:
				return errors.New("session: put: an empty answer")
			case answer[0] == "ok":
				ended = answer[1:]
				return nil
			case answer[0] == "late":
				return errLate
			default:
				known = newNames(id, answer[1:])
			}
		}
		return fmt.Errorf("session: put: other logins came between %d times", triesUnknown)
	})
	return ended, err
}

// refresh stores later activity of a session. It is not found when it was ended meanwhile.
func (c *cache) refresh(ctx context.Context, id string, s content) (found bool, err error) {
	blob, err := c.seal(id, s)
	if err != nil {
		return false, err
	}
	set, err := keys.TeacherSessions(s.Teacher)
	if err != nil {
		return false, fmt.Errorf("session: refresh: %w", err)
	}
	key, err := keys.SecureSession(id)
	if err != nil {
		return false, fmt.Errorf("session: refresh: %w", err)
	}
	err = c.do(ctx, "refresh session", func(ctx context.Context) error {
		n, err := refreshScript.Run(ctx, c.rdb, []string{set, key}, id, blob, max(1, c.sessionLife(s).Milliseconds()), c.setLife().Milliseconds()).Int()
		found = n == 1
		return err
	})
	return found, err
}

// named is a session with its teacher; the teacher may be unknown.
type named struct{ id, teacher string }

// remove ends sessions, those that are not there as well.
func (c *cache) remove(ctx context.Context, sessions []named) error {
	if len(sessions) == 0 {
		return nil
	}
	return c.do(ctx, "end sessions", func(ctx context.Context) error {
		cmds, err := c.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
			for _, s := range sessions {
				key, err := keys.SecureSession(s.id)
				if err != nil {
					continue // nothing can be there
				}
				p.Unlink(ctx, key)
				if set, err := keys.TeacherSessions(s.teacher); err == nil {
					p.SRem(ctx, set, s.id)
				}
			}
			return nil
		})
		if !failsoft.OtherType(err) {
			return err
		}
		for _, cmd := range cmds { // a set that is none has no members, and the rest was done
			if err := cmd.Err(); err != nil && !failsoft.OtherType(err) {
				return err
			}
		}
		return nil
	})
}

// removeAll ends a teacher's sessions up to an order: those in the set, and those that the caller
// knows of. It returns the ids of those that were there.
func (c *cache) removeAll(ctx context.Context, teacher string, upTo int64, others []string) (ended []string, err error) {
	set, err := keys.TeacherSessions(teacher)
	if err != nil {
		return nil, fmt.Errorf("session: end all: %w", err)
	}
	err = c.do(ctx, "end a teacher's sessions", func(ctx context.Context) error {
		known := newNames("", others)
		for range triesUnknown {
			run := removeAllScript.Run(ctx, c.rdb, append([]string{set}, known.keys...), known.idArgs(upTo)...)
			answer, err := lists(run, 2)
			if err != nil {
				return err
			}
			ended = append(ended, answer[0]...)
			next := newNames("", append(known.ids, answer[1]...))
			if len(next.ids) == len(known.ids) {
				return nil
			}
			known = next
		}
		return fmt.Errorf("session: end all: logins came between %d times", triesUnknown)
	})
	return ended, err
}

// server names the running server, or is empty where it does not say: another name means that it may
// have lost what it held.
func (c *cache) server(ctx context.Context) (run string, err error) {
	err = c.probe(ctx, "ask the cache who it is", func(ctx context.Context) error {
		if err := c.rdb.Ping(ctx).Err(); err != nil {
			return err
		}
		info, err := c.rdb.Info(ctx, "server").Result()
		var refused redis.Error
		if errors.As(err, &refused) {
			return nil // it is there, and does not tell
		}
		for line := range strings.Lines(info) {
			if id, ok := strings.CutPrefix(strings.TrimSpace(line), "run_id:"); ok {
				run = id
			}
		}
		return err
	})
	return run, err
}

func (c *cache) seal(id string, s content) (string, error) {
	plain, err := s.encode()
	if err != nil {
		return "", err
	}
	return c.ring.sealSession(id, s.Order, s.Last, plain)
}

// sessionLife is a session's lifetime in Redis: the table's, and never past its deadline.
func (c *cache) sessionLife(s content) time.Duration {
	return min(c.cfg.lifetime(ttl.SecureSession), time.UnixMilli(s.Deadline).Sub(c.cfg.Now()))
}

// setLife is a set's. Every refresh renews it, so it outlives the sessions in it.
func (c *cache) setLife() time.Duration { return c.cfg.lifetime(ttl.TeacherSessions) }
