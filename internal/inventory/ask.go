package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ServerError is a server that cannot be reached, or refuses what the inventory cannot do without.
type ServerError struct {
	Command string
	Err     error
}

func (e *ServerError) Error() string {
	try := "see that the server runs and can be reached, then start the inventory again"
	switch code(e.Err) {
	case "NOPERM":
		try = "give its user +" + strings.ToLower(e.Command)
	case "LOADING", "BUSY", "MASTERDOWN":
		try = "wait until the server is ready, then start the inventory again"
	}
	return fmt.Sprintf("rekey: %s: %v; %s", e.Command, e.Err, try)
}

func (e *ServerError) Unwrap() error { return e.Err }

// code is the first word of a server's error, "" for an error of the connection.
func code(err error) string {
	var answered redis.Error
	if !errors.As(err, &answered) || errors.Is(err, redis.Nil) {
		return ""
	}
	word, _, _ := strings.Cut(answered.Error(), " ")
	return word
}

// A question is a command about one key.
type question int

const (
	askType question = iota
	askTTL
	askIdle
	askBytes
	questions // how many there are
)

var words = [questions][]any{
	askType:  {"TYPE"},
	askTTL:   {"PTTL"},
	askIdle:  {"OBJECT", "IDLETIME"},
	askBytes: {"MEMORY", "USAGE"},
}

// lost is what the report lacks without the answer.
var lost = [questions]string{
	askType:  "types",
	askTTL:   "times to live",
	askIdle:  "idle times",
	askBytes: "sizes, and the biggest keys by size",
}

func (q question) String() string {
	out := make([]string, 0, 2)
	for _, w := range words[q] {
		out = append(out, w.(string))
	}
	return strings.Join(out, " ")
}

func (q question) about(name string) []any { return append(slices.Clone(words[q]), name) }

// verdict is what an error says of a question.
type verdict int

const (
	answered verdict = iota
	gone             // there is no such key any more
	refused          // the user may not read this key
	closed           // the question is not to be asked again
)

// judgeAnswer tells errors that are about a key from those about the question; any other ends the inventory.
func judgeAnswer(q question, err error) (verdict, string, error) {
	text := ""
	if err != nil {
		text = strings.ToLower(err.Error())
	}
	switch word := code(err); {
	case err == nil:
		return answered, "", nil
	case errors.Is(err, redis.Nil):
		return gone, "", nil
	case word == "NOPERM" && strings.Contains(text, "to run"):
		return closed, fmt.Sprintf("%s are not known: the user may not run %v", lost[q], q), nil
	case word == "NOPERM":
		return refused, "", nil
	case word == "ERR" && q == askIdle && strings.Contains(text, "lfu"):
		return closed, "idle times are not known: the server's policy is LFU, which keeps frequencies in their place", nil
	case word == "ERR":
		return closed, fmt.Sprintf("%s are not known: the server has no %v", lost[q], q), nil
	default:
		return 0, "", &ServerError{Command: q.String(), Err: err}
	}
}

// asker asks one database, on one connection.
type asker struct {
	conn   *redis.Conn
	closed [questions]bool
	say    func(string) // what cannot be found out
	// untouched: nothing that is read counts as used.
	untouched bool
}

func newAsker(ctx context.Context, client *redis.Client, say func(string)) *asker {
	a := &asker{conn: client.Conn(), say: say}
	// Servers before 7.2 do not have it, and a user who may only read has no right to it.
	a.untouched = a.conn.Do(ctx, "CLIENT", "NO-TOUCH", "ON").Err() == nil
	return a
}

// close gives the connection back as it was.
func (a *asker) close(ctx context.Context) {
	if a.untouched {
		_ = a.conn.Do(ctx, "CLIENT", "NO-TOUCH", "OFF").Err() // a connection that fails here is not used again
	}
	_ = a.conn.Close() // only reads
}

// answer is what was found out about one key. What is not known is less than 0, or "".
type answer struct {
	kind            string
	ttl, idle, size int64
	elements        int64 // where they were counted
	verdict         verdict
}

// page is what one SCAN answered.
type page struct {
	names  []string
	cursor uint64
}

// describe asks about the names and, in the same round trip, for the next page.
func (a *asker) describe(ctx context.Context, names []string, next func(redis.Pipeliner) *redis.ScanCmd) ([]answer, page, error) {
	pipe := a.conn.Pipeline()
	asked := make([]*redis.Cmd, 0, len(names)*int(questions))
	var open []question
	for q := range questions {
		if !a.closed[q] {
			open = append(open, q)
		}
	}
	for _, name := range names {
		for _, q := range open {
			asked = append(asked, pipe.Do(ctx, q.about(name)...))
		}
	}
	var scan *redis.ScanCmd
	if next != nil {
		scan = next(pipe)
	}
	if len(asked) == 0 && scan == nil {
		return nil, page{}, nil
	}
	if _, err := pipe.Exec(ctx); err != nil && code(err) == "" && !errors.Is(err, redis.Nil) {
		return nil, page{}, &ServerError{Command: "SCAN", Err: err}
	}
	out := make([]answer, len(names))
	for i := range names {
		out[i] = answer{ttl: unknown, idle: unknown, size: unknown}
		for j, q := range open {
			if err := a.take(&out[i], q, asked[i*len(open)+j]); err != nil {
				return nil, page{}, err
			}
		}
	}
	var p page
	if scan != nil {
		var err error
		if p.names, p.cursor, err = scan.Result(); err != nil {
			return nil, page{}, &ServerError{Command: "SCAN", Err: err}
		}
	}
	return out, p, nil
}

// unknown is a number that could not be found out; -1 is PTTL's word for none.
const unknown = -9

// take reads one reply.
func (a *asker) take(into *answer, q question, reply *redis.Cmd) error {
	v, why, err := judgeAnswer(q, reply.Err())
	switch {
	case err != nil:
		return err
	case v == closed:
		if !a.closed[q] {
			a.closed[q] = true
			a.say(why)
		}
		return nil
	case v != answered:
		into.verdict = v
		return nil
	}
	number, _ := reply.Val().(int64)
	switch q {
	case askType:
		into.kind, _ = reply.Val().(string)
		if into.kind == "none" {
			into.verdict = gone
		}
	case askTTL:
		if into.ttl = number; number == -2 {
			into.verdict = gone
		}
	case askIdle:
		into.idle = number
	case askBytes:
		into.size = number
	}
	return nil
}

// lengths counts the elements of some keys, by their types; a string's is its length. What cannot be counted is 0.
func (a *asker) lengths(ctx context.Context, names []string, command func(i int) (string, bool)) ([]int64, error) {
	pipe := a.conn.Pipeline()
	asked := make(map[int]*redis.Cmd)
	for i, name := range names {
		if word, ok := command(i); ok {
			asked[i] = pipe.Do(ctx, word, name)
		}
	}
	out := make([]int64, len(names))
	if len(asked) == 0 {
		return out, nil
	}
	if _, err := pipe.Exec(ctx); err != nil && code(err) == "" {
		return nil, &ServerError{Command: "count elements", Err: err}
	}
	for i, reply := range asked {
		out[i], _ = reply.Val().(int64)
	}
	return out, nil
}
