package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/resp"
)

// seat is the upstream of a client that shares connections, until it needs one of its own. It stays the
// client's upstream then, and passes everything on.
type seat struct {
	p       *Proxy
	session *intercept.Session
	ctx     context.Context // ends with the client
	cancel  context.CancelFunc
	end     func(ending) // of the client
	own     atomic.Pointer[own]

	// moving is held by who brings the session to another place, and guards it while it has none.
	moving sync.Mutex
	link   *link // nil: none

	mu     sync.Mutex
	room   sync.Cond // there are bytes for the client, or fewer; its lock is mu
	out    []byte
	from   int
	turns  uint64 // of room
	memory int64  // of out, as it was counted last
	err    error
	closed bool
	tally  tally
	on     atomic.Pointer[link] // the same as link, for who only looks
}

var (
	_ upstream       = (*seat)(nil)
	_ intercept.Sink = (*seat)(nil)
)

// What a client that shares connections may leave unread. Behind soonBehind bytes it gets a connection of its
// own, which waits for it; meanwhile replies to what it has sent still come, and where one more begins behind
// farBehind bytes it is closed.
const (
	soonBehind = 1 << 20
	farBehind  = 64 << 20
)

var (
	errFarBehind = errors.New("rekey: the client takes no replies")
	errMemory    = errors.New("rekey: there is no memory left for the client's replies")
)

func newSeat(p *Proxy, end func(ending)) *seat {
	s := &seat{p: p, end: end}
	s.session = intercept.NewSharing(s, p.limits.resp(), time.Now)
	s.ctx, s.cancel = context.WithCancel(p.ctx)
	s.room.L = &s.mu
	return s
}

// Write gives commands of the client to its session.
func (s *seat) Write(b []byte) (int, error) {
	if own := s.own.Load(); own != nil {
		return own.Write(b)
	}
	s.moving.Lock()
	defer s.moving.Unlock()
	if own := s.own.Load(); own != nil {
		return own.Write(b)
	}
	if err := s.failed(); err != nil {
		return 0, err
	}
	if s.link != nil {
		s.link.Client(s.session, b)
		s.link.write()
		return len(b), nil
	}
	s.alone(func() error { return s.session.Client(b) })
	s.place()
	return len(b), nil
}

// alone does something with the session while it sits nowhere.
func (s *seat) alone(what func() error) {
	err := what()
	if _, toClient := s.session.Output(); len(toClient) > 0 {
		s.Replies(toClient, true)
	}
	if err != nil {
		s.Ended(err)
	}
}

// move brings the session to the place that it wants, if that is due.
func (s *seat) move() {
	s.moving.Lock()
	defer s.moving.Unlock()
	if s.own.Load() == nil {
		s.place()
	}
}

// place is move with the lock held.
func (s *seat) place() {
	for s.failed() == nil {
		want, due := s.want()
		if !due {
			return
		}
		var err error
		switch {
		case want.Taken:
			conn, err := s.link.take(s.session)
			if err != nil {
				s.Ended(err)
				return
			}
			s.belongs(&own{conn, s.link.server})
			return
		case want.Own:
			err = s.placeOwn()
		default:
			err = s.placeShared(want.Key)
		}
		if err != nil {
			s.unplaced(err)
			return
		}
		if s.own.Load() != nil {
			return
		}
	}
}

// unplaced ends the client, for which there is no place.
func (s *seat) unplaced(err error) {
	var refused *intercept.AdmissionError
	switch {
	case errors.As(err, &refused):
		s.Replies(resp.AppendError(nil, refused.Error()), true)
	case s.ctx.Err() == nil:
		s.p.unreachable(err)
		err = fmt.Errorf("%w: %w", errUnreachable, err)
	}
	s.Ended(err)
}

// turn tells whoever waits for room. The lock is held.
func (s *seat) turn() {
	s.turns++
	s.room.Broadcast()
}

// want is what the session wants.
func (s *seat) want() (intercept.Want, bool) {
	if s.link != nil {
		return s.link.Want(s.session)
	}
	return s.session.Want()
}

// sits notes where the session sits; nil: nowhere.
func (s *seat) sits(l *link) {
	if s.link != nil {
		s.link.Detach(s.session)
	}
	s.link = l
	s.on.Store(l)
}

// placeShared brings the session to a link.
func (s *seat) placeShared(key intercept.LinkKey) error {
	l, refusal, err := s.p.links.get(s.ctx, key)
	switch {
	case err != nil:
		return err
	case refusal != nil && s.link != nil:
		s.link.With(s.session, func() { _ = s.session.Refuse(refusal) }) // With looks at it
		s.link.write()
		return nil
	case refusal != nil:
		s.alone(func() error { return s.session.Refuse(refusal) })
		return nil
	}
	s.sits(nil)
	if err := l.Attach(s.session); err != nil {
		return nil // it has ended meanwhile: there will be another one
	}
	s.link = l
	s.on.Store(l)
	l.write()
	return nil
}

// placeOwn gives the session a connection of its own.
func (s *seat) placeOwn() error {
	ctx, cancel := context.WithTimeout(s.ctx, dialWithin)
	defer cancel()
	conn, server, err := s.p.dial(ctx)
	if err != nil {
		return err
	}
	s.sits(nil)
	conn.Adopt(s.session)
	s.belongs(&own{conn, server})
	return nil
}

// belongs passes everything on to a connection of the client's own from now on.
func (s *seat) belongs(o *own) {
	s.link = nil
	s.on.Store(nil)
	s.own.Store(o)
	s.mu.Lock()
	closed := s.closed
	s.turn()
	s.mu.Unlock()
	if closed {
		_ = o.Close() // meanwhile
	}
}

