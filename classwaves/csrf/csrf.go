package csrf

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/internal/failsoft"
	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ttl"
	"github.com/classwaves/rekey/classwaves/unavailable"
)

// tokenBytes are random; a token is twice as many characters.
const tokenBytes = 32

// triesLost is how often a token that somebody else made is gone before it could be read.
const triesLost = 10

// otherType stands for what is stored where that is no string. It is no token.
const otherType = "of another type"

// ErrConfig is wrapped by what New refuses.
var ErrConfig = errors.New("csrf: configuration")

// Config is what [New] wants to know.
type Config struct {
	// Redis is where tokens are kept. Required. Make it with ContextTimeoutEnabled. Of a *redis.Client without
	// it a copy is used whose reads end with the Timeout, and which has none of its hooks.
	Redis redis.UniversalClient
	// Timeout is how long Redis has for an answer. Default 1 s.
	Timeout time.Duration
	// MaxForm is how much of a form is read to find its token, in bytes. Default 1 MiB. It bounds the
	// whole form: larger ones must use the header.
	MaxForm int64
	// NoJitter keeps lifetimes in Redis exact, for tests.
	NoJitter bool
	// Logger is told when an outage begins and ends. Default: nobody.
	Logger *slog.Logger
}

// Tokens are the CSRF tokens of login sessions. It is safe for concurrent use, and a
// prometheus.Collector.
type Tokens struct {
	cfg     Config
	rdb     redis.UniversalClient
	out     atomic.Bool // an outage was logged
	metrics *metrics
}

// New checks the configuration. It opens and starts nothing.
func New(cfg Config) (*Tokens, error) {
	switch {
	case cfg.Redis == nil:
		return nil, fmt.Errorf("%w: no Redis", ErrConfig)
	case cfg.Timeout < 0:
		return nil, fmt.Errorf("%w: a negative Timeout", ErrConfig)
	case cfg.MaxForm < 0:
		return nil, fmt.Errorf("%w: a negative MaxForm", ErrConfig)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Second
	}
	if cfg.MaxForm == 0 {
		cfg.MaxForm = 1 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Tokens{cfg: cfg, rdb: bounded(cfg.Redis, cfg.Timeout), metrics: newMetrics()}, nil
}

// bounded is a client whose reads end with the timeout. By default a context does not end them.
func bounded(client redis.UniversalClient, timeout time.Duration) redis.UniversalClient {
	if single, ok := client.(*redis.Client); ok && !single.Options().ContextTimeoutEnabled {
		return single.WithTimeout(timeout) // on the same connections
	}
	return client
}

// Token returns the session's token, and makes it if there is none.
func (t *Tokens) Token(ctx context.Context, sessionID string) (token string, err error) {
	key, err := keys.CSRF(sessionID)
	if err != nil {
		return "", fmt.Errorf("csrf: token: %w", err)
	}
	made, err := generate()
	if err != nil {
		return "", err
	}
	err = t.do(ctx, "read CSRF token", func(ctx context.Context) error {
		for range triesLost {
			stored, left, err := t.read(ctx, key)
			if err != nil {
				return err
			}
			if wellFormed(stored) {
				token = stored
				return t.renew(ctx, key, left)
			}
			if stored != "" { // nothing that a token could be; nobody can have it
				token = made
				return t.rdb.Set(ctx, key, made, t.life(ttl.CSRF)).Err()
			}
			won, err := t.rdb.SetNX(ctx, key, made, t.life(ttl.CSRF)).Result()
			if err != nil {
				return err
			}
			if won {
				token = made
				return nil
			}
		}
		return errors.New("csrf: the token was removed again and again")
	})
	return token, err
}

// read returns what is stored, empty if nothing is and otherType if it is no string, and how long it lives.
func (t *Tokens) read(ctx context.Context, key string) (stored string, left time.Duration, err error) {
	pipe := t.rdb.Pipeline()
	get, life := pipe.Get(ctx, key), pipe.PTTL(ctx, key)
	_, err = pipe.Exec(ctx)
	if failsoft.OtherType(err) {
		return otherType, 0, nil
	}
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", 0, err
	}
	if errors.Is(get.Err(), redis.Nil) {
		return "", 0, nil
	}
	return get.Val(), life.Val(), nil
}

// renew gives a token its whole lifetime again when half of it is over.
func (t *Tokens) renew(ctx context.Context, key string, left time.Duration) error {
	if left > ttl.CSRF/2 {
		return nil
	}
	return t.rdb.PExpire(ctx, key, t.life(ttl.CSRF)).Err()
}

