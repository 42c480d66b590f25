package sweep

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// elementsAtOnce is how many elements of a collection are compared at once.
	elementsAtOnce = 500
	// bytesAtOnce is how much of a string is.
	bytesAtOnce = 1 << 20
	// deliveryTolerance is how far apart the delivery times of a pending entry may be: claims that were sent on both names
	// take the clock twice. The times at which a consumer was last seen are not compared at all.
	deliveryTolerance = int64(time.Second / time.Millisecond)
)

// errChanged is a value that was not what it had been a moment before. The WATCH need not say so: that a group was
// destroyed it does not see.
var errChanged = errors.New("the value changed while it was read")

// twins are the two names of a key while their values are compared, piece by piece, on a connection that watches them.
type twins struct {
	key
	conn   *redis.Conn
	traits traits
}

// sameValue compares two values of one type exactly. The error is errChanged where the comparison counts for nothing.
func (j *verify) sameValue(ctx context.Context, conn *redis.Conn, s snapshot, k key) (bool, error) {
	t := &twins{k, conn, j.traits}
	compare := t.dumps
	switch {
	case s.small && s.legacy.whole(j.traits):
		compare = func(ctx context.Context) (bool, error) { return t.whole(ctx, s.legacy) }
	case s.legacy == stringType:
		compare = t.strings
	case s.legacy == listType:
		compare = func(ctx context.Context) (bool, error) { return t.ordered(ctx, "LLEN", "LRANGE") }
	case s.legacy == zsetType:
		compare = func(ctx context.Context) (bool, error) { return t.ordered(ctx, "ZCARD", "ZRANGE", "WITHSCORES") }
	case s.legacy == setType:
		compare = t.sets
	case s.legacy == hashType:
		compare = t.hashes
	case s.legacy == streamType:
		compare = t.streams
	}
	return compare(ctx)
}

// both sends one command about each name and returns the two answers.
func (t *twins) both(ctx context.Context, words func(name string) command) (a, b any, err error) {
	commands := pairs([]key{t.key}, words)
	replies, err := pipeline(ctx, t.conn, commands)
	if err != nil {
		return nil, nil, err
	}
	for i, reply := range replies {
		if word := code(reply.Err()); word == "WRONGTYPE" || word == "NOGROUP" || vanished(reply.Err()) {
			return nil, nil, errChanged // XINFO has errors for a key and a group that are gone
		}
		if err := serverError(commands[i].name(), reply.Err()); err != nil {
			return nil, nil, err
		}
	}
	return replies[0].Val(), replies[1].Val(), nil
}

// dumps compares values of which nothing else is known: those of modules.
func (t *twins) dumps(ctx context.Context) (bool, error) {
	a, b, err := t.both(ctx, func(name string) command { return command{"DUMP", name} })
	return a == b, err
}

func (t *twins) whole(ctx context.Context, as valueType) (bool, error) {
	a, b, err := t.both(ctx, as.read)
	return as.same(a, b), err
}

// size returns the two names' common length, by the command that tells it.
func (t *twins) size(ctx context.Context, word string) (n int64, same bool, err error) {
	a, b, err := t.both(ctx, func(name string) command { return command{word, name} })
	n, _ = a.(int64)
	return n, a == b, err
}

func (t *twins) strings(ctx context.Context) (bool, error) {
	n, same, err := t.size(ctx, "STRLEN")
	for at := int64(0); err == nil && same && at < n; at += bytesAtOnce {
		var a, b any
		a, b, err = t.both(ctx, func(name string) command { return command{"GETRANGE", name, at, at + bytesAtOnce - 1} })
		same = a == b
	}
	return same, err
}

// ordered compares what has an order, index by index.
func (t *twins) ordered(ctx context.Context, size, read string, more ...any) (bool, error) {
	n, same, err := t.size(ctx, size)
	for at := int64(0); err == nil && same && at < n; at += elementsAtOnce {
		var a, b any
		a, b, err = t.both(ctx, func(name string) command {
			return append(command{read, name, at, at + elementsAtOnce - 1}, more...)
		})
		same = listType.same(a, b)
	}
	return same, err
}

