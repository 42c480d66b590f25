package fleet

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/plan"
)

// Watched is what an observer tells of: a process that obeys flags.
type Watched interface {
	// States are the phase of each rule and its counters, in the plan's order.
	States() []RuleState
	// Connections are the CLIENT IDs of its open connections.
	Connections() []int64
}

// ObserverConfig is what an observer is made of.
type ObserverConfig struct {
	Plan    *plan.Plan
	Watched Watched
	Name    string
	Logger  *slog.Logger
}

// Observer shows a process that obeys flags to the fleet, and to an operator who looks at it. It follows
// nothing, and nothing of the process waits for it: where the records cannot be reached it tries again, and
// says so once.
type Observer struct {
	ObserverConfig
	store *Store
	wake  chan struct{}
	stop  context.CancelFunc
	work  sync.WaitGroup

	// Of the one goroutine.
	self     Instance
	joined   bool
	admitted map[int64]string // connections that are in the record, and how
	silent   bool             // it could not be told the last time
}

var (
	//go:embed lua/tidy.lua
	tidyText   string
	tidyScript = redis.NewScript(tidyText)
)

// forgottenAfter is how long the record of an observer stays that ended without a word. Nobody waits for an
// observer, so where no controller ever comes to bury the dead the next observer does.
const forgottenAfter = 24 * time.Hour

// wakePause is how long what is new waits for more of it: a pool opens its connections one after the other.
const wakePause = 100 * time.Millisecond

// leaveWithin bounds how long the end of a process waits for its record to be removed.
const leaveWithin = time.Second

// StartObserver begins to tell. The error is [ErrNoServer], or another of the plan's words about its server.
func StartObserver(c ObserverConfig) (*Observer, error) {
	options, err := Options(c.Plan.Server)
	if err != nil {
		return nil, err
	}
	o := &Observer{ObserverConfig: c, wake: make(chan struct{}, 1), self: newInstance(c.Plan, c.Name, "", time.Now())}
	o.self.Observer = true
	options.ReadTimeout, options.WriteTimeout, options.DialTimeout = c.Plan.Fleet.Renew, c.Plan.Fleet.Renew, c.Plan.Fleet.Renew
	options.ContextTimeoutEnabled = true
	o.store = NewStore(c.Plan, Client(options, c.Plan.Databases[0]))
	ctx, stop := context.WithCancel(context.Background())
	o.stop = stop
	o.work.Go(func() { o.tell(ctx) })
	return o, nil
}

// Wake has what is new told at once: a phase, a connection.
func (o *Observer) Wake() {
	select {
	case o.wake <- struct{}{}:
	default: // it will look already
	}
}

// Close ends the telling, and takes the record away if that can be done soon.
func (o *Observer) Close() error {
	o.stop()
	o.work.Wait()
	if o.joined && !o.silent {
		ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
		defer cancel()
		_ = o.store.Leave(ctx, o.self.ID) // or it is seen to be lost
	}
	if err := o.store.client.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
		return fmt.Errorf("rekey: close the observer: %w", err)
	}
	return nil
}

func (o *Observer) tell(ctx context.Context) {
	for {
		err := o.renew(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !o.silent:
			o.Logger.Warn("this process obeys flags, and the fleet's records do not tell of it; nothing else depends on that", "error", err)
		}
		o.silent = err != nil
		if !o.pause(ctx) {
			return
		}
	}
}

// pause waits until there is something to tell. It is false where the telling ends.
func (o *Observer) pause(ctx context.Context) bool {
	timer := time.NewTimer(o.Plan.Fleet.Renew)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-o.wake:
	}
	timer.Reset(min(wakePause, o.Plan.Fleet.Renew))
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (o *Observer) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, o.Plan.Fleet.Renew)
	defer cancel()
	for i, state := range o.Watched.States() {
		state.Hash, state.Mark = o.Plan.Hash(i), Mark{-1, -1}
		o.self.Rules[o.Plan.Rules[i].Name] = state
	}
	open := o.Watched.Connections()
	if o.joined {
		err := o.renewRecord(ctx, open)
		if o.joined = !errors.Is(err, ErrNoRecord); o.joined && err != nil {
			return err
		}
	}
	if !o.joined {
		if err := o.join(ctx); err != nil {
			return err
		}
	}
	for _, id := range open {
		if o.admitted[id] != "" {
			continue
		}
		conn, err := o.store.Admit(ctx, o.self.ID, id, false)
		if err != nil {
			return err
		}
		o.admitted[id] = conn
	}
	return nil
}

// renewRecord dates the record, and takes the connections out of it that are closed.
func (o *Observer) renewRecord(ctx context.Context, open []int64) error {
	var gone []string
	for id, conn := range o.admitted {
		if !slices.Contains(open, id) {
			gone = append(gone, conn)
		}
	}
	if _, err := o.store.Renew(ctx, &o.self, gone); err != nil {
		return err
	}
	maps.DeleteFunc(o.admitted, func(_ int64, conn string) bool { return slices.Contains(gone, conn) })
	return nil
}

// join makes the record, under an id of its own: a controller may have removed the one before.
func (o *Observer) join(ctx context.Context) error {
	o.self.ID, o.admitted = newID(), make(map[int64]string)
	if _, err := o.store.Join(ctx, &o.self); err != nil {
		return err
	}
	o.joined = true
	gone, err := tidyScript.Run(ctx, o.store.client, []string{o.store.keys.Fleet()}, forgottenAfter.Microseconds()).StringSlice()
	if err != nil {
		return fmt.Errorf("rekey: forget observers that have ended: %w", err)
	}
	for _, id := range gone {
		if err := o.store.client.Unlink(ctx, o.store.keys.Conns(id)).Err(); err != nil {
			return fmt.Errorf("rekey: forget observers that have ended: %w", err)
		}
	}
	return nil
}
