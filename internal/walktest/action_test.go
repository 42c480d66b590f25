package walktest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/classwaves/rekey/internal/history"
)

// kind is one type of key: its model, and what workers do with such keys.
type kind struct {
	name    string
	model   history.Model
	actions []action
	create  action // makes a key at the beginning
	read    action // reads all of it
	stale   []string
}

// action is one operation of a model, and one of the ways in which an application can ask for it. A
// transaction that gives a value and sets another is GETSET to the model.
type action struct {
	op     string
	weight int
	args   func(*rand.Rand, int64) []string // nil: none; the number is another at every call
	call   call
}

type call func(ctx context.Context, c client, key string, args []string) (history.Reply, error)

// farAway is a TTL in milliseconds that no test lives to see.
const farAway = "7200000"

func kinds() []kind {
	return []kind{registers(), counters(), sets(), lists()}
}

func registers() kind {
	getSet := []string{"return redis.call('GETSET', KEYS[1], ARGV[1])", "1"}
	return kind{
		name: "register", model: history.Register,
		create: action{"SET", 0, fresh, command("SET")},
		read:   action{"GET", 0, nil, command("GET")},
		stale:  []string{"SET", "stale"},
		actions: []action{
			{"GET", 8, nil, command("GET")},
			{"EXISTS", 1, nil, command("EXISTS")},
			{"SET", 3, fresh, command("SET")},
			{"SET", 1, fresh, func(ctx context.Context, c client, key string, args []string) (history.Reply, error) {
				return single(c.do(ctx, "SET", key, args[0], "PX", farAway))
			}},
			{"SETNX", 2, fresh, command("SETNX")},
			{"GETSET", 1, fresh, command("GETSET")},
			{"GETSET", 1, fresh, script(getSet...)},
			{"GETSET", 1, fresh, func(ctx context.Context, c client, key string, args []string) (history.Reply, error) {
				return first(c.multi(ctx, []string{"GET", key}, []string{"SET", key, args[0]}))
			}},
			{"GETSET", 2, fresh, func(ctx context.Context, c client, key string, args []string) (history.Reply, error) {
				return single(c.watch(ctx, key, func(any) ([][]string, error) { return [][]string{{"SET", key, args[0]}}, nil }))
			}},
			{"GETDEL", 2, nil, command("GETDEL")},
			{"GETDEL", 1, nil, func(ctx context.Context, c client, key string, _ []string) (history.Reply, error) {
				return first(c.multi(ctx, []string{"GET", key}, []string{"DEL", key}))
			}},
			{"DEL", 2, nil, command("DEL")},
			{"DEL", 1, nil, command("UNLINK")},
		},
	}
}

func counters() kind {
	return kind{
		name: "counter", model: history.Counter,
		create: action{"INCRBY", 0, by, command("INCRBY")},
		read:   action{"GET", 0, nil, command("GET")},
		stale:  []string{"SET", "1000000"},
		actions: []action{
			{"GET", 6, nil, command("GET")},
			{"INCR", 5, nil, command("INCR")},
			{"INCRBY", 1, by, command("INCRBY")},
			{"INCRBY", 1, by, script("return redis.call('INCRBY', KEYS[1], ARGV[1])", "1")},
			{"INCRBY", 1, func(*rand.Rand, int64) []string { return []string{"2"} }, func(ctx context.Context, c client, key string, _ []string) (history.Reply, error) {
				values, err := c.multi(ctx, []string{"INCR", key}, []string{"INCR", key})
				if err != nil {
					return history.Reply{}, err
				}
				return replyOf(values[1]), nil
			}},
			{"INCR", 2, nil, increment},
			{"DECR", 1, nil, command("DECR")},
			{"DEL", 1, nil, command("DEL")},
		},
	}
}

// increment is INCR as an optimistic transaction.
func increment(ctx context.Context, c client, key string, _ []string) (history.Reply, error) {
	var next int64
	_, err := c.watch(ctx, key, func(value any) ([][]string, error) {
		next = 1
		if value != nil {
			n, err := strconv.ParseInt(fmt.Sprint(value), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("counter under WATCH: %w", err)
			}
			next = n + 1
		}
		return [][]string{{"SET", key, strconv.FormatInt(next, 10)}}, nil
	})
	return history.Reply{Int: next}, err
}

