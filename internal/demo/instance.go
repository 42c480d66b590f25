package demo

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/redis/rueidis"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// stage is a place on the way: the phase of each strategy's rules. The rate limiter's keys move
// while the others do.
type stage struct {
	mirror, move phase.Phase
}

func (s stage) of(strategy phase.Strategy) phase.Phase {
	if strategy == phase.Relocate {
		return s.move
	}
	return s.mirror
}

// instance is one process of the fleet. All methods are safe for concurrent use.
type instance interface {
	name() string
	do(ctx context.Context, b batch) ([]reply, error)
	// enter takes the instance to another stage and returns when nothing of the one before it is
	// under way.
	enter(ctx context.Context, to stage) error
	// phase is the one of a kind's keys.
	phase(k *kind) phase.Phase
	count(ops int64)
	ops() int64
	stats() stats
	close() error
}

// stats is what an instance has counted.
type stats struct {
	fallbacks            map[phase.Strategy]int64
	divergences, refused int64
}

// process is what all instances have.
type process struct {
	label     string
	options   Options
	client    client
	now       atomic.Pointer[stage]
	completed atomic.Int64
}

func (p *process) name() string { return p.label }

func (p *process) phase(k *kind) phase.Phase { return p.now.Load().of(k.strategyOf(p.options)) }

func (p *process) count(ops int64) { p.completed.Add(ops) }

func (p *process) ops() int64 { return p.completed.Load() }

// How long a server may take for an answer before it counts as gone. The embedded one cannot go: on
// a machine that is busy with other things it is slow, as all of this process is.
const (
	answerTimeout   = 10 * time.Second
	embeddedTimeout = 2 * time.Minute
)

func (s *server) timeout() time.Duration {
	if s.embedded != nil {
		return embeddedTimeout
	}
	return answerTimeout
}

// library is which client an instance uses: they take turns.
func library(i int) string {
	if i%2 == 0 {
		return "go-redis"
	}
	return "rueidis"
}

// openClient opens the client of the i-th instance, over rekey's connections or (nil) over bare ones.
func openClient(i int, server *server, r *rekey.Rekey) (client, error) {
	if library(i) == "go-redis" {
		o := server.options()
		if r != nil {
			o.Dialer = r.Dialer(redis.NewDialer(server.options()))
		}
		return goRedis{redis.NewClient(o)}, nil
	}
	o, err := rueidis.ParseURL(string(server.url))
	if err != nil {
		return nil, fmt.Errorf("rekey: demo: the server's URL has a parameter that rueidis does not know")
	}
	o.DisableCache, o.DisableRetry, o.ForceSingleClient = true, true, true
	o.ConnWriteTimeout = server.timeout()
	if r != nil {
		o.DialCtxFn = r.DialCtxFn()
	}
	c, err := rueidis.NewClient(o)
	if err != nil {
		return nil, fmt.Errorf("connect with rueidis: %w", err)
	}
	return rueidisClient{c}, nil
}

// options are go-redis's for the server. Commands are not repeated: one that was answered by a lost
// connection may have run.
func (s *server) options() *redis.Options {
	o := *s.base
	o.MaxRetries = -1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = s.timeout(), s.timeout(), s.timeout()
	o.PoolTimeout = s.timeout()
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return &o
}

// rekeyed is an instance whose client knows legacy names only; rekey does the rest.
type rekeyed struct {
	process
	plan   *plan.Plan
	source *rekey.Manual
	rekey  *rekey.Rekey
}

func openRekeyed(ctx context.Context, i int, o Options, server *server, p *plan.Plan) (_ instance, err error) {
	r := &rekeyed{plan: p, source: rekey.NewManual(nil)}
	r.label, r.options = fmt.Sprintf("app-%d", i+1), o
	r.now.Store(&stage{phase.Legacy, phase.Legacy})
	if r.rekey, err = rekey.Open(ctx, p, rekey.WithSource(r.source)); err != nil {
		return nil, err
	}
	if r.client, err = openClient(i, server, r.rekey); err != nil {
		_ = r.rekey.Close() // nothing was sent; err is what counts
		return nil, err
	}
	return r, nil
}

func (r *rekeyed) do(ctx context.Context, b batch) ([]reply, error) { return r.client.do(ctx, b) }

// followPause is how often enter looks whether the source was followed.
const followPause = time.Millisecond

func (r *rekeyed) enter(ctx context.Context, to stage) error {
	phases := make(map[string]phase.Phase, len(r.plan.Rules))
	for _, rule := range r.plan.Rules {
		phases[rule.Name] = to.of(rule.Strategy)
	}
	r.source.Set(phases)
	look := time.NewTicker(followPause)
	defer look.Stop()
	for !r.follows(phases) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
	if err := r.rekey.WaitReached(ctx); err != nil {
		return err
	}
	r.now.Store(&to)
	return nil
}

func (r *rekeyed) follows(phases map[string]phase.Phase) bool {
	for rule, now := range r.rekey.Phases() {
		if now != phases[rule] {
			return false
		}
	}
	return true
}

func (r *rekeyed) stats() (out stats) {
	all := r.rekey.Stats()
	out.refused, out.fallbacks = int64(all.Refused), make(map[phase.Strategy]int64)
	for _, s := range all.Rules {
		out.fallbacks[s.Strategy] += int64(s.Fallbacks)
		out.divergences += int64(s.Divergences)
		out.refused += int64(s.Refused)
	}
	return out
}

func (r *rekeyed) close() error {
	err := r.client.close()
	if closing := r.rekey.Close(); err == nil {
		err = closing
	}
	return err
}

var _ instance = (*rekeyed)(nil)
