package chaostest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/classwaves/rekey/internal/history"
)

// kind is one type of key: its model, and what an instance does with such keys.
type kind struct {
	name    string
	model   history.Model
	actions []action
	read    action // reads all of it
}

// action is one operation of a model, and one of the ways in which an application can ask for it.
type action struct {
	op     string
	weight int
	args   func(*rand.Rand, string) []string // nil: none; the text is another at every call
	call   call
}

type call func(ctx context.Context, c client, key string, args []string) (any, error)

func kinds() []kind {
	return []kind{
		{
			name: "register", model: history.Register, read: action{"GET", 0, nil, command("GET")},
			actions: []action{
				{"GET", 8, nil, command("GET")},
				{"EXISTS", 1, nil, command("EXISTS")},
				{"SET", 4, fresh, command("SET")},
				{"SETNX", 2, fresh, command("SETNX")},
				{"GETSET", 1, fresh, command("GETSET")},
				{"GETSET", 1, fresh, func(ctx context.Context, c client, key string, args []string) (any, error) {
					return c.multi(ctx, []string{"GET", key}, []string{"SET", key, args[0]})
				}},
				{"GETSET", 1, fresh, script("return redis.call('GETSET', KEYS[1], ARGV[1])")},
				{"GETDEL", 1, nil, command("GETDEL")},
				{"DEL", 1, nil, command("DEL")},
			},
		},
		{
			name: "counter", model: history.Counter, read: action{"GET", 0, nil, command("GET")},
			actions: []action{
				{"GET", 6, nil, command("GET")},
				{"INCR", 6, nil, command("INCR")},
				{"INCRBY", 1, by, command("INCRBY")},
				{"INCRBY", 1, by, script("return redis.call('INCRBY', KEYS[1], ARGV[1])")},
				{"DECR", 1, nil, command("DECR")},
				{"DEL", 1, nil, command("DEL")},
			},
		},
		{
			name: "set", model: history.Set, read: action{"SMEMBERS", 0, nil, command("SMEMBERS")},
			actions: []action{
				{"SMEMBERS", 5, nil, command("SMEMBERS")},
				{"SCARD", 1, nil, command("SCARD")},
				{"SISMEMBER", 1, member, command("SISMEMBER")},
				{"SADD", 5, member, command("SADD")},
				{"SREM", 3, member, command("SREM")},
				{"SPOP", 2, nil, command("SPOP")},
				{"DEL", 1, nil, command("DEL")},
			},
		},
	}
}

func choose(rng *rand.Rand, actions []action) action {
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	n := rng.IntN(total)
	for _, a := range actions {
		if n -= a.weight; n < 0 {
			return a
		}
	}
	panic("unreachable: n is less than the sum of the weights")
}

func command(name string) call {
	return func(ctx context.Context, c client, key string, args []string) (any, error) {
		return c.do(ctx, append([]string{name, key}, args...)...)
	}
}

func script(text string) call {
	return func(ctx context.Context, c client, key string, args []string) (any, error) {
		return c.do(ctx, append([]string{"EVAL", text, "1", key}, args...)...)
	}
}

// fresh is a value that no other operation writes, so that a read tells which write it saw.
func fresh(_ *rand.Rand, unique string) []string { return []string{unique} }

func by(rng *rand.Rand, _ string) []string { return []string{strconv.Itoa(2 + rng.IntN(5))} }

func member(rng *rand.Rand, _ string) []string { return []string{string(rune('a' + rng.IntN(6)))} }

// Keys live for a short time, because an operation of unknown outcome is open to the end of its key's history:
// Porcupine has to try it everywhere behind its call. Now and then somebody comes back to an old key, which
// only the sweeps have taken care of meanwhile.
const (
	generation = 500e6 // nanoseconds in which the same keys are used
	keysEach   = 2     // of each kind and rule in a generation
	backward   = 60    // generations
)

// key chooses one for a generation.
func key(rng *rand.Rand, prefix, kind string, now int64) string {
	if rng.IntN(8) == 0 {
		now -= rng.Int64N(backward)
	}
	return keyOf(prefix, kind, max(now, 0), rng.IntN(keysEach))
}

func keyOf(prefix, kind string, generation int64, n int) string {
	return fmt.Sprintf("%s:%s:%d:%d", prefix, kind, generation, n)
}
