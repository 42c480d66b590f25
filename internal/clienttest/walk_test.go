package clienttest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestWalkUnderLoad takes two instances up and down the phases, one after the other so that two
// phases are mixed at every step, while go-redis, rueidis and redigo work through each. Every
// worker knows what its keys hold and compares every reply; counters that all share must be exact
// in the end.
func TestWalkUnderLoad(t *testing.T) {
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		t.Run(s.String(), func(t *testing.T) { walkUnderLoad(t, s, overDialers) })
	}
}

// walkUnderLoad walks with the clients that connect makes for each instance.
func walkUnderLoad(t *testing.T, s phase.Strategy, connect func(testing.TB, *rekey.Rekey, *redistest.Server) clients) {
	t.Helper()
	server := redistest.Shared(t)
	l := newLoad(t, server, s, connect)
	walkUpAndDown(t, l)
	l.finish(t)
	t.Logf("%d operations, %d optimistic transactions of %d tried", l.ops.Load(), l.committed.Load(), l.tried.Load())
}

// clients are one of each kind.
type clients struct {
	goRedis *redis.Client
	rueidis rueidis.Client
	redigo  *redigo.Pool
}

// overDialers makes clients over an instance's dialers.
func overDialers(t testing.TB, r *rekey.Rekey, server *redistest.Server) clients {
	return clients{goRedis(t, r, server), ruEidis(t, r, server), redigoPool(t, r, server)}
}

func walkUpAndDown(t *testing.T, l *load) {
	t.Helper()
	walk := phase.Walk(l.strategy)
	for i := 1; i < len(walk); i++ {
		l.step(t, walk[i-1], walk[i])
	}
	for i := len(walk) - 1; i > 0; i-- {
		l.step(t, walk[i], walk[i-1])
	}
}

// load is the traffic of two instances on one server.
type load struct {
	strategy  phase.Strategy
	bare      *redis.Client
	instances [2]*rekey.Rekey
	sources   [2]*rekey.Manual
	stop      context.CancelFunc
	workers   sync.WaitGroup

	ops, added, tried, committed atomic.Int64
}

func newLoad(t *testing.T, server *redistest.Server, s phase.Strategy, connect func(testing.TB, *rekey.Rekey, *redistest.Server) clients) *load {
	t.Helper()
	l := &load{strategy: s, bare: server.Client()}
	ctx, cancel := context.WithCancel(t.Context())
	l.stop = cancel
	for i := range l.instances {
		l.sources[i] = rekey.NewManual(nil)
		l.instances[i] = open(t, rekey.WithSource(l.sources[i]))
		c := connect(t, l.instances[i], server)
		for w, work := range []func(ctx context.Context, own string, round int) error{
			func(ctx context.Context, own string, round int) error {
				return l.goRedisRound(ctx, c.goRedis, own, round)
			},
			func(ctx context.Context, own string, round int) error {
				return l.rueidisRound(ctx, c.rueidis, own, round)
			},
			func(ctx context.Context, own string, round int) error {
				return l.redigoRound(ctx, c.redigo, own, round)
			},
		} {
			own := stage{strategy: s}.key(fmt.Sprintf("own:%d:%d:", i, w))
			l.workers.Go(func() {
				for round := 0; ctx.Err() == nil; round++ {
					if err := work(t.Context(), own, round); err != nil {
						t.Errorf("instance %d, worker %d, round %d: %v", i, w, round, err)
						return
					}
				}
			})
		}
	}
	t.Cleanup(func() { cancel(); l.workers.Wait() })
	return l
}

// step takes both instances from one phase to the next, behind the gate of the step.
func (l *load) step(t *testing.T, from, to phase.Phase) {
	t.Helper()
	sweepFor(t, l.bare, l.strategy, from, to)
	want := map[string]phase.Phase{stage{strategy: l.strategy}.rule(): to}
	for i, r := range l.instances {
		before := l.ops.Load()
		l.sources[i].Set(want)
		reached(t, r, want)
		eventually(t, "traffic in "+to.String(), func() bool { return t.Failed() || l.ops.Load() > before+50 })
	}
}

// finish ends the load and counts.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.stop()
	l.workers.Wait()
	shared := stage{strategy: l.strategy}
	total, err := l.bare.Get(t.Context(), shared.key("shared")).Int64()
	must(t, err)
	same(t, "the shared counter", total, l.added.Load())
	optimistic, err := l.bare.Get(t.Context(), shared.key("optimistic")).Int64()
	must(t, err)
	same(t, "the optimistic counter", optimistic, l.committed.Load())
}

// differs is the error of a reply that is not what the worker knows.
func differs(what string, got, want any) error {
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		return fmt.Errorf("%s: got %s, want %s", what, g, w)
	}
	return nil
}

