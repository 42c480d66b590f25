package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
)

// Config is what a Proxy needs.
type Config struct {
	// Dial opens an upstream connection to the server that is the primary now, and names it. The
	// context ends when the client has gone.
	Dial func(ctx context.Context) (conn *intercept.Conn, server string, err error)
	// Upstreams says whether clients share connections.
	Upstreams Upstreams
	// Limits bounds what clients may take.
	Limits Limits
	// Log gets what an operator must know, Access a record for each client that has left. Either may
	// be nil: nothing is logged.
	Log, Access *slog.Logger
}

// Proxy serves clients on any number of listeners. It is safe for concurrent use.
type Proxy struct {
	dial    func(context.Context) (*intercept.Conn, string, error)
	limits  Limits
	log     *slog.Logger
	access  *slog.Logger
	metrics *metrics
	memory  atomic.Int64 // of Limits.Memory
	loop    *loop        // nil without
	links   *links       // nil: every client has a connection of its own

	ctx    context.Context // of dialing, and of everything that outlives no proxy
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu        sync.Mutex
	draining  bool
	listeners map[net.Listener]struct{}
	clients   map[*client]struct{}
}

// New makes a proxy. It must be ended by [Proxy.Shutdown].
func New(c Config) *Proxy {
	p := &Proxy{
		dial: c.Dial, limits: c.Limits.withDefaults(), log: c.Log, access: c.Access, metrics: newMetrics(),
		listeners: make(map[net.Listener]struct{}), clients: make(map[*client]struct{}),
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.access == nil {
		p.access = slog.New(slog.DiscardHandler)
	}
	if n := affordable(p.limits.Clients, descriptors()); n < p.limits.Clients {
		p.log.Warn("there are too few file descriptors for so many clients; raise the limit (ulimit -n, LimitNOFILE)",
			"max_clients", p.limits.Clients, "taken", n, "descriptors", descriptors())
		p.limits.Clients = n
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if c.Upstreams == UpstreamsShared {
		var err error
		if p.loop, err = startLoop(p); err != nil {
			p.log.Warn("clients are served without an event loop, which costs more", "error", err)
			p.loop = nil
		}
		p.links = newLinks(p)
	}
	p.work.Go(p.watch)
	return p
}

// ErrDraining says that a proxy ends and takes no listener.
var ErrDraining = errors.New("rekey: the proxy ends")

// acceptPause follows a failed Accept, such as one for which there is no file descriptor left.
const acceptPause = 50 * time.Millisecond

// Serve takes the clients of a listener, until the proxy or the listener ends. It closes the
// listener.
func (p *Proxy) Serve(l net.Listener) error {
	if !p.listens(l) {
		return errors.Join(ErrDraining, l.Close())
	}
	defer p.deaf(l)
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			p.take(conn, l.Addr())
			continue
		case errors.Is(err, net.ErrClosed):
			return nil
		}
		p.log.Warn("a client could not be accepted", "listener", l.Addr().String(), "error", err)
		select {
		case <-p.ctx.Done():
			return nil
		case <-time.After(acceptPause):
		}
	}
}

func (p *Proxy) listens(l net.Listener) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining {
		return false
	}
	p.listeners[l] = struct{}{}
	return true
}

func (p *Proxy) deaf(l net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.listeners, l)
	_ = l.Close() // it takes nobody any more, which is all that is wanted
}

// take begins to serve a client, or turns it away.
func (p *Proxy) take(conn net.Conn, at net.Addr) {
	c := &client{p: p, conn: conn, listener: at.String(), began: time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.metrics.accepted.Add(1)
	switch {
	case p.draining:
		p.metrics.rejected[rejectedDraining].Add(1)
		_ = conn.Close() // nothing was read of it
	case len(p.clients) >= p.limits.Clients:
		p.metrics.rejected[rejectedFull].Add(1)
		p.work.Go(func() { turnAway(conn) })
	default:
		p.clients[c] = struct{}{}
		if tcp, ok := conn.(*net.TCPConn); ok && p.loop != nil {
			h := newHandle(tcp)
			c.conn = h
			c.active.Store(c.began.UnixNano())
			p.work.Go(func() { p.loop.enter(c, h) })
			break
		}
		p.work.Go(c.serve)
	}
}

// turnAway says what the server says to clients of which it has enough.
func turnAway(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(time.Second))                   // a client that does not read it
	_, _ = conn.Write([]byte("-ERR max number of clients reached\r\n")) // may do without it
	_ = conn.Close()
}

// gone forgets a client, and keeps its counters.
func (p *Proxy) gone(c *client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.clients, c)
	p.metrics.left(c)
}

// all is a copy of the clients.
func (p *Proxy) all() []*client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.clients))
}

// Clients is how many clients are connected.
func (p *Proxy) Clients() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.clients)
}

// Moved ends the clients whose server is no longer the primary, so that they come again.
func (p *Proxy) Moved(primary string) {
	for _, c := range p.all() {
		if up := c.upstream(); up != nil && up.Server() != "" && up.Server() != primary {
			c.end(endMoved)
		}
	}
	if p.links != nil {
		p.links.moved(primary)
	}
}

// Shutdown takes no more clients, answers the commands that were read and closes each client behind
// its last reply. Clients that are left when ctx ends are closed as they are, and it says how many.
func (p *Proxy) Shutdown(ctx context.Context) error {
	before := p.metrics.ended[endDeadline].Load() // of clients that had closed their half
	p.mu.Lock()
	p.draining = true
	for l := range p.listeners {
		_ = l.Close() // Serve ends by it
	}
	p.mu.Unlock()
	for _, c := range p.all() {
		c.drain(ctx)
	}
	for p.Clients() > 0 && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(drainPause):
		}
	}
	for _, c := range p.all() {
		c.end(endDeadline)
	}
	p.cancel()
	if p.links != nil {
		p.links.shut()
	}
	p.work.Wait()
	if p.loop != nil {
		p.loop.stop()
	}
	if cut := p.metrics.ended[endDeadline].Load() - before; cut > 0 {
		return fmt.Errorf("rekey: %d clients had commands under way at the end of the time to drain", cut)
	}
	return nil
}

// watch ends clients whose time is over.
func (p *Proxy) watch() {
	tick := time.NewTicker(watchPause)
	defer tick.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case now := <-tick.C:
			for _, c := range p.all() {
				c.overdue(now)
			}
			if p.links != nil {
				p.links.tidy(now)
			}
		}
	}
}

const (
	watchPause = 250 * time.Millisecond
	drainPause = 5 * time.Millisecond
)