func sets() kind {
	return kind{
		name: "set", model: history.Set,
		create: action{"SADD", 0, members, command("SADD")},
		read:   action{"SMEMBERS", 0, nil, command("SMEMBERS")},
		stale:  []string{"SADD", "stale"},
		actions: []action{
			{"SMEMBERS", 5, nil, command("SMEMBERS")},
			{"SCARD", 1, nil, command("SCARD")},
			{"SISMEMBER", 1, member, command("SISMEMBER")},
			{"SADD", 4, members, command("SADD")},
			{"SADD", 1, members, script("return redis.call('SADD', KEYS[1], unpack(ARGV))", "1")},
			{"SREM", 3, member, command("SREM")},
			{"SPOP", 2, nil, command("SPOP")},
			{"SPOP", 1, nil, func(ctx context.Context, c client, key string, _ []string) (history.Reply, error) {
				return first(c.multi(ctx, []string{"SPOP", key}, []string{"SCARD", key}))
			}},
			{"DEL", 1, nil, command("DEL")},
		},
	}
}

func lists() kind {
	return kind{
		name: "list", model: history.List,
		create: action{"RPUSH", 0, fresh, command("RPUSH")},
		read:   action{"LRANGE", 0, whole, command("LRANGE")},
		stale:  []string{"RPUSH", "stale"},
		actions: []action{
			{"LRANGE", 4, whole, command("LRANGE")},
			{"LLEN", 1, nil, command("LLEN")},
			{"LPUSH", 3, fresh, command("LPUSH")},
			{"RPUSH", 1, fresh, command("RPUSH")},
			{"RPOP", 3, nil, command("RPOP")},
			{"RPOP", 1, nil, script("return redis.call('RPOP', KEYS[1])", "1")},
			{"LPOP", 1, nil, command("LPOP")},
			{"LPOP", 1, nil, blockingPop},
			{"DEL", 1, nil, command("DEL")},
		},
	}
}

// blockingPop is LPOP as BLPOP: at its timeout it has seen an empty list.
func blockingPop(ctx context.Context, c client, key string, _ []string) (history.Reply, error) {
	v, err := c.do(ctx, "BLPOP", key, "0.005")
	pair, ok := v.([]any)
	switch {
	case err != nil || !ok:
		return replyOf(v), err
	case len(pair) != 2 || pair[0] != key:
		return history.Reply{Str: fmt.Sprintf("BLPOP answered %q", pair)}, nil // no model takes this
	}
	return replyOf(pair[1]), nil
}

// command calls a command with the key and the operation's arguments.
func command(name string) call {
	return func(ctx context.Context, c client, key string, args []string) (history.Reply, error) {
		return single(c.do(ctx, append([]string{name, key}, args...)...))
	}
}

// script calls EVAL with the operation's arguments.
func script(text ...string) call {
	return func(ctx context.Context, c client, key string, args []string) (history.Reply, error) {
		words := append([]string{"EVAL"}, text...)
		return single(c.do(ctx, append(append(words, key), args...)...))
	}
}

func single(v any, err error) (history.Reply, error) { return replyOf(v), err }

func first(values []any, err error) (history.Reply, error) {
	if err != nil {
		return history.Reply{}, err
	}
	return replyOf(values[0]), nil
}

// fresh is a value that no other operation writes, so that a read tells which write it saw.
func fresh(_ *rand.Rand, n int64) []string { return []string{"v" + strconv.FormatInt(n, 10)} }

func by(rng *rand.Rand, _ int64) []string { return []string{strconv.Itoa(2 + rng.IntN(5))} }

func member(rng *rand.Rand, _ int64) []string { return []string{string(rune('a' + rng.IntN(6)))} }

// members are two different ones.
func members(rng *rand.Rand, _ int64) []string {
	i := rng.IntN(6)
	return []string{string(rune('a' + i)), string(rune('a' + (i+1+rng.IntN(5))%6))}
}

func whole(*rand.Rand, int64) []string { return []string{"0", "-1"} }