// Due implements [intercept.Sink].
func (s *seat) Due() { s.p.work.Go(s.move) }

// Replies implements [intercept.Sink].
func (s *seat) Replies(b []byte, begins bool) (behind bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn()
	if len(b) == 0 || s.err != nil || s.closed {
		return false
	}
	if begins && len(s.out)-s.from > farBehind {
		s.cut(errFarBehind, endSlow)
		return true
	}
	if s.from == len(s.out) {
		s.out, s.from = s.out[:0], 0
	}
	s.out = append(s.out, b...)
	if !s.account() {
		s.cut(errMemory, endMemory)
	}
	return len(s.out)-s.from > soonBehind
}

// cut ends the client, to which somebody may be writing. The lock is held.
func (s *seat) cut(err error, why ending) {
	s.err = err
	s.p.work.Go(func() { s.end(why) })
}

// account counts the memory of what is for the client. The lock is held.
func (s *seat) account() (enough bool) {
	memory := max(0, int64(cap(s.out))-freeMemory)
	grown := memory - s.memory
	s.memory = memory
	return grown == 0 || s.p.memory.Add(grown) <= int64(s.p.limits.Memory) || grown < 0
}

// Ended implements [intercept.Sink].
func (s *seat) Ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.turn()
}

func (s *seat) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Read gives replies.
func (s *seat) Read(b []byte) (int, error) {
	s.mu.Lock()
	for s.from == len(s.out) && s.err == nil && s.own.Load() == nil {
		s.room.Wait()
	}
	if s.from < len(s.out) {
		n := copy(b, s.out[s.from:])
		if s.from += n; s.from == len(s.out) && cap(s.out) > freeMemory {
			s.out, s.from = nil, 0
			s.account()
		}
		s.turn()
		s.mu.Unlock()
		return n, nil
	}
	err := s.err
	s.mu.Unlock()
	if own := s.own.Load(); own != nil {
		return own.Read(b)
	}
	return 0, err
}

// Close ends the client's part in all this. What it has under way stays so.
func (s *seat) Close() error {
	s.cancel()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if s.err == nil {
		s.err = net.ErrClosed
	}
	s.out, s.from = nil, 0
	s.account()
	s.turn()
	s.mu.Unlock()
	s.moving.Lock() // not for long: what waits has been told
	defer s.moving.Unlock()
	if own := s.own.Load(); own != nil {
		return own.Close()
	}
	if s.link != nil {
		s.Classes() // for the last time
		s.link.Leave(s.session)
	}
	return nil
}

// Leave ends the client's session when what it has sent is answered.
func (s *seat) Leave() {
	s.moving.Lock()
	defer s.moving.Unlock()
	switch own := s.own.Load(); {
	case own != nil:
		own.Leave()
	case s.link != nil:
		s.link.With(s.session, func() { _ = s.session.Leave() }) // With looks at it
		s.link.write()
	default:
		s.alone(s.session.Leave)
		s.place()
	}
}

// Unblock ends what the server waits for. On a shared connection it waits for nothing.
func (s *seat) Unblock(ctx context.Context) error {
	if own := s.own.Load(); own != nil {
		return own.Unblock(ctx)
	}
	return nil
}

// Backlog tells what is held for the client.
func (s *seat) Backlog() (b intercept.Backlog) {
	if own := s.own.Load(); own != nil {
		b = own.Backlog()
	} else if l := s.on.Load(); l != nil {
		b = l.Backlog(s.session)
	} else if s.moving.TryLock() {
		if s.own.Load() == nil && s.link == nil {
			b = s.session.Backlog()
		}
		s.moving.Unlock()
	} else {
		b = intercept.OnItsWay
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b.ToClient += len(s.out) - s.from
	return b
}

// AwaitRoom waits until full says no, or there is nothing to wait for any more. It looks again when replies to the
// client come, so what others have on its link holds it only while replies are to come.
func (s *seat) AwaitRoom(full func(intercept.Backlog) bool) error {
	for {
		if own := s.own.Load(); own != nil {
			return own.AwaitRoom(full)
		}
		s.mu.Lock()
		seen := s.turns
		err := s.err
		s.mu.Unlock()
		b := s.Backlog()
		if b.Commands == 0 {
			b.ToServer = 0
		}
		if err != nil || !full(b) {
			return err
		}
		s.mu.Lock()
		for seen == s.turns && s.err == nil && s.own.Load() == nil {
			s.room.Wait()
		}
		s.mu.Unlock()
	}
}

// Classes is how many commands of each class the client has sent.
func (s *seat) Classes() (n [classes]uint64) {
	if own := s.own.Load(); own != nil {
		return own.Classes()
	}
	if l := s.on.Load(); l != nil {
		n, _ = l.Classes(s.session)
	} else if s.moving.TryLock() {
		if s.own.Load() == nil && s.link == nil {
			n = s.session.Classes()
		}
		s.moving.Unlock()
	}
	return s.tally.seen(n)
}

// Server names the server of the client's connection.
func (s *seat) Server() string {
	if own := s.own.Load(); own != nil {
		return own.server
	}
	if l := s.on.Load(); l != nil {
		return l.server
	}
	return ""
}

// Since is how long ago bytes of the server came.
func (s *seat) Since() time.Duration {
	if own := s.own.Load(); own != nil {
		return own.Since()
	}
	if l := s.on.Load(); l != nil {
		return since(l.Conn())
	}
	return 0
}
