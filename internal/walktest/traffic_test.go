package walktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/history"
)

// traffic is workers that do actions on few keys and record them.
type traffic struct {
	seed     uint64
	kinds    []kind
	prefixes []string // of the keys, one for each rule that walks
	pairs    bool     // commands and transactions on two keys at once, too
	// recovered waits until the server can be reached again; nil where no error is allowed.
	recovered func(context.Context) error

	recorders map[string]*history.Recorder // by kind
	serial    atomic.Int64
	done      atomic.Int64 // operations, one after the other
	unknown   atomic.Int64
	aborted   atomic.Int64

	ctx     context.Context // of the commands
	stopped context.Context
	stop    context.CancelFunc
	workers sync.WaitGroup

	mu      sync.Mutex
	failure error // the first
}

// Hot keys are for the races, and cold ones for the sweeps: nobody writes them for whole phases.
const (
	hotKeys  = 2
	coldKeys = 5
)

// Idle keys are what no worker touches, so that nobody but the sweeps takes care of them: one that
// is there all the time, one that is removed when its rule is prefixed, and one that never is, under
// whose names the test plants what must not be seen.
var idleKeys = []string{"kept", "removed", "never"}

func newTraffic(t *testing.T, seed uint64, kinds []kind, prefixes ...string) *traffic {
	tr := &traffic{seed: seed, kinds: kinds, prefixes: prefixes, recorders: make(map[string]*history.Recorder), ctx: t.Context()}
	for _, k := range kinds {
		tr.recorders[k.name] = history.NewRecorder(seed)
	}
	tr.stopped, tr.stop = context.WithCancel(t.Context())
	t.Cleanup(func() { tr.stop(); tr.workers.Wait() })
	return tr
}

// keys are all keys of a kind.
func (tr *traffic) keys(k kind) (hot, cold, idle []string) {
	for _, prefix := range tr.prefixes {
		base := prefix + ":" + k.name + ":"
		for i := range hotKeys {
			hot = append(hot, base+"hot"+strconv.Itoa(i))
		}
		for i := range coldKeys {
			cold = append(cold, base+"cold"+strconv.Itoa(i))
		}
		for _, name := range idleKeys {
			idle = append(idle, base+name)
		}
	}
	return hot, cold, idle
}

// worker is one goroutine with one client.
type worker struct {
	tr  *traffic
	c   client
	rng *rand.Rand
	rec map[string][2]*history.Client // by kind; the second is for an operation at the same time
}

func (tr *traffic) worker(c client, n uint64) *worker {
	w := &worker{tr: tr, c: c, rng: rand.New(rand.NewPCG(tr.seed, n)), rec: make(map[string][2]*history.Client)}
	for _, k := range tr.kinds {
		w.rec[k.name] = [2]*history.Client{tr.recorders[k.name].Client(), tr.recorders[k.name].Client()}
	}
	return w
}

// start lets a worker run over each of the clients until end.
func (tr *traffic) start(clients []client) {
	for i, c := range clients {
		w := tr.worker(c, uint64(i+1))
		tr.workers.Go(func() {
			for tr.stopped.Err() == nil {
				if err := w.one(); err != nil {
					tr.fail(fmt.Errorf("worker %d: %w", i, err))
				}
				tr.done.Add(1)
			}
		})
	}
}

// fail stops all workers with an error.
func (tr *traffic) fail(err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.failure == nil {
		tr.failure = err
	}
	tr.stop()
}

// end stops the workers and gives the first error of one.
func (tr *traffic) end() error {
	tr.stop()
	tr.workers.Wait()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.failure
}

// check fails the test when what was recorded is not linearizable.
func (tr *traffic) check(t *testing.T) {
	t.Helper()
	for _, k := range tr.kinds {
		history.Check(t, k.model, tr.recorders[k.name])
	}
}

// linearizable is check for those who expect that it is not.
func (tr *traffic) linearizable() (bool, error) {
	for _, k := range tr.kinds {
		if ok, err := history.Linearizable(k.model, tr.recorders[k.name]); !ok || err != nil {
			return ok, err
		}
	}
	return true, nil
}

// more waits until n further operations were done, so that whatever the fleet is in was in use.
func (tr *traffic) more(n int64) error {
	goal := tr.done.Load() + n
	return until(tr.stopped, "traffic", func() (bool, error) { return tr.done.Load() >= goal, nil })
}