// sets compares what has no order: as many members on both sides, and each of one is in the other.
func (t *twins) sets(ctx context.Context) (bool, error) {
	_, same, err := t.size(ctx, "SCARD")
	if err != nil || !same {
		return same, err
	}
	return t.scan(ctx, "SSCAN", t.legacy, func(members []string) (bool, error) {
		words := command{"SMISMEMBER", t.target}
		for _, m := range members {
			words = append(words, m)
		}
		answer, err := t.conn.Do(ctx, words...).Int64Slice()
		for _, is := range answer {
			same = same && is == 1
		}
		return same && len(answer) == len(members), ofType("SMISMEMBER", err)
	})
}

// hashes does the same with fields, their values, and on servers that have them their expiry times. Those servers count a field
// that has expired until they remove it, from each of the two names at its own moment. No number tells there that neither name
// has more, so the fields of each are looked for in the other.
func (t *twins) hashes(ctx context.Context) (bool, error) {
	if !t.traits.fieldTTLs {
		if _, same, err := t.size(ctx, "HLEN"); err != nil || !same {
			return same, err
		}
		return t.fields(ctx, t.legacy, t.target)
	}
	if same, err := t.fields(ctx, t.legacy, t.target); err != nil || !same {
		return same, err
	}
	return t.fields(ctx, t.target, t.legacy)
}

// fields looks for the fields of one name in the other. One that expires between two looks is a change, which no WATCH sees.
func (t *twins) fields(ctx context.Context, of, in string) (bool, error) {
	return t.scan(ctx, "HSCAN", of, func(flat []string) (bool, error) {
		read := command{"HMGET", in}
		expiry := command{"FIELDS", len(flat) / 2}
		for i := 0; i+1 < len(flat); i += 2 {
			read, expiry = append(read, flat[i]), append(expiry, flat[i])
		}
		values, err := t.conn.Do(ctx, read...).Slice()
		if err := ofType("HMGET", err); err != nil {
			return false, err
		}
		for i, v := range values {
			if v == flat[2*i+1] {
				continue
			}
			if v == nil && t.traits.fieldTTLs {
				there, err := t.conn.HExists(ctx, of, flat[2*i]).Result()
				if err := ofType("HEXISTS", err); err != nil {
					return false, err
				}
				if !there {
					return false, errChanged
				}
			}
			return false, nil
		}
		if !t.traits.fieldTTLs {
			return true, nil
		}
		a, b, err := t.both(ctx, func(name string) command { return append(command{"HPEXPIRETIME", name}, expiry...) })
		if err == nil && (slices.Contains(numbers(a), gone) || slices.Contains(numbers(b), gone)) {
			return false, errChanged
		}
		return reflect.DeepEqual(a, b), err
	})
}

// fieldless reports whether nothing is left of a hash but fields that have expired: such a key is none.
func (t *twins) fieldless(ctx context.Context, name string) (bool, error) {
	return t.scan(ctx, "HSCAN", name, func([]string) (bool, error) { return false, nil })
}

// numbers are those of an answer that is a list of them.
func numbers(answer any) (out []int64) {
	list, _ := answer.([]any)
	for _, e := range list {
		n, _ := e.(int64)
		out = append(out, n)
	}
	return out
}

// ofType is the error of a command about one name, which may have another type by now.
func ofType(word string, err error) error {
	if code(err) == "WRONGTYPE" {
		return errChanged
	}
	return serverError(word, err)
}

// scan gives a name's elements to same, until it says no.
func (t *twins) scan(ctx context.Context, word, name string, same func(elements []string) (bool, error)) (bool, error) {
	for cursor := "0"; ; {
		answer, err := t.conn.Do(ctx, word, name, cursor, "COUNT", elementsAtOnce).Slice()
		if err != nil || len(answer) != 2 {
			return false, ofType(word, err)
		}
		elements, ok := words(answer[1])
		if !ok {
			return false, serverError(word, errors.New("unexpected answer"))
		}
		if len(elements) > 0 {
			if ok, err := same(elements); err != nil || !ok {
				return false, err
			}
		}
		cursor, _ = answer[0].(string)
		if n, err := strconv.ParseUint(cursor, 10, 64); err != nil || n == 0 {
			return err == nil, err
		}
	}
}
