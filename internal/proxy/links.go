package proxy

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/classwaves/rekey/internal/intercept"
)

// links are the connections that clients share, one for each user and protocol.
type links struct {
	dial func(context.Context) (*intercept.Conn, string, error)
	log  *slog.Logger
	ctx  context.Context
	work *sync.WaitGroup // of the proxy
	loop *loop           // nil without

	mu    sync.Mutex
	byKey map[intercept.LinkKey]*link
	all   map[*link]struct{}
}

// link is one of them, with the goroutine that reads from it. Whoever has something for the server writes
// it, together with what others have, unless somebody else is at it already.
type link struct {
	*intercept.Link
	server string

	// In an event loop: the connection there, and what is known of it.
	loop  *loop
	gc    gnet.Conn
	gone  chan struct{} // closed when it has left the loop
	broke error         // why it left; of the loop, before gone
	dirty atomic.Bool   // it will be flushed
	out   bool          // it has left; of the loop

	ready   chan struct{} // closed when what follows is known
	refusal []byte        // of the server, to the login
	failed  error

	calls  atomic.Int64  // of write, since nobody was at it
	spare  []byte        // a buffer, of who writes
	taking atomic.Bool   // the connection is given to one client
	read   chan struct{} // closed when nobody reads from it any more
	empty  time.Time     // since when nobody has been seen on it; of tidy
}

// linkKept is how long a link stays that nobody sits on.
const linkKept = 30 * time.Second

func newLinks(p *Proxy) *links {
	return &links{
		dial: p.dial, log: p.log, ctx: p.ctx, work: &p.work, loop: p.loop,
		byKey: make(map[intercept.LinkKey]*link), all: make(map[*link]struct{}),
	}
}

// get gives the open link of a key, or opens it. refusal is what the server says to the login.
func (ls *links) get(ctx context.Context, key intercept.LinkKey) (l *link, refusal []byte, err error) {
	ls.mu.Lock()
	l = ls.byKey[key]
	if l == nil || l.opened() && (l.Link == nil || !l.Open()) {
		l = &link{ready: make(chan struct{}), read: make(chan struct{})}
		ls.byKey[key] = l
		ls.work.Go(func() { ls.run(l, key) })
	}
	ls.mu.Unlock()
	select {
	case <-l.ready:
		return l, l.refusal, l.failed
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

// opened says that a link is open, or that it will never be.
func (l *link) opened() bool {
	select {
	case <-l.ready:
		return true
	default:
		return false
	}
}

// run opens a link and reads from it to its end.
func (ls *links) run(l *link, key intercept.LinkKey) {
	defer close(l.read)
	conn, err := ls.open(l, key)
	if err != nil || l.refusal != nil {
		l.failed = err
		ls.forget(l, key)
		close(l.ready)
		return
	}
	l.Link = conn.NewLink(key, func(*intercept.Link) {}) // who gave it something calls write
	ls.mu.Lock()
	ls.all[l] = struct{}{}
	ls.mu.Unlock()
	entered := ls.enter(l, conn)
	close(l.ready)
	if entered {
		<-l.gone
		err = l.broke
	} else {
		err = l.copy()
	}
	ls.forget(l, key)
	if err != nil {
		l.End(err)
	}
}

// enter puts a link into the event loop, if both can be.
func (ls *links) enter(l *link, conn *intercept.Conn) bool {
	h, ok := conn.Conn.(*handle)
	if !ok || ls.loop == nil {
		return false
	}
	if _, ok := h.tcp(); !ok {
		return false
	}
	if err := ls.loop.enterLink(l, h); err != nil {
		l.loop = nil
		return false // copy says what is wrong with it
	}
	return true
}

// ready gives the open link of a key, without opening it.
func (ls *links) ready(key intercept.LinkKey) (l *link, open bool) {
	ls.mu.Lock()
	l = ls.byKey[key]
	ls.mu.Unlock()
	return l, l != nil && l.opened() && l.Link != nil && l.Open()
}

// open opens the connection of a link.
func (ls *links) open(l *link, key intercept.LinkKey) (*intercept.Conn, error) {
	ctx, cancel := context.WithTimeout(ls.ctx, dialWithin)
	defer cancel()
	conn, server, err := ls.dial(ctx)
	if err != nil {
		return nil, err
	}
	l.server = server
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // Prepare says what has become of it
	l.refusal, err = conn.Prepare(key)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil || l.refusal != nil {
		_ = conn.Close() // nothing of a client was sent on it
	}
	return conn, err
}

// copy brings what the server sends to the clients.
func (l *link) copy() error {
	buf := make([]byte, maxBuffer)
	for {
		n, err := l.Conn().Conn.Read(buf)
		if n > 0 {
			if err := l.Received(buf[:n]); err != nil {
				return err
			}
			l.write()
		}
		switch {
		case err == nil:
		case l.taking.Load() && errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		default:
			return err
		}
	}
}

// write writes what clients have for the server.
func (l *link) write() {
	if l.loop != nil {
		l.loop.flushSoon(l)
		return
	}
	if l.calls.Add(1) != 1 {
		return // who is at it looks again
	}
	for {
		n := l.calls.Load()
		if l.spare = l.Output(l.spare); len(l.spare) > 0 {
			_, _ = l.Conn().Conn.Write(l.spare) // copy finds the connection broken as well
		}
		if l.calls.CompareAndSwap(n, 0) {
			return
		}
	}
}

// take gives the connection to one client, whose session wants it.
func (l *link) take(s *intercept.Session) (*intercept.Conn, error) {
	l.taking.Store(true)
	if l.loop != nil {
		l.loop.execute(func() { _ = l.gc.EventLoop().Close(l.gc) }) // OnClose does what is to be done
	} else {
		_ = l.Conn().Conn.SetReadDeadline(past) // fails on a closed connection only
	}
	<-l.read
	_ = l.Conn().Conn.SetReadDeadline(time.Time{})
	return l.Take(s)
}

// forget takes a link off that ends.
func (ls *links) forget(l *link, key intercept.LinkKey) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.byKey[key] == l {
		delete(ls.byKey, key)
	}
	delete(ls.all, l)
}

// list is a copy of the links that are open.
func (ls *links) list() []*link {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return slices.Collect(maps.Keys(ls.all))
}

// tidy closes links that nobody has sat on for a while, or to which nobody can come any more.
func (ls *links) tidy(now time.Time) {
	for _, l := range ls.list() {
		switch {
		case l.Seats() > 0:
			l.empty = time.Time{}
			continue
		case l.empty.IsZero():
			l.empty = now
		}
		if (now.Sub(l.empty) > linkKept || !l.Open()) && l.Retire() {
			_ = l.Conn().Close() // copy ends by it
		}
	}
}

// moved ends the links to servers other than the primary.
func (ls *links) moved(primary string) {
	for _, l := range ls.list() {
		if l.server != primary {
			l.End(errMoved)
		}
	}
}

var errMoved = errors.New("rekey: another server is the primary")

// shut closes all links.
func (ls *links) shut() {
	for _, l := range ls.list() {
		_ = l.Conn().Close() // copy ends by it
	}
}
