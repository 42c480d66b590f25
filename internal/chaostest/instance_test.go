package chaostest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/history"
	"github.com/classwaves/rekey/plan"
)

// workersEach is how many goroutines of an instance work at once.
const workersEach = 2

// How long a worker waits between operations, and after one that went wrong.
const (
	workPause  = 3 * time.Millisecond
	errorPause = 100 * time.Millisecond
)

// runInstance is a process that works on keys over a client and records what it does.
func runInstance(j *job, done <-chan struct{}) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { <-done; stop() }()
	p, err := plan.Load(j.Plan)
	if err != nil {
		return err
	}
	log, err := openLog(j.Log)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid())
	r, err := retry(ctx, func() (*rekey.Rekey, error) {
		return rekey.Open(ctx, p, rekey.WithFleet(rekey.FleetConfig{Name: j.Name}), rekey.WithLogger(logger))
	})
	if err != nil {
		return err
	}
	if r == nil {
		return nil
	}
	c, err := retry(ctx, func() (client, error) { return openClient(j.Client, r, j.Addr) })
	if err == nil && c != nil {
		err = work(ctx, j, r, c, log)
		c.close()
	}
	if err != nil {
		return err
	}
	return r.Close()
}

// retry makes something until it can be made, or until the context ends: then it is zero.
func retry[T any](ctx context.Context, make func() (T, error)) (v T, err error) {
	for ctx.Err() == nil {
		if v, err = make(); err == nil {
			return v, nil
		}
		fmt.Fprintln(os.Stderr, time.Now().Format(time.StampMilli), err)
		select {
		case <-ctx.Done():
		case <-time.After(errorPause):
		}
	}
	return *new(T), nil
}

// work does one operation after the other in several goroutines, until the context ends.
func work(ctx context.Context, j *job, r *rekey.Rekey, c client, log *logbook) error {
	errs := make([]error, workersEach)
	var workers sync.WaitGroup
	for n := range workersEach {
		w := &hand{job: j, r: r, c: c, log: log, n: n, rng: rand.New(rand.NewPCG(j.Seed, uint64(n)))}
		workers.Go(func() {
			for ctx.Err() == nil && errs[n] == nil {
				errs[n] = w.one()
			}
		})
	}
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// hand is one goroutine of an instance.
type hand struct {
	job    *job
	r      *rekey.Rekey
	c      client
	log    *logbook
	n      int
	rng    *rand.Rand
	serial int
}

// one does one operation.
func (w *hand) one() error {
	all := kinds()
	k := all[w.rng.IntN(len(all))]
	rule := rules[w.rng.IntN(len(rules))]
	return w.run(k, choose(w.rng, k.actions), rule, key(w.rng, rule, k.name, (clock()-w.job.Began)/generation))
}

// run does an action and writes down what came of it.
func (w *hand) run(k kind, a action, rule, key string) error {
	op := &history.Op{Name: a.op, Key: key}
	if a.args != nil {
		w.serial++
		op.Args = a.args(w.rng, fmt.Sprintf("v%d-%d-%d", w.job.Number, w.n, w.serial))
	}
	if err := w.log.write(line{Work: w.n, Call: op, Kind: k.name, Phase: w.r.Phases()[rule]}); err != nil {
		return err
	}
	// The client has its own timeouts; a context that ends would only make more outcomes unknown.
	v, err := a.call(context.Background(), w.c, key, op.Args)
	end, pause := line{Work: w.n}, workPause
	if err != nil {
		pause = errorPause
		end.Error = err.Error()
		switch outcomeOf(err) {
		case notRun:
			end.NotIt = true
		case notLegal:
			end.Error = illegal + end.Error
		}
	} else {
		reply := replyOf(v)
		end.Reply = &reply
	}
	if err := w.log.write(end); err != nil {
		return err
	}
	time.Sleep(pause)
	return nil
}

// illegal begins the error of an operation that an application should never get.
const illegal = "an answer that nobody expects: "
