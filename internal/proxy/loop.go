package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/classwaves/rekey/internal/intercept"
)

// loop is an event loop that reads and writes for plain TCP clients, and for the links on which they sit: one
// goroutine, which sees the commands of many clients at a time and sends them in one write.
//
// It serves what is simple. A client leaves it, for good and for goroutines of its own, with all that it has
// under way, where anything else is wanted: a connection of its own, a wait for its replies to be taken, a
// limit, an error, the end. So nothing in the loop waits, and how a client ends is written once.
type loop struct {
	gnet.BuiltinEventEngine
	p      *Proxy
	client *gnet.Client
	el     atomic.Pointer[gnet.EventLoop] // nil before anybody was in it

	// Of the loop's goroutine.
	clients int
	current *looped   // whose bytes are being read
	due     []*looped // that want something
}

// silence is the library's log: what it says of its connections, who uses them is told as well.
type silence struct{}

func (silence) Debugf(string, ...any) {}
func (silence) Infof(string, ...any)  {}
func (silence) Warnf(string, ...any)  {}
func (silence) Errorf(string, ...any) {}
func (silence) Fatalf(string, ...any) {}

// maxUnsent is how much a link may have on its way to the server before it is given more.
const maxUnsent = 1 << 20

// startLoop starts the loop.
func startLoop(p *Proxy) (*loop, error) {
	l := &loop{p: p}
	var err error
	l.client, err = gnet.NewClient(l, gnet.WithNumEventLoop(1), gnet.WithReadBufferCap(maxBuffer), gnet.WithLogger(silence{}))
	if err != nil {
		return nil, fmt.Errorf("rekey: event loop: %w", err)
	}
	if err := l.client.Start(); err != nil {
		return nil, fmt.Errorf("rekey: event loop: %w", err)
	}
	return l, nil
}

// stop ends the loop, which nobody is in any more.
func (l *loop) stop() {
	_ = l.client.Stop() // there is nothing left that could fail
}

// looped is a client in the loop. It is its upstream, for who looks, and its session's sink.
type looped struct {
	l       *loop
	c       *client
	h       *handle
	gc      gnet.Conn
	session *intercept.Session

	// Of the loop's goroutine.
	link    *link
	rest    []byte // replies that the client's kernel does not take
	waits   bool   // it is in due
	seeks   bool   // a link is being opened for it
	leaving bool
	left    bool

	on     atomic.Pointer[link] // the same as link
	unread atomic.Int64         // of the session's, when it was looked at last

	mu  sync.Mutex
	err error // of the session or the link
}

var (
	_ upstream       = (*looped)(nil)
	_ intercept.Sink = (*looped)(nil)
)

// enter puts a new client into the loop.
func (l *loop) enter(c *client, h *handle) {
	cl := &looped{l: l, c: c, h: h}
	cl.session = intercept.NewSharing(cl, l.p.limits.resp(), time.Now)
	var up upstream = cl
	c.up.Store(&up)
	l.p.work.Add(1) // until it leaves
	if conn, ok := h.tcp(); ok {
		if _, err := l.client.EnrollContext(conn, cl); err == nil {
			return
		}
	}
	c.end(endBroken)
	l.over(cl)
	l.p.work.Done()
}

// enterLink puts a link into the loop.
func (l *loop) enterLink(lk *link, h *handle) error {
	conn, ok := h.tcp()
	if !ok {
		return net.ErrClosed
	}
	lk.loop, lk.gone = l, make(chan struct{})
	gc, err := l.client.EnrollContext(conn, &loopedLink{lk, h})
	if err != nil {
		return err
	}
	lk.gc = gc
	return nil
}

// loopedLink is a link in the loop.
type loopedLink struct {
	*link
	h *handle
}

// OnOpen implements [gnet.EventHandler].
func (l *loop) OnOpen(gc gnet.Conn) ([]byte, gnet.Action) {
	if l.el.Load() == nil {
		el := gc.EventLoop()
		l.el.Store(&el)
	}
	switch at := gc.Context().(type) {
	case *looped:
		at.gc = gc
		at.h.enters(gc)
		l.clients++
		if at.c.draining.Load() != nil {
			at.leaving = true
			return nil, gnet.Close
		}
	case *loopedLink:
		at.h.enters(gc)
	}
	return nil, gnet.None
}

// OnTraffic implements [gnet.EventHandler].
func (l *loop) OnTraffic(gc gnet.Conn) gnet.Action {
	b, _ := gc.Next(-1) // what was read just now; there is nothing else
	switch at := gc.Context().(type) {
	case *looped:
		return l.commands(at, b)
	case *loopedLink:
		l.replies(at, b)
	}
	return gnet.None
}