func (l *load) goRedisRound(ctx context.Context, rdb *redis.Client, own string, round int) error {
	k := own + strconv.Itoa(round%7)
	var get, got *redis.StringCmd
	var list *redis.StringSliceCmd
	_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, k, round, time.Hour)
		p.Append(ctx, k, "!")
		get = p.Get(ctx, k)
		p.Del(ctx, own+"l")
		p.RPush(ctx, own+"l", "a", "b", round)
		list = p.LRange(ctx, own+"l", 0, -1)
		got = p.GetDel(ctx, k)
		return nil
	})
	if err != nil {
		return err
	}
	want := strconv.Itoa(round) + "!"
	if err := errors.Join(differs("GET", get.Val(), want), differs("GETDEL", got.Val(), want),
		differs("LRANGE", list.Val(), []string{"a", "b", strconv.Itoa(round)})); err != nil {
		return err
	}
	if err := rdb.Get(ctx, k).Err(); !errors.Is(err, redis.Nil) {
		return fmt.Errorf("GET of a key that was taken: %w", err)
	}
	if err := rdb.Incr(ctx, (stage{strategy: l.strategy}).key("shared")).Err(); err != nil {
		return err
	}
	l.added.Add(1)
	l.ops.Add(9)
	return l.optimistic(ctx, rdb)
}

// optimistic adds 1 to a counter as a WATCH loop does. A change of phase makes one round of it fail.
func (l *load) optimistic(ctx context.Context, rdb *redis.Client) error {
	k := (stage{strategy: l.strategy}).key("optimistic")
	l.tried.Add(1)
	err := rdb.Watch(ctx, func(tx *redis.Tx) error {
		n, err := tx.Get(ctx, k).Int()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, k, n+1, 0)
			return nil
		})
		return err
	}, k)
	switch {
	case err == nil:
		l.committed.Add(1)
	case !errors.Is(err, redis.TxFailedErr):
		return fmt.Errorf("optimistic transaction: %w", err)
	}
	return nil
}

func (l *load) rueidisRound(ctx context.Context, c rueidis.Client, own string, round int) error {
	k, want := own+strconv.Itoa(round%7), strconv.Itoa(round)
	replies := c.DoMulti(ctx,
		c.B().Hset().Key(own+"h").FieldValue().FieldValue("f", want).Build(),
		c.B().Hget().Key(own+"h").Field("f").Build(),
		c.B().Set().Key(k).Value(want).Build(),
		c.B().Mget().Key(k, own+"none").Build(),
		c.B().Incr().Key((stage{strategy: l.strategy}).key("shared")).Build(),
	)
	for _, r := range replies {
		if err := r.Error(); err != nil {
			return err
		}
	}
	l.added.Add(1)
	field, _ := replies[1].ToString()
	values, _ := replies[3].ToArray()
	first, _ := values[0].ToString()
	if err := errors.Join(differs("HGET", field, want), differs("MGET", first, want)); err != nil {
		return err
	}
	l.ops.Add(5)
	if round%10 > 0 {
		return nil
	}
	// The value that was just written must come out of the cache before long. A missed invalidation
	// would keep the old one there for an hour.
	deadline := time.Now().Add(20 * time.Second)
	for {
		got, err := c.DoCache(ctx, c.B().Get().Key(k).Cache(), time.Hour).ToString()
		switch {
		case err != nil:
			return err
		case got == want:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("DoCache: %q from memory for 20s, want %q", got, want)
		}
	}
}

func (l *load) redigoRound(ctx context.Context, pool *redigo.Pool, own string, round int) error {
	c, err := pool.GetContext(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // gives it back to the pool
	for _, words := range [][]any{
		{"MULTI"}, {"SADD", own + "s", round}, {"SREM", own + "s", round - 1}, {"SMEMBERS", own + "s"},
		{"LPUSH", own + "q", round}, {"EXEC"}, {"BRPOP", own + "q", 0},
		{"EVAL", "return redis.call('INCR', KEYS[1])", 1, (stage{strategy: l.strategy}).key("shared")},
	} {
		if err := c.Send(words[0].(string), words[1:]...); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil {
		return err
	}
	for range 5 {
		if _, err := c.Receive(); err != nil {
			return err
		}
	}
	exec, err := redigo.Values(c.Receive())
	if err != nil {
		return err
	}
	members, err := redigo.Strings(exec[2], nil)
	if err != nil {
		return err
	}
	popped, err := redigo.Strings(c.Receive())
	if err != nil {
		return err
	}
	if _, err := c.Receive(); err != nil {
		return err
	}
	l.added.Add(1)
	l.ops.Add(7)
	return errors.Join(differs("SMEMBERS", members, []int{round}), differs("BRPOP", popped, []string{own + "q", strconv.Itoa(round)}))
}
