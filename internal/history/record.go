package history

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// An Op is one command on one key.
type Op struct {
	Name string // as Redis names it, in capitals
	Key  string
	Args []string
}

func (o Op) String() string {
	return strings.Join(append([]string{o.Name, o.Key}, o.Args...), " ")
}

// A Reply is what came back. Which field counts is the operation's business.
type Reply struct {
	Null    bool     // no value, no such member
	Str     string   // a value
	Int     int64    // a number: of members, of elements, the counter
	List    []string // members or elements
	Unknown bool     // nothing came back: it may have happened, or happen yet
}

func (r Reply) String() string {
	switch {
	case r.Unknown:
		return "?"
	case r.Null:
		return "nil"
	case r.List != nil:
		return "[" + strings.Join(r.List, " ") + "]"
	case r.Str != "":
		return r.Str
	default:
		return fmt.Sprint(r.Int)
	}
}

// ErrNotRun says that an operation was refused before it had any effect, and that for certain:
// it is left out of the history.
var ErrNotRun = errors.New("operation was not run")

// A Recorder collects the operations of many clients on one clock.
type Recorder struct {
	seed  uint64
	start time.Time

	mu      sync.Mutex
	clients []*Client
}

// NewRecorder starts an empty history. The seed is of no use to it but to be printed with a
// verdict, so that the run can be repeated.
func NewRecorder(seed uint64) *Recorder {
	return &Recorder{seed: seed, start: time.Now()}
}

// Client adds a client. It is for one goroutine; several may call Client.
func (r *Recorder) Client() *Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &Client{recorder: r, id: len(r.clients)}
	r.clients = append(r.clients, c)
	return c
}

// A Client does one operation after the other.
type Client struct {
	recorder *Recorder
	id       int
	done     []porcupine.Operation
}

// Do runs one operation and records it: with its reply, as unknown when run gives an error, and
// not at all when that is [ErrNotRun]. It gives run's reply and error.
func (c *Client) Do(op Op, run func() (Reply, error)) (Reply, error) {
	call := c.recorder.now()
	reply, err := run()
	if errors.Is(err, ErrNotRun) {
		return reply, err
	}
	if err != nil {
		reply = Reply{Unknown: true}
	}
	c.done = append(c.done, porcupine.Operation{
		ClientId: c.id, Input: op, Call: call, Output: reply, Return: c.recorder.now(),
	})
	return reply, err
}

// Enter records an operation that another process has timed: call and ret are nanoseconds of one clock that
// all clients of the recorder share. The ret of a reply that is unknown does not matter.
func (c *Client) Enter(op Op, reply Reply, call, ret int64) {
	if reply.Unknown {
		ret = call
	}
	c.done = append(c.done, porcupine.Operation{ClientId: c.id, Input: op, Call: call, Output: reply, Return: ret})
}

// now is monotonic, as time.Since is.
func (r *Recorder) now() int64 { return time.Since(r.start).Nanoseconds() }

// Operations gives the history. All clients must have ended.
func (r *Recorder) Operations() []porcupine.Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ops []porcupine.Operation
	for _, c := range r.clients {
		ops = append(ops, c.done...)
	}
	return openUnknown(ops)
}

// openUnknown lets each operation of unknown outcome last until after the end of the history. It
// gets a client of its own: its client went on while it was still open.
func openUnknown(ops []porcupine.Operation) []porcupine.Operation {
	ops = slices.Clone(ops)
	end, nextClient := int64(math.MinInt64), 0
	for _, op := range ops {
		end = max(end, op.Return)
		nextClient = max(nextClient, op.ClientId+1)
	}
	for i := range ops {
		if ops[i].Output.(Reply).Unknown {
			ops[i].Return, ops[i].ClientId = end+1, nextClient
			nextClient++
		}
	}
	return ops
}