// commands takes bytes of a client.
func (l *loop) commands(cl *looped, b []byte) gnet.Action {
	if len(b) == 0 {
		return gnet.None
	}
	c, came := cl.c, time.Now()
	c.in.Add(int64(len(b)))
	c.active.Store(came.UnixNano())
	l.current = cl
	if cl.link != nil {
		cl.link.Client(cl.session, b)
	} else {
		cl.alone(b)
	}
	if !cl.bounded(len(b), came) {
		cl.leave()
	}
	l.settle()
	l.current = nil
	if cl.leaving {
		return gnet.Close
	}
	if lk := cl.link; lk != nil {
		if l.clients == 1 {
			l.flush(lk) // there is nobody to wait for
		} else {
			lk.write()
		}
	}
	l.p.metrics.added(toServer, time.Since(came))
	return gnet.None
}

// replies takes bytes of a server.
func (l *loop) replies(lk *loopedLink, b []byte) {
	came := time.Now()
	lk.h.came.Store(came.UnixNano())
	if err := lk.Received(b); err != nil {
		lk.broke = err
		lk.End(err)
	}
	l.settle()
	l.flush(lk.link)
	l.p.metrics.added(toClient, time.Since(came))
}

// settle gives clients what they want, or lets them go.
func (l *loop) settle() {
	for len(l.due) > 0 {
		cl := l.due[0]
		l.due = l.due[1:]
		cl.waits = false
		if !cl.left && !cl.leaving {
			cl.place()
		}
		if cl.leaving && !cl.left && cl != l.current {
			_ = cl.gc.EventLoop().Close(cl.gc) // OnClose does what is to be done
		}
	}
	l.due = nil
}

// flush sends what a link has for the server.
func (l *loop) flush(lk *link) {
	lk.dirty.Store(false)
	if lk.out || lk.gc.OutboundBuffered() > maxUnsent {
		return // replies will come, and then it is sent
	}
	b := lk.Output(lk.spare)
	if len(b) > 0 {
		_, _ = lk.gc.Write(b) // a broken connection is closed by the loop
	}
	lk.spare = b // the link has the other one now
}

// flushSoon has a link flushed when the loop has seen who else has something for the server.
func (l *loop) flushSoon(lk *link) {
	if lk.dirty.CompareAndSwap(false, true) {
		l.execute(func() { l.flush(lk) })
	}
}

// execute runs something in the loop.
func (l *loop) execute(what func()) {
	if el := l.el.Load(); el != nil {
		run := gnet.RunnableFunc(func(context.Context) error { what(); return nil })
		_ = (*el).Execute(context.Background(), run) // fails where the loop has ended, and nobody is left
	}
}

// OnClose implements [gnet.EventHandler]. The connection's descriptor is open until it returns.
func (l *loop) OnClose(gc gnet.Conn, err error) gnet.Action {
	switch at := gc.Context().(type) {
	case *looped:
		l.clients--
		at.closes(err)
	case *loopedLink:
		at.out = true
		if at.taking.Load() {
			err = at.h.leaves(gc)
		} else if err == nil {
			err = io.EOF
		}
		if at.broke == nil {
			at.broke = err
		}
		close(at.gone)
	}
	return gnet.None
}

// closes ends a client's time in the loop: it goes on with goroutines of its own, or it is over.
func (cl *looped) closes(err error) {
	defer cl.c.p.work.Done()
	cl.left = true
	over := cl.c.ending.Load() != 0
	if b := cl.backlog(); !cl.leaving && errors.Is(err, io.EOF) && b.Commands == 0 && b.Unread == 0 {
		cl.c.reason(endClient)
		over = true
	}
	if over || cl.h.leaves(cl.gc) != nil {
		cl.l.over(cl)
		return
	}
	s := newSeat(cl.c.p, cl.c.end)
	s.session, s.link = cl.session, cl.link
	s.on.Store(cl.link)
	s.out = cl.rest
	if cl.link != nil {
		cl.link.SetSink(cl.session, s)
	} else {
		cl.session.SetSink(s)
	}
	cl.mu.Lock()
	if cl.err != nil {
		s.Ended(cl.err)
	}
	cl.mu.Unlock()
	var up upstream = s
	cl.c.up.Store(&up)
	cl.c.p.work.Go(func() { cl.c.resume(s) })
}

// over forgets a client that has gone.
func (l *loop) over(cl *looped) {
	if cl.link != nil {
		cl.link.Leave(cl.session)
	}
	l.p.work.Go(func() {
		cl.c.account(0)
		cl.c.close()
		l.p.gone(cl.c)
	})
}

// leave lets the client go from the loop, as soon as nobody is in the middle of anything.
func (cl *looped) leave() {
	cl.leaving = true
	cl.wait()
}

// wait notes that the client wants something.
func (cl *looped) wait() {
	if !cl.waits {
		cl.waits = true
		cl.l.due = append(cl.l.due, cl)
	}
}

