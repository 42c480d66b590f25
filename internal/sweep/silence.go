package sweep

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// silentAfter is how long a command may be without an answer before the operator is told; silenceEvery is how often that is
// looked at. The sweep itself waits on: giving a long COPY up would not stop it ([answerTimeout]).
const silentAfter, silenceEvery = 5 * time.Second, time.Second

// waits knows since when whoever waits for the server does: the client's commands by a hook, the pages of a [wire] by their
// reads and writes. nil knows nothing.
type waits struct {
	mu    sync.Mutex
	since map[*time.Time]struct{}
}

// begin notes that somebody waits, until over is called.
func (w *waits) begin() (over func()) {
	if w == nil {
		return func() {}
	}
	at := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since == nil {
		w.since = make(map[*time.Time]struct{})
	}
	w.since[&at] = struct{}{}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.since, &at)
	}
}

// longest is for how long the one has waited that waits for longest.
func (w *waits) longest() (d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at := range w.since {
		d = max(d, time.Since(*at))
	}
	return d
}

// DialHook implements [redis.Hook]. A connection is made for a command, which waits.
func (w *waits) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements [redis.Hook]. WAIT waits for replicas, and is not answered before they are.
func (w *waits) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, c redis.Cmder) error {
		if c.Name() != "wait" {
			defer w.begin()()
		}
		return next(ctx, c)
	}
}

// ProcessPipelineHook implements [redis.Hook].
func (w *waits) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, all []redis.Cmder) error {
		defer w.begin()()
		return next(ctx, all)
	}
}

// watchSilence tells the operator while the server does not answer, until end.
func (r *run) watchSilence() (end func()) {
	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		ticker := time.NewTicker(silenceEvery)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			if d := r.waits.longest(); d >= silentAfter {
				r.tell(func(p *Progress) { p.Reason = fmt.Sprintf("no answer from the server for %v", d.Round(time.Second)) })
			}
		}
	})
	return func() { close(stop); work.Wait() }
}
