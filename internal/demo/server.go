package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/plan"
)

// server is where the demo's keys are: embedded, or a real one.
type server struct {
	url      plan.URL
	base     *redis.Options
	embedded *miniredis.Miniredis // nil for a real one
	clock    clock
	ticking  sync.WaitGroup // what drives the embedded server's clock
	stop     context.CancelFunc
	admin    *redis.Client // sees physical names
}

// ErrNotEmpty is a real server whose keys the demo could damage.
var ErrNotEmpty = errors.New("rekey: demo: the database is not empty")

// ErrLeft is a real server on which keys of the demo were left.
var ErrLeft = errors.New("rekey: demo: the demo's keys were not all removed")

// openServer starts a server, or connects to the one that was named and makes sure that nothing there
// is in the way.
func openServer(ctx context.Context, o Options) (*server, error) {
	s := &server{url: o.URL, clock: clock{origin: time.Now(), real: o.URL != ""}}
	if s.url == "" {
		s.embedded = miniredis.NewMiniRedis()
		if err := s.embedded.Start(); err != nil {
			return nil, fmt.Errorf("rekey: demo: start the embedded server: %w", err)
		}
		ctx, stop := context.WithCancel(context.Background())
		s.stop = stop
		s.ticking.Go(func() { s.clock.drive(ctx, s.embedded.FastForward) })
		s.url = plan.URL("redis://" + s.embedded.Addr())
	}
	var err error
	if s.base, err = redis.ParseURL(string(s.url)); err != nil {
		// Its text may hold the URL with its password.
		s.close()
		return nil, fmt.Errorf("%w: the server's URL %s cannot be read, or has a parameter that is not known", ErrOptions, s.url)
	}
	s.admin = redis.NewClient(s.options())
	if o.URL != "" {
		if err := s.unused(ctx, o.KeysPrefix); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// ttlTolerance is how far apart the expiry times of two equal keys may be. The embedded server says
// them by two clocks, of which one ticks.
func (s *server) ttlTolerance() time.Duration {
	if s.embedded != nil {
		return time.Second
	}
	return 0
}

// String names the server for people.
func (s *server) String() string {
	if s.embedded != nil {
		return "embedded in this process"
	}
	return s.url.String()
}

// unused makes sure that no key is there with which the demo's could be confused.
func (s *server) unused(ctx context.Context, prefix string) error {
	if prefix == "" {
		n, err := s.admin.DBSize(ctx).Result()
		if err != nil {
			return s.unreachable(err)
		}
		if n > 0 {
			return fmt.Errorf("%w: %s has %d keys; add --keys-prefix rekey-demo: to keep the demo's keys apart from them, or name an empty database (%s/9)",
				ErrNotEmpty, s.url, n, strings.TrimSuffix(s.url.String(), fmt.Sprintf("/%d", s.base.DB)))
		}
		return nil
	}
	var found string
	err := s.scan(ctx, prefixGlob(prefix), func(names []string) error {
		if len(names) > 0 {
			found = names[0]
			return errStop
		}
		return nil
	})
	switch {
	case found != "":
		return fmt.Errorf("%w: %s has keys that begin with %q, such as %q; choose another --keys-prefix", ErrNotEmpty, s.url, prefix, found)
	case err != nil:
		return s.unreachable(err)
	default:
		return nil
	}
}

// unreachable says that there is no talking to the server.
func (s *server) unreachable(err error) error {
	return fmt.Errorf("rekey: demo: the server %s cannot be used: %w", s.url, err)
}

// prefixGlob matches every name that begins with the prefix.
func prefixGlob(prefix string) string {
	escaped := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`).Replace(prefix)
	return escaped + "*"
}

// errStop ends a scan early.
var errStop = errors.New("stop")

func (s *server) scan(ctx context.Context, glob string, page func(names []string) error) error {
	for cursor := uint64(0); ; {
		within, cancel := context.WithTimeout(ctx, commandTimeout)
		names, next, err := s.admin.Scan(within, cursor, glob, 1000).Result()
		cancel()
		if err != nil {
			return err
		}
		if err := page(names); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// commandTimeout bounds each command of a walk over the server: it may have gone. How many there are is up to what else it
// holds.
var commandTimeout = 10 * time.Second

// remove removes every name of the demo's plan, rekey's own included, and no other. It runs also when
// the demo was interrupted.
func (s *server) remove(ctx context.Context, prefix string, p *plan.Plan) error {
	if s.embedded != nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	err := s.scan(ctx, prefixGlob(prefix), func(names []string) error {
		ours := ownNames(p.Names(), names)
		if len(ours) == 0 {
			return nil
		}
		within, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		return s.admin.Unlink(within, ours...).Err()
	})
	if err != nil {
		return fmt.Errorf("%w from %s: %w", ErrLeft, s.url, err)
	}
	return nil
}

func ownNames(rules *keyname.Set, names []string) []string {
	var ours []string
	for _, text := range names {
		name := []byte(text)
		if rule, _ := rules.Find(name); rule >= 0 || bytes.HasPrefix(name, rules.Control()) {
			ours = append(ours, text)
		}
	}
	return ours
}

func (s *server) close() {
	if s.admin != nil {
		_ = s.admin.Close() // everything was answered
	}
	if s.embedded != nil {
		s.stop()
		s.ticking.Wait()
		s.embedded.Close()
	}
}