// alone gives bytes to the session while it sits nowhere.
func (cl *looped) alone(b []byte) {
	err := cl.session.Client(b)
	if _, toClient := cl.session.Output(); len(toClient) > 0 {
		cl.Replies(toClient, true)
	}
	if err != nil {
		cl.fails(err)
		cl.leave()
		return
	}
	cl.wait()
}

// backlog is Backlog for the loop itself.
func (cl *looped) backlog() intercept.Backlog {
	if cl.link != nil {
		return cl.link.Backlog(cl.session)
	}
	return cl.session.Backlog()
}

// bounded holds the client to its limits; it is false where it must leave the loop for them.
func (cl *looped) bounded(n int, came time.Time) bool {
	b := cl.backlog()
	cl.unread.Store(int64(b.Unread))
	cl.c.begins(b, n, came)
	return cl.c.account(int64(b.Memory)) && b.Unread <= maxWaiting && !full(b)
}

// place brings the session to the link that it wants.
func (cl *looped) place() {
	for !cl.leaving {
		var want intercept.Want
		var due bool
		if cl.link != nil {
			want, due = cl.link.Want(cl.session)
		} else {
			want, due = cl.session.Want()
		}
		switch {
		case !due || cl.seeks:
			return
		case want.Own:
			cl.leave()
			return
		}
		lk, open := cl.l.p.links.ready(want.Key)
		if !open {
			cl.seek(want.Key)
			return
		}
		if cl.link != nil {
			cl.link.Detach(cl.session)
		}
		cl.sits(nil)
		if lk.loop == nil {
			cl.leave()
			return
		}
		if lk.Attach(cl.session) == nil { // else there will be another one
			cl.sits(lk)
			lk.write()
		}
	}
}

func (cl *looped) sits(lk *link) {
	cl.link = lk
	cl.on.Store(lk)
}

// seek has a link opened, which the loop does not wait for.
func (cl *looped) seek(key intercept.LinkKey) {
	cl.seeks = true
	cl.l.p.work.Go(func() {
		_, refusal, err := cl.l.p.links.get(cl.l.p.ctx, key)
		cl.l.execute(func() {
			cl.seeks = false
			if cl.left {
				return
			}
			if refusal != nil || err != nil {
				cl.leaving = true // who says so is outside
			}
			cl.wait()
			cl.l.settle()
		})
	})
}

// Due implements [intercept.Sink].
func (cl *looped) Due() { cl.wait() }

// Replies implements [intercept.Sink].
func (cl *looped) Replies(b []byte, _ bool) (behind bool) {
	if len(b) == 0 || cl.left {
		return false
	}
	if len(cl.rest) == 0 {
		n, err := unix.Write(cl.gc.Fd(), b)
		for err == unix.EINTR {
			n, err = unix.Write(cl.gc.Fd(), b)
		}
		n = max(n, 0)
		cl.c.out.Add(int64(n))
		if b = b[n:]; len(b) == 0 {
			return false
		}
	}
	cl.rest = append(cl.rest, b...)
	cl.leave() // who waits for the client is outside, and finds out what is wrong
	return len(cl.rest) > soonBehind
}

// Ended implements [intercept.Sink]. A link may be ended by anybody.
func (cl *looped) Ended(err error) {
	cl.fails(err)
	cl.l.execute(func() {
		if !cl.left && cl.gc != nil {
			cl.leave()
			cl.l.settle()
		}
	})
}

func (cl *looped) fails(err error) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.err == nil {
		cl.err = err
	}
}

// Backlog implements [upstream].
func (cl *looped) Backlog() (b intercept.Backlog) {
	if lk := cl.on.Load(); lk != nil {
		return lk.Backlog(cl.session)
	}
	b.Unread = int(cl.unread.Load())
	return b
}

// Classes implements [upstream].
func (cl *looped) Classes() (n [classes]uint64) {
	if lk := cl.on.Load(); lk != nil {
		n = lk.Classes(cl.session)
	}
	return n
}

// Server implements [upstream].
func (cl *looped) Server() string {
	if lk := cl.on.Load(); lk != nil {
		return lk.server
	}
	return ""
}

// Leave implements [upstream]: outside.
func (cl *looped) Leave() {
	cl.l.execute(func() {
		if !cl.left && cl.gc != nil { // one that is to come sees it
			cl.leave()
			cl.l.settle()
		}
	})
}

// Close implements [upstream]; the loop is told by the end of the client's connection.
func (cl *looped) Close() error { return nil }

// AwaitRoom, Unblock, Since, Read and Write are of clients outside of the loop.
func (cl *looped) AwaitRoom(func(intercept.Backlog) bool) error { return errInLoop }
func (cl *looped) Unblock(context.Context) error                { return nil }
func (cl *looped) Since() time.Duration                         { return 0 }
func (cl *looped) Read([]byte) (int, error)                     { return 0, errInLoop }
func (cl *looped) Write([]byte) (int, error)                    { return 0, errInLoop }
