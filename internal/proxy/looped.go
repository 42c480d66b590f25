package proxy

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/classwaves/rekey/internal/intercept"
)

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
	tally  tally

	mu  sync.Mutex
	err error // of the session or the link
}

var (
	_ upstream       = (*looped)(nil)
	_ intercept.Sink = (*looped)(nil)
)

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
	s.tally.seen(cl.Classes())
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
		n, _ = lk.Classes(cl.session)
	}
	return cl.tally.seen(n)
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
