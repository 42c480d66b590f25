package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/internal/failsoft"
)

// The defaults of [Config].
const (
	DefaultTimeout     = 250 * time.Millisecond
	DefaultMaxSubjects = 10_000
)

// Config is what a [Limiter] needs.
type Config struct {
	// Redis holds the counters. It stays the caller's to close. A client other than *redis.Client has
	// to be made with ContextTimeoutEnabled, or a hit waits for its read timeout when Redis hangs.
	Redis redis.UniversalClient
	// Timeout is how long a hit waits for Redis before this process decides alone; 0:
	// [DefaultTimeout]. Once it has, the hits that follow wait a quarter of it, until Redis answers
	// again.
	Timeout time.Duration
	// MaxSubjects is how many subjects, of all limits together, the insurance knows at most. Those
	// that were idle longest are forgotten; 0: [DefaultMaxSubjects], some 400 bytes each.
	MaxSubjects int
	// Now is the clock of the insurance; nil: time.Now. Windows in Redis follow the server's clock.
	Now func() time.Time
	// Logger is told when an outage begins and when it ends; nil: nobody is.
	Logger *slog.Logger
}

// Limiter counts hits. It is safe for concurrent use, and implements prometheus.Collector.
type Limiter struct {
	redis     failsoft.Client
	now       func() time.Time
	insurance *insurance
	outage    failsoft.Outage
	metrics   metrics
}

// New makes a Limiter.
func New(c Config) (*Limiter, error) {
	switch {
	case c.Redis == nil:
		return nil, errors.New("ratelimit: no Redis client")
	case c.Timeout < 0:
		return nil, errors.New("ratelimit: the timeout is less than 0")
	case c.MaxSubjects < 0:
		return nil, errors.New("ratelimit: the number of subjects is less than 0")
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxSubjects == 0 {
		c.MaxSubjects = DefaultMaxSubjects
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	l := &Limiter{
		now:       c.Now,
		insurance: newInsurance(c.MaxSubjects),
		metrics:   newMetrics(),
	}
	l.outage.Logger, l.outage.Service = c.Logger, "ratelimit"
	l.redis = failsoft.Within(c.Timeout, c.Redis, &l.outage)
	return l, nil
}

// Take counts one hit of a subject and decides on it. It asks Redis, and decides by the insurance of
// this process if Redis does not answer in time; a decision is Insured then. Whoever made the hit
// cannot take it back: the end of ctx does not keep it from being counted.
//
// The only error is a limit or a subject that cannot be counted (a *[keys.InvalidError]). The hit
// must not pass then.
func (l *Limiter) Take(ctx context.Context, limit Limit, subject string) (Decision, error) {
	key, err := limit.key(subject)
	if err != nil {
		return Decision{Limit: limit.Points}, err
	}
	count, left, err := l.count(context.WithoutCancel(ctx), limit, key)
	var d Decision
	if err != nil {
		l.outage.Failed(err)
		d = l.insurance.take(l.now(), limit, key)
	} else {
		l.outage.Worked()
		d = limit.decide(count, left)
		l.insurance.learn(l.now(), limit, key, d)
	}
	l.metrics.decided(limit, d)
	return d, nil
}

// count runs the script.
func (l *Limiter) count(ctx context.Context, limit Limit, key string) (count int64, left time.Duration, err error) {
	ctx, rdb, cancel := l.redis.For(ctx)
	defer cancel()
	reply, err := take.Run(ctx, rdb, []string{key},
		limit.Points, limit.Window.Milliseconds(), limit.Block.Milliseconds()).Int64Slice()
	if err != nil {
		return 0, 0, fmt.Errorf("count a hit: %w", err)
	}
	if len(reply) != 2 {
		return 0, 0, fmt.Errorf("count a hit: %d numbers in the reply, not 2", len(reply))
	}
	return reply[0], time.Duration(reply[1]) * time.Millisecond, nil
}

// Insured says whether the last hit that was counted found Redis unavailable.
func (l *Limiter) Insured() bool { return l.outage.Out() }

// Close forgets what the insurance knows. The limiter has no goroutine and no connection of its own.
func (l *Limiter) Close() error {
	l.insurance.clear()
	return nil
}
