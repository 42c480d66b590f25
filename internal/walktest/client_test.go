package walktest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/classwaves/rekey/internal/history"
)

// client is what the workers need of a Go client. A nil value is Redis's nil.
type client interface {
	do(ctx context.Context, words ...string) (any, error)
	// multi runs lines as one MULTI/EXEC.
	multi(ctx context.Context, lines ...[]string) ([]any, error)
	// watch reads a key with GET under WATCH, and runs what follows from its value as one MULTI/EXEC.
	// It gives the value; history.ErrNotRun when EXEC answered nil.
	watch(ctx context.Context, key string, then func(value any) ([][]string, error)) (any, error)
	close() error
}

// clientTimeout is longer than any test stalls a connection. A reply that never comes fails the test.
const clientTimeout = 20 * time.Second

// errAborted is an EXEC that answered nil.
var errAborted = fmt.Errorf("a watched key changed: %w", history.ErrNotRun)

type goRedis struct{ rdb *redis.Client }

// newGoRedis makes a go-redis client that sends every command once.
func newGoRedis(opt redis.Options) goRedis {
	opt.MaxRetries = -1
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout = clientTimeout, clientTimeout, clientTimeout
	return goRedis{redis.NewClient(&opt)}
}

func (c goRedis) do(ctx context.Context, words ...string) (any, error) {
	return nilIs(redis.Nil)(c.rdb.Do(ctx, anys(words)...).Result())
}

func (c goRedis) multi(ctx context.Context, lines ...[]string) ([]any, error) {
	return goRedisMulti(ctx, c.rdb.TxPipelined, lines)
}

func (c goRedis) watch(ctx context.Context, key string, then func(any) ([][]string, error)) (value any, err error) {
	err = c.rdb.Watch(ctx, func(tx *redis.Tx) error {
		v, err := nilIs(redis.Nil)(tx.Do(ctx, "GET", key).Result())
		if err != nil {
			return err
		}
		lines, err := then(v)
		if err != nil {
			return err
		}
		value = v
		_, err = goRedisMulti(ctx, tx.TxPipelined, lines)
		return err
	}, key)
	return value, err
}

func (c goRedis) close() error { return c.rdb.Close() }

func goRedisMulti(ctx context.Context, run func(context.Context, func(redis.Pipeliner) error) ([]redis.Cmder, error), lines [][]string) ([]any, error) {
	cmds, err := run(ctx, func(p redis.Pipeliner) error {
		for _, words := range lines {
			p.Do(ctx, anys(words)...)
		}
		return nil
	})
	if errors.Is(err, redis.TxFailedErr) {
		return nil, errAborted
	}
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	values := make([]any, len(cmds))
	for i, cmd := range cmds {
		if values[i], err = nilIs(redis.Nil)(cmd.(*redis.Cmd).Result()); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// nilIs takes a client's error for nil off a reply.
func nilIs(null error) func(any, error) (any, error) {
	return func(v any, err error) (any, error) {
		if errors.Is(err, null) {
			return nil, nil
		}
		return v, err
	}
}

func anys(words []string) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = w
	}
	return out
}

type ruEidis struct{ c rueidis.Client }

// newRueidis makes a rueidis client that sends every command once.
func newRueidis(opt rueidis.ClientOption) (ruEidis, error) {
	opt.DisableRetry = true
	opt.ConnWriteTimeout, opt.Dialer.Timeout = clientTimeout, clientTimeout
	c, err := rueidis.NewClient(opt)
	return ruEidis{c}, err
}

func (c ruEidis) do(ctx context.Context, words ...string) (any, error) {
	cmd := c.c.B().Arbitrary(words...)
	if words[0] == "BLPOP" {
		return nilIs(rueidis.Nil)(c.c.Do(ctx, cmd.Blocking()).ToAny())
	}
	return nilIs(rueidis.Nil)(c.c.Do(ctx, cmd.Build()).ToAny())
}

func (c ruEidis) multi(ctx context.Context, lines ...[]string) (values []any, err error) {
	err = c.c.Dedicated(func(d rueidis.DedicatedClient) error {
		values, err = rueidisMulti(ctx, d, lines)
		return err
	})
	return values, err
}

func (c ruEidis) watch(ctx context.Context, key string, then func(any) ([][]string, error)) (value any, err error) {
	err = c.c.Dedicated(func(d rueidis.DedicatedClient) error {
		if err := d.Do(ctx, d.B().Watch().Key(key).Build()).Error(); err != nil {
			return err
		}
		if value, err = nilIs(rueidis.Nil)(d.Do(ctx, d.B().Get().Key(key).Build()).ToAny()); err != nil {
			return err
		}
		lines, err := then(value)
		if err != nil {
			return errors.Join(err, d.Do(ctx, d.B().Unwatch().Build()).Error())
		}
		_, err = rueidisMulti(ctx, d, lines)
		return err
	})
	return value, err
}

func (c ruEidis) close() error {
	c.c.Close()
	return nil
}

func rueidisMulti(ctx context.Context, d rueidis.DedicatedClient, lines [][]string) ([]any, error) {
	cmds := rueidis.Commands{d.B().Multi().Build()}
	for _, words := range lines {
		cmds = append(cmds, d.B().Arbitrary(words...).Build())
	}
	replies := d.DoMulti(ctx, append(cmds, d.B().Exec().Build())...)
	exec := replies[len(replies)-1]
	if rueidis.IsRedisNil(exec.Error()) {
		return nil, errAborted
	}
	for _, r := range replies {
		if err := r.Error(); err != nil {
			return nil, err
		}
	}
	messages, err := exec.ToArray()
	if err != nil {
		return nil, err
	}
	values := make([]any, len(messages))
	for i, m := range messages {
		if values[i], err = nilIs(rueidis.Nil)(m.ToAny()); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// refused tells whether err is an error that the server, or the engine in its place, answered.
func refused(err error) (text string, ok bool) {
	if reply, ok := rueidis.IsRedisErr(err); ok {
		return reply.Error(), true
	}
	var reply redis.Error
	if errors.As(err, &reply) {
		return reply.Error(), true
	}
	return "", false
}

// replyOf gives a reply in the words of the models.
func replyOf(v any) history.Reply {
	switch v := v.(type) {
	case nil:
		return history.Reply{Null: true}
	case int64:
		return history.Reply{Int: v}
	case string:
		return history.Reply{Str: v}
	case []any:
		reply := history.Reply{List: []string{}}
		for _, e := range v {
			reply.List = append(reply.List, fmt.Sprint(e))
		}
		return reply
	default:
		return history.Reply{Str: fmt.Sprintf("a reply of type %T", v)}
	}
}
