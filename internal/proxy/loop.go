package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

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

// over forgets a client that has gone.
func (l *loop) over(cl *looped) {
	if cl.link != nil {
		cl.Classes() // for the last time
		cl.link.Leave(cl.session)
	}
	l.p.work.Go(func() {
		cl.c.account(0)
		cl.c.close()
		l.p.gone(cl.c)
	})
}
