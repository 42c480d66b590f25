package chaostest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/history"
)

// clientKind is one of the Go clients.
type clientKind string

const (
	goRedisClient clientKind = "go-redis"
	rueidisClient clientKind = "rueidis"
)

// client is what an instance needs of a Go client. A nil value is Redis's nil.
type client interface {
	do(ctx context.Context, words ...string) (any, error)
	// multi runs lines as one MULTI/EXEC and gives the reply to the first.
	multi(ctx context.Context, lines ...[]string) (any, error)
	close()
}

// clientTimeout is shorter than some of the faults, so that a client gives up while its write is under way.
const clientTimeout = 700 * time.Millisecond

// openClient makes a client over an instance that sends every command once.
func openClient(kind clientKind, r *rekey.Rekey, addr string) (client, error) {
	if kind == goRedisClient {
		return goRedis{redis.NewClient(&redis.Options{
			Addr: addr, Dialer: r.Dialer(nil), MaxRetries: -1, PoolSize: workersEach,
			DialTimeout: clientTimeout, ReadTimeout: clientTimeout, WriteTimeout: clientTimeout,
		})}, nil
	}
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{addr}, DialCtxFn: r.DialCtxFn(), DisableRetry: true, DisableCache: true,
		ForceSingleClient: true, ConnWriteTimeout: clientTimeout, Dialer: net.Dialer{Timeout: clientTimeout},
	})
	return ruEidis{c}, err
}

type goRedis struct{ rdb *redis.Client }

func (c goRedis) do(ctx context.Context, words ...string) (any, error) {
	v, err := c.rdb.Do(ctx, anys(words)...).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return v, err
}

func (c goRedis) multi(ctx context.Context, lines ...[]string) (any, error) {
	cmds, err := c.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, words := range lines {
			p.Do(ctx, anys(words)...)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	v, err := cmds[0].(*redis.Cmd).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return v, err
}

func (c goRedis) close() { _ = c.rdb.Close() } // all was answered, or is of unknown outcome

func anys(words []string) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = w
	}
	return out
}

type ruEidis struct{ c rueidis.Client }

func (c ruEidis) do(ctx context.Context, words ...string) (any, error) {
	return orNil(c.c.Do(ctx, c.c.B().Arbitrary(words...).Build()).ToAny())
}

func (c ruEidis) multi(ctx context.Context, lines ...[]string) (value any, err error) {
	err = c.c.Dedicated(func(d rueidis.DedicatedClient) error {
		commands := rueidis.Commands{d.B().Multi().Build()}
		for _, words := range lines {
			commands = append(commands, d.B().Arbitrary(words...).Build())
		}
		results := d.DoMulti(ctx, append(commands, d.B().Exec().Build())...)
		for _, r := range results[:len(results)-1] {
			if err := r.Error(); err != nil {
				return err
			}
		}
		values, err := results[len(results)-1].ToArray()
		if err != nil {
			return err
		}
		value, err = orNil(values[0].ToAny())
		return err
	})
	return value, err
}

func (c ruEidis) close() { c.c.Close() }

func orNil(v any, err error) (any, error) {
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	return v, err
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
		return history.Reply{Str: fmt.Sprintf("a reply of type %T", v)} // no model takes this
	}
}

// outcome is what an error says of an operation.
type outcome uint8

const (
	unknown  outcome = iota // it may have run, or run later
	notRun                  // it was refused before it was sent, or by a server that was not ready
	notLegal                // an answer that no application should get
)

// refusals are the beginnings of answers that say for certain that nothing has run.
var refusals = []string{"rekey: lease lost", "EXECABORT", "LOADING"}

// outcomeOf sorts an error.
func outcomeOf(err error) outcome {
	text := ""
	if reply, ok := rueidis.IsRedisErr(err); ok {
		text = reply.Error()
	} else if reply := redis.Error(nil); errors.As(err, &reply) {
		text = reply.Error()
	}
	for _, r := range refusals {
		if strings.HasPrefix(text, r) {
			return notRun
		}
	}
	var dial *net.OpError
	switch {
	case text != "":
		return notLegal
	case errors.As(err, &dial) && dial.Op == "dial":
		return notRun
	}
	return unknown
}
