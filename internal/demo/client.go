package demo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// command is one command as an application writes it.
type command []string

// batch is commands that are sent at once, as a transaction or not.
type batch struct {
	commands    []command
	transaction bool
}

// reply is one reply. A server's error is none: the demo sends nothing that may fail.
type reply struct {
	null bool
	num  int64
	text string
	list []string
	kind replyKind
}

type replyKind uint8

const (
	isText replyKind = iota
	isNumber
	isList
)

func (r reply) String() string {
	switch {
	case r.null:
		return "absent"
	case r.kind == isNumber:
		return strconv.FormatInt(r.num, 10)
	case r.kind == isList:
		return strings.Join(r.list, " ")
	default:
		return r.text
	}
}

// integer is the number of a reply, whether it came as one or as text. Text that is none is -1.
func (r reply) integer() int64 {
	if r.kind == isNumber {
		return r.num
	}
	n, err := strconv.ParseInt(r.text, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// client is a library of the application's.
type client interface {
	do(ctx context.Context, b batch) ([]reply, error)
	close() error
}

// replyOf takes a reply as both libraries give it.
func replyOf(v any, err error) (reply, error) {
	if errors.Is(err, redis.Nil) || rueidis.IsRedisNil(err) {
		return reply{null: true}, nil
	}
	if err != nil {
		return reply{}, err
	}
	switch v := v.(type) {
	case nil:
		return reply{null: true}, nil
	case int64:
		return reply{kind: isNumber, num: v}, nil
	case string:
		return reply{text: v}, nil
	case []any:
		r := reply{kind: isList, list: make([]string, 0, len(v))}
		for _, e := range v {
			text, ok := e.(string)
			if !ok {
				text = missing
			}
			r.list = append(r.list, text)
		}
		return r, nil
	default:
		return reply{}, fmt.Errorf("rekey: demo: a reply of type %T", v)
	}
}

// missing stands in a list of values for one that is not there.
const missing = "\x00"

// at is one element of a list as a reply of its own.
func (r reply) at(i int) reply {
	if i >= len(r.list) || r.list[i] == missing {
		return reply{null: true}
	}
	return reply{text: r.list[i]}
}

// goRedis is github.com/redis/go-redis.
type goRedis struct{ *redis.Client }

func (c goRedis) do(ctx context.Context, b batch) ([]reply, error) {
	pipe := c.Pipeline()
	if b.transaction {
		pipe = c.TxPipeline()
	}
	sent := make([]*redis.Cmd, 0, len(b.commands))
	for _, words := range b.commands {
		args := make([]any, len(words))
		for i, w := range words {
			args[i] = w
		}
		sent = append(sent, pipe.Do(ctx, args...))
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("%s: %w", b.commands[0][0], err)
	}
	out := make([]reply, 0, len(sent))
	for i, cmd := range sent {
		r, err := replyOf(cmd.Result())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.commands[i][0], err)
		}
		out = append(out, r)
	}
	return out, nil
}

func (c goRedis) close() error { return c.Client.Close() }

// rueidisClient is github.com/redis/rueidis.
type rueidisClient struct{ rueidis.Client }

func (c rueidisClient) do(ctx context.Context, b batch) ([]reply, error) {
	built := make(rueidis.Commands, 0, len(b.commands)+2)
	for _, words := range b.commands {
		built = append(built, c.B().Arbitrary(words[0]).Args(words[1:]...).Build())
	}
	if !b.transaction {
		return c.replies(b, c.DoMulti(ctx, built...))
	}
	built = append(rueidis.Commands{c.B().Multi().Build()}, built...)
	built = append(built, c.B().Exec().Build())
	var out []reply
	err := c.Dedicated(func(one rueidis.DedicatedClient) error {
		results := one.DoMulti(ctx, built...)
		values, err := results[len(results)-1].ToArray()
		if err != nil {
			return fmt.Errorf("EXEC: %w", err)
		}
		for i, value := range values {
			r, err := replyOf(value.ToAny())
			if err != nil {
				return fmt.Errorf("%s: %w", b.commands[i][0], err)
			}
			out = append(out, r)
		}
		return nil
	})
	return out, err
}

func (c rueidisClient) replies(b batch, results []rueidis.RedisResult) ([]reply, error) {
	out := make([]reply, 0, len(results))
	for i, result := range results {
		r, err := replyOf(result.ToAny())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.commands[i][0], err)
		}
		out = append(out, r)
	}
	return out, nil
}

func (c rueidisClient) close() error {
	c.Close()
	return nil
}
