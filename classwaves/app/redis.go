package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// Timeouts of Redis. A request that waits for more goes to the database.
const (
	dialTimeout = 500 * time.Millisecond
	ioTimeout   = time.Second
)

// openRedis opens the migration and a client that goes through it.
func openRedis(ctx context.Context, c Config, url string) (*rekey.Rekey, *redis.Client, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		// The text of the error may hold the password.
		return nil, nil, errors.New("classwaves: the URL of Redis cannot be read; it is redis://, rediss:// or unix://")
	}
	p, err := classwaves.Plan(c.Environment)
	if err != nil {
		return nil, nil, err
	}
	if p.Server.URL, err = plan.ParseURL(url); err != nil {
		return nil, nil, fmt.Errorf("classwaves: the URL of Redis: %w", err)
	}
	p.Databases = []int{options.DB}
	phases := c.Phases
	if phases == nil {
		phases = rekey.WithPhases(map[string]phase.Phase{})
	}
	r, err := rekey.Open(ctx, p, phases, rekey.WithLogger(c.Logger))
	if err != nil {
		return nil, nil, err
	}
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = dialTimeout, ioTimeout, ioTimeout
	options.ContextTimeoutEnabled = true
	options.MaxRetries = -1   // a command that was perhaps done is not sent again: counters would count twice
	options.DialerRetries = 1 // whoever waits has a database to ask instead
	var base rekey.DialFunc
	if options.TLSConfig != nil {
		base = redis.NewDialer(options)
	}
	options.Dialer = r.Dialer(base) // the migration
	return r, redis.NewClient(options), nil
}

// embedded is a Redis in this process.
type embedded struct {
	server *miniredis.Miniredis
	stop   context.CancelFunc
	clock  sync.WaitGroup
}

// startEmbedded starts it. Its clock stands still unless somebody drives it.
func startEmbedded() (*embedded, error) {
	e := &embedded{server: miniredis.NewMiniRedis()}
	if err := e.server.Start(); err != nil {
		return nil, fmt.Errorf("classwaves: start the embedded Redis: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	e.clock.Go(func() {
		const step = 100 * time.Millisecond
		tick := time.NewTicker(step)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				e.server.FastForward(step)
			}
		}
	})
	return e, nil
}

func (e *embedded) url() string { return "redis://" + e.server.Addr() }

func (e *embedded) close() {
	if e == nil {
		return
	}
	e.stop()
	e.clock.Wait()
	e.server.Close()
}