// rotateScript moves the token to the one before and puts another in its place.
//
//	KEYS: the token, the one before    ARGV: the other, its PX, the other's PX
var rotateScript = redis.NewScript(`
local old = redis.pcall('GET', KEYS[1]) -- an error is a key of another type, and no token
if type(old) == 'string' then redis.call('SET', KEYS[2], old, 'PX', ARGV[3]) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`)

// Rotate gives the session another token. The one before is valid for a grace period.
func (t *Tokens) Rotate(ctx context.Context, sessionID string) (token string, err error) {
	current, previous, err := names(sessionID)
	if err != nil {
		return "", fmt.Errorf("csrf: rotate: %w", err)
	}
	if token, err = generate(); err != nil {
		return "", err
	}
	err = t.do(ctx, "rotate CSRF token", func(ctx context.Context) error {
		return rotateScript.Run(ctx, t.rdb, []string{current, previous},
			token, t.life(ttl.CSRF).Milliseconds(), t.life(ttl.CSRFPrevious).Milliseconds()).Err()
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// Check says whether a token is the session's, or the one before it within its grace period. The
// error is an *unavailable.Error, or a *keys.InvalidError for an id that cannot stand in a key.
func (t *Tokens) Check(ctx context.Context, sessionID, token string) (ok bool, err error) {
	current, previous, err := names(sessionID)
	if err != nil {
		return false, fmt.Errorf("csrf: check: %w", err)
	}
	err = t.do(ctx, "check CSRF token", func(ctx context.Context) error {
		pipe := t.rdb.Pipeline()
		now, life, before := pipe.Get(ctx, current), pipe.PTTL(ctx, current), pipe.Get(ctx, previous)
		none := func(err error) bool { return err == nil || errors.Is(err, redis.Nil) || failsoft.OtherType(err) }
		if _, err := pipe.Exec(ctx); !none(err) {
			return err
		}
		for _, cmd := range []redis.Cmder{now, life, before} { // Exec tells of the first error alone
			if err := cmd.Err(); !none(err) {
				return err
			}
		}
		isNow, isBefore := equal(token, now.Val()), equal(token, before.Val())
		ok = isNow || isBefore
		t.metrics.checked(isNow, isBefore)
		if isNow {
			return t.renew(ctx, current, life.Val())
		}
		return nil
	})
	return ok && err == nil, err
}

// Forget removes the session's tokens. It is called when the session ends.
func (t *Tokens) Forget(ctx context.Context, sessionID string) error {
	current, previous, err := names(sessionID)
	if err != nil {
		return fmt.Errorf("csrf: forget: %w", err)
	}
	return t.do(ctx, "forget CSRF tokens", func(ctx context.Context) error {
		return t.rdb.Unlink(ctx, current, previous).Err()
	})
}

// do runs one step on Redis, counts those that fail and tells of outages.
func (t *Tokens) do(ctx context.Context, op string, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	err := step(ctx)
	switch {
	case err == nil:
		if t.out.Load() && t.out.Swap(false) {
			t.cfg.Logger.Info("CSRF tokens are to be had again")
		}
	case !errors.Is(err, context.Canceled): // the caller went away
		t.metrics.failures.Inc()
		if !t.out.Swap(true) {
			t.cfg.Logger.Warn("CSRF tokens are unavailable, unsafe requests are refused", "error", err)
		}
	}
	return unavailable.Wrap(op, err)
}

func (t *Tokens) life(d time.Duration) time.Duration {
	if t.cfg.NoJitter {
		return d
	}
	return ttl.Jitter(d)
}

func names(sessionID string) (current, previous string, err error) {
	if current, err = keys.CSRF(sessionID); err != nil {
		return "", "", err
	}
	previous, err = keys.CSRFPrevious(sessionID)
	return current, previous, err
}

func generate() (string, error) {
	var b [tokenBytes]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("csrf: generate: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// wellFormed says whether a stored value is a token.
func wellFormed(stored string) bool {
	if len(stored) != 2*tokenBytes {
		return false
	}
	_, err := hex.DecodeString(stored)
	return err == nil
}

// equal compares in a time that depends on neither value nor on their lengths' difference.
func equal(sent, stored string) bool {
	a, b := sha256.Sum256([]byte(sent)), sha256.Sum256([]byte(stored))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && wellFormed(stored)
}