// until polls; an error of its own says that it was stopped, or how long it has waited.
func until(ctx context.Context, what string, cond func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("waited a minute for %s", what))
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := cond(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// create makes the keys, through the client.
func (tr *traffic) create(c client) error {
	w := tr.worker(c, 0)
	return tr.each(func(k kind, key string) error {
		if strings.HasSuffix(key, ":never") {
			return nil
		}
		return w.run(k, k.create, key)
	})
}

// remove deletes what is to go when the rule of a prefix is prefixed. Nobody may see it again.
func (tr *traffic) remove(c client, prefix string) error {
	w := tr.worker(c, 0)
	return tr.each(func(k kind, key string) error {
		if !strings.HasPrefix(key, prefix+":") || !strings.HasSuffix(key, ":removed") {
			return nil
		}
		return w.run(k, action{op: "DEL", call: command("DEL")}, key)
	})
}

// readAll reads every key once, through the client.
func (tr *traffic) readAll(c client) error {
	w := tr.worker(c, 0)
	return tr.each(func(k kind, key string) error { return w.run(k, k.read, key) })
}

func (tr *traffic) each(f func(kind, string) error) error {
	for _, k := range tr.kinds {
		hot, cold, idle := tr.keys(k)
		for _, key := range slices.Concat(hot, cold, idle) {
			if err := f(k, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// one does one action on one key, now and then on two.
func (w *worker) one() error {
	k := w.tr.kinds[w.rng.IntN(len(w.tr.kinds))]
	if w.tr.pairs && k.model.String() == history.Register.String() && w.rng.IntN(8) == 0 {
		return w.pair(k)
	}
	return w.run(k, w.choose(k), w.key(k))
}

func (w *worker) choose(k kind) action {
	total := 0
	for _, a := range k.actions {
		total += a.weight
	}
	n := w.rng.IntN(total)
	for _, a := range k.actions {
		if n -= a.weight; n < 0 {
			return a
		}
	}
	panic("unreachable: n is less than the sum of the weights")
}

func (w *worker) key(k kind) string {
	hot, cold, _ := w.tr.keys(k)
	if w.rng.IntN(20) == 0 {
		return cold[w.rng.IntN(len(cold))]
	}
	return hot[w.rng.IntN(len(hot))]
}

// run does an action and records it.
func (w *worker) run(k kind, a action, key string) error {
	op := w.op(a, key)
	_, err := w.rec[k.name][0].Do(op, func() (history.Reply, error) {
		reply, err := a.call(w.tr.ctx, w.c, key, op.Args)
		return reply, w.tr.outcome(op, err)
	})
	return w.tr.after(err)
}

func (w *worker) op(a action, key string) history.Op {
	op := history.Op{Name: a.op, Key: key}
	if a.args != nil {
		op.Args = a.args(w.rng, w.tr.serial.Add(1))
	}
	return op
}

// pair does two operations in one command or transaction. To the models they are two that happen
// within the same time.
func (w *worker) pair(k kind) error {
	set, get := action{op: "SET", args: fresh}, action{op: "GET"}
	hot, _, _ := w.tr.keys(k)
	i := w.rng.IntN(len(hot))
	key, other := hot[i], hot[(i+1+w.rng.IntN(len(hot)-1))%len(hot)]
	var a, b history.Op
	var call func() ([]any, error)
	switch w.rng.IntN(3) {
	case 0:
		a, b = w.op(set, key), w.op(set, other)
		call = func() ([]any, error) {
			v, err := w.c.do(w.tr.ctx, "MSET", key, a.Args[0], other, b.Args[0])
			return []any{v, v}, err
		}
	case 1:
		a, b = w.op(get, key), w.op(get, other)
		call = func() ([]any, error) {
			v, err := w.c.do(w.tr.ctx, "MGET", key, other)
			if values, ok := v.([]any); ok && len(values) == 2 {
				return values, err
			}
			return []any{fmt.Sprint(v), fmt.Sprint(v)}, err // no model takes this
		}
	default:
		a, b = w.op(set, key), w.op(get, other)
		call = func() ([]any, error) {
			return w.c.multi(w.tr.ctx, []string{"SET", key, a.Args[0]}, []string{"GET", other})
		}
	}
	var values []any
	_, err := w.rec[k.name][0].Do(a, func() (history.Reply, error) {
		second, err := w.rec[k.name][1].Do(b, func() (history.Reply, error) {
			var err error
			if values, err = call(); err != nil {
				return history.Reply{}, w.tr.outcome(b, err)
			}
			return replyOf(values[1]), nil
		})
		if err != nil {
			return second, w.tr.outcome(a, err)
		}
		return replyOf(values[0]), nil
	})
	return w.tr.after(err)
}

// outcome says what an error means for the history: whether the operation may have run.
func (tr *traffic) outcome(op history.Op, err error) error {
	switch text, answered := refused(err); {
	case err == nil || errors.Is(err, history.ErrNotRun):
		return err
	case tr.recovered == nil:
		return fmt.Errorf("%v: %w", op, err)
	case answered && (strings.HasPrefix(text, "LOADING") || strings.HasPrefix(text, "EXECABORT")):
		return fmt.Errorf("%w: %w", history.ErrNotRun, err)
	case answered:
		return fmt.Errorf("%v: %w", op, err)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%v was never answered: %w", op, err)
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" || reads[op.Name] {
		return fmt.Errorf("%w: %w: %w", history.ErrNotRun, errNetwork, err)
	}
	return fmt.Errorf("%w: %w", errNetwork, err)
}

// reads have no effect, so one without a reply is none.
var reads = map[string]bool{"GET": true, "EXISTS": true, "SCARD": true, "SISMEMBER": true, "SMEMBERS": true, "LLEN": true, "LRANGE": true}

var errNetwork = errors.New("the connection broke")

// after tells whether the worker may go on after an operation.
func (tr *traffic) after(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNetwork):
		if !errors.Is(err, history.ErrNotRun) {
			tr.unknown.Add(1)
		}
		if err := tr.recovered(tr.stopped); err != nil && tr.stopped.Err() == nil {
			return err
		}
		return nil
	case errors.Is(err, history.ErrNotRun):
		tr.aborted.Add(1)
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("the connection was closed: %w", err)
	default:
		return err
	}
}
