package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"github.com/classwaves/rekey/classwaves/keys"
)

// Config says how a hub works. Redis and Environment are wanted, all else has a default.
type Config struct {
	// Redis carries the events between processes.
	Redis redis.UniversalClient
	// Environment is in the channels' names: processes of other environments are not heard.
	Environment string
	// OriginPatterns are further hosts whose pages may connect, as path.Match understands them, with or
	// without a scheme. The host of the request itself may always; a request without an Origin is no
	// browser's and may.
	OriginPatterns []string
	// MaxPerSession is how many connections of one session this process holds (200), MaxTotal of all
	// sessions (10,000). One more is answered with 503.
	MaxPerSession, MaxTotal int
	// MaxMessage is the longest message of a client, in bytes (4096). A longer one ends the
	// connection with status 1009.
	MaxMessage int64
	// MaxEvent is the longest event that is published, in bytes (65536).
	MaxEvent int
	// MessageRate is how many messages a client may send in a second (20), MessageBurst how many at
	// once (40). One more ends the connection with status 1008.
	MessageRate  float64
	MessageBurst int
	// Queue is how many events wait for a client that reads slowly (64). When one more comes the
	// client is cut off with status 1008.
	Queue int
	// Ping is how often a silent connection is asked whether it lives (30 s); one that has not answered
	// when the next is due is dead.
	Ping time.Duration
	// WriteTimeout is how long one event may take to be written (5 s), MessageTimeout how long one message of
	// a client may take to be handled (10 s).
	WriteTimeout, MessageTimeout time.Duration
	// Silence is how long the subscription may be silent before Redis is asked whether it is there (5 s).
	Silence time.Duration
	// Retry is the longest pause before the subscription is tried again, after Redis went (1 s).
	Retry time.Duration
	// Logger is told when the subscription is lost and when it is back. Nil discards.
	Logger *slog.Logger
}

// ErrClosed says that the hub was closed.
var ErrClosed = errors.New("live: the hub is closed")

// Hub holds the WebSocket connections of one process. It is safe for concurrent use.
type Hub struct {
	Config
	pattern  string
	counters counters

	ctx    context.Context // ends when the hub is closed
	cancel context.CancelFunc
	work   sync.WaitGroup // the subscription, and every Serve
	ready  chan struct{}  // closed when the first subscription stands
	sub    subscription

	mu     sync.Mutex
	closed bool
	total  int
	rooms  map[string]map[*client]struct{} // by channel
}

// New makes a hub and begins to subscribe. It does not wait for Redis: [Hub.Ready] does.
func New(c Config) (*Hub, error) {
	if c.Redis == nil {
		return nil, errors.New("live: Config wants Redis")
	}
	pattern, err := keys.EventsPattern(c.Environment)
	if err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	if err := c.settle(); err != nil {
		return nil, err
	}
	h := &Hub{Config: c, pattern: pattern, ready: make(chan struct{}), rooms: make(map[string]map[*client]struct{})}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.work.Go(h.follow)
	return h, nil
}

// settle fills in the defaults and refuses what is out of range.
func (c *Config) settle() error {
	for _, n := range []struct {
		name string
		v    *int
		def  int
	}{{"MaxPerSession", &c.MaxPerSession, 200}, {"MaxTotal", &c.MaxTotal, 10_000}, {"MaxEvent", &c.MaxEvent, 64 << 10}, {"MessageBurst", &c.MessageBurst, 40}, {"Queue", &c.Queue, 64}} {
		if *n.v == 0 {
			*n.v = n.def
		}
		if *n.v < 1 {
			return fmt.Errorf("live: %s of %d: must be at least 1", n.name, *n.v)
		}
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{{"Ping", &c.Ping, 30 * time.Second}, {"WriteTimeout", &c.WriteTimeout, 5 * time.Second}, {"MessageTimeout", &c.MessageTimeout, 10 * time.Second}, {"Silence", &c.Silence, 5 * time.Second}, {"Retry", &c.Retry, time.Second}} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < time.Millisecond {
			return fmt.Errorf("live: %s of %v: must be at least 1ms", d.name, *d.v)
		}
	}
	if c.MaxMessage == 0 {
		c.MaxMessage = 4096
	}
	if c.MessageRate == 0 {
		c.MessageRate = 20
	}
	if c.MaxMessage < 1 || !(c.MessageRate > 0) || rate.Limit(c.MessageRate) > rate.Inf {
		return errors.New("live: MaxMessage and MessageRate must be positive")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Ready waits until the hub hears the other processes for the first time, or ctx ends.
func (h *Hub) Ready(ctx context.Context) error {
	select {
	case <-h.ready:
		return nil
	case <-h.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close cuts every connection off with status 1001 (going away), ends the subscription, and waits until
// all of it is over: no Serve runs afterwards. A client that neither reads nor answers holds that up for
// WriteTimeout and the ten seconds of the closing handshake at most. It may be called more than once.
func (h *Hub) Close() error {
	h.mu.Lock()
	h.closed = true
	for _, room := range h.rooms {
		for c := range room {
			c.end(closing{goingAway, "the server is going away"})
		}
	}
	h.mu.Unlock()
	h.cancel()
	h.sub.close()
	h.work.Wait()
	return nil
}

// Serve takes a request over as a WebSocket of a session, sends it every event of the session, and
// gives what the client sends to onMessage; it returns when the connection has ended. With a nil
// onMessage a client that sends anything is cut off.
//
// onMessage is called for one message of a connection at a time, with a context that ends with the
// connection or after MessageTimeout. Its reply, unless nil, is sent to this client alone, as an event of
// kind "reply". Its error is sent as one of kind "error", with the code of an [*Error] or INTERNAL.
//
// A request that cannot be taken over is answered by Serve (403 for a wrong origin, 503 over a limit)
// and gives an error. The caller has authenticated it. A connection that was closed in order gives nil.
func (h *Hub) Serve(w http.ResponseWriter, r *http.Request, sessionID string, onMessage func(ctx context.Context, msg []byte) (reply any, err error)) error {
	return h.serve(w, r, sessionID, onMessage, nil)
}

// ServeWhile is [Hub.Serve] for a client that must not listen for ever: with each ping may is asked
// whether it still may. An error of may that is no *unavailable.Error ends the connection with status
// 1008.
func (h *Hub) ServeWhile(w http.ResponseWriter, r *http.Request, sessionID string, may func(context.Context) error, onMessage func(ctx context.Context, msg []byte) (reply any, err error)) error {
	return h.serve(w, r, sessionID, onMessage, may)
}
