package sweep

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// bigBytes is what a value may take in the server to be read whole. It is an estimate, from a few of its elements.
	bigBytes = 1 << 20
	// batchBytes is how much is read whole at once, both names together.
	batchBytes = 4 << 20
	// tries is how often a key that changes is looked at. From alone on, small values are read inside one MULTI/EXEC,
	// where no writer can come between.
	tries, alone = 24, 3
	// nearExpiry is how close to its expiry a lone name is waited for: on servers before 7.2 the clock moves inside a
	// transaction, so one name may expire before the other is looked at.
	nearExpiry = 500 * time.Millisecond
)

// measured is a key and what its two values take, about.
type measured struct {
	key
	bytes int64
}

// measure tells the values that may be read whole from those that are read in pieces.
func (j *verify) measure(ctx context.Context, l *link, keys []key) (small []measured, big []key, err error) {
	commands := make([]command, 0, 2*len(keys))
	for _, k := range keys {
		commands = append(commands, command{"MEMORY", "USAGE", k.legacy}, command{"MEMORY", "USAGE", k.target})
	}
	replies, err := pipeline(ctx, l.client, commands)
	if err != nil {
		return nil, nil, err
	}
	for i, k := range keys {
		a, err := usage(replies[2*i])
		if err != nil {
			return nil, nil, err
		}
		b, err := usage(replies[2*i+1])
		if err != nil {
			return nil, nil, err
		}
		if max(a, b) > bigBytes {
			big = append(big, k)
		} else {
			small = append(small, measured{k, a + b})
		}
	}
	return small, big, nil
}

// usage is MEMORY USAGE's answer; 0 from a server that does not tell.
func usage(reply *redis.Cmd) (int64, error) {
	if code(reply.Err()) == "ERR" {
		return 0, nil
	}
	return integer(command{"MEMORY", "USAGE"}, reply)
}

// firstLook returns the keys whose two names are not plainly equal.
func (j *verify) firstLook(ctx context.Context, l *link, keys []measured) ([]key, error) {
	var commands []command
	for _, k := range keys {
		commands = append(commands, command{"DUMP", k.legacy}, command{"DUMP", k.target},
			command{j.traits.expiry, k.legacy}, command{j.traits.expiry, k.target})
	}
	replies, err := pipeline(ctx, l.client, commands)
	if err != nil {
		return nil, err
	}
	var doubtful, differ []key
	for i, k := range keys {
		a, b, at, bt := replies[4*i], replies[4*i+1], replies[4*i+2], replies[4*i+3]
		expiryA, err := integer(commands[4*i+2], at)
		if err != nil {
			return nil, err
		}
		expiryB, err := integer(commands[4*i+3], bt)
		if err != nil {
			return nil, err
		}
		equal, exact, err := sameDump(a, b)
		switch {
		case err != nil:
			return nil, err
		case expiryA == gone && expiryB == gone:
		case j.mayBeAlone(expiryA, expiryB):
		case expiryA == gone || expiryB == gone || j.expect.double || !j.sameExpiry(expiryA, expiryB):
			doubtful = append(doubtful, k.key)
		case equal && exact:
		default:
			differ = append(differ, k.key)
		}
	}
	more, err := j.readWhole(ctx, l, differ)
	return append(doubtful, more...), err
}

// gone is what PEXPIRETIME and PTTL answer for a name that does not exist.
const gone = -2

// mayBeAlone reports whether a key has one name only, and may have in this phase.
func (j *verify) mayBeAlone(legacy, target int64) bool {
	return target == gone && legacy != gone && !j.expect.missing || legacy == gone && target != gone && !j.expect.orphan
}

// sameDump compares two DUMPs. exact is false where a server can dump no such value, as an embedded one.
func sameDump(a, b *redis.Cmd) (equal, exact bool, err error) {
	for _, reply := range []*redis.Cmd{a, b} {
		switch code(reply.Err()) {
		case "ERR", "WRONGTYPE":
			return false, false, nil
		}
		if err := serverError("DUMP", reply.Err()); err != nil {
			return false, false, err
		}
	}
	x, _ := a.Val().(string) // nil: the name is gone, which its expiry has told
	y, _ := b.Val().(string)
	return x == y, true, nil
}

// sameExpiry compares two expiry times, -1 for none.
func (j *verify) sameExpiry(a, b int64) bool {
	tolerance := j.TTLTolerance.Milliseconds()
	if j.traits.expiry == "PTTL" {
		tolerance = max(tolerance, pttlTolerance)
	}
	if a < 0 || b < 0 {
		return a == b
	}
	return max(a-b, b-a) <= tolerance
}

// readWhole is the first look at values that DUMP tells apart.
func (j *verify) readWhole(ctx context.Context, l *link, keys []key) (differ []key, err error) {
	types, err := pipeline(ctx, l.client, pairs(keys, func(name string) command { return command{"TYPE", name} }))
	if err != nil {
		return nil, err
	}
	var readable []key
	var as []valueType
	for i, k := range keys {
		a, errA := typeOf(types[2*i])
		b, errB := typeOf(types[2*i+1])
		if err := errors.Join(errA, errB); err != nil {
			return nil, err
		}
		if a != b || !a.whole(j.traits) {
			differ = append(differ, k)
			continue
		}
		readable, as = append(readable, k), append(as, a)
	}
	var commands []command
	for i, k := range readable {
		commands = append(commands, as[i].read(k.legacy), as[i].read(k.target))
	}
	replies, err := pipeline(ctx, l.client, commands)
	if err != nil {
		return nil, err
	}
	for i, k := range readable {
		a, b := replies[2*i], replies[2*i+1]
		if a.Err() != nil || b.Err() != nil || !as[i].same(a.Val(), b.Val()) {
			differ = append(differ, k) // gone, or of another type by now: the second look will tell
		}
	}
	return differ, nil
}

func pairs(keys []key, words func(name string) command) []command {
	commands := make([]command, 0, 2*len(keys))
	for _, k := range keys {
		commands = append(commands, words(k.legacy), words(k.target))
	}
	return commands
}
