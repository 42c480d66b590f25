package intercept

import (
	"errors"
	"fmt"
	"time"

	"github.com/classwaves/rekey/internal/resp"
)

// Link is a connection to the server that sessions of many clients share. It does no I/O of its own:
// its shell brings what the server sends ([Link.Received]) and takes what is for it ([Link.Output]).
//
// Sessions have the same user, database and protocol, and send commands that need nothing else of a
// connection ([command.Command.Plain]). What a session sends at a time is one unit: its bytes stand
// together, so a transaction of the engine is contiguous, and the link notes how many replies belong to
// it. The server answers in order, so the bytes that come are those of the first unit until it has all
// its replies.
//
// That count is the fence between clients. It is taken where commands are written, and a second reading
// of the replies must agree with it: the session, which reads them for its client, must be done with the
// unit's commands when the unit has its replies, not before and not behind. Otherwise the link ends, with
// all of its clients, before anybody is given a reply that is not theirs.
//
// To the instance the connection is one [Conn] as any other: it is admitted, counts for as long as a
// command of anybody is under way, and is cut or killed with all that is on it. Its lock guards the link
// and the sessions that sit on it.
type Link struct {
	conn  *Conn
	key   LinkKey
	flush func(*Link) // tells the shell that there is something for the server; the lock is held

	seats   map[*Session]struct{}
	units   units
	skip    resp.Skipper
	pushing bool       // the value at hand answers nobody
	waiting []*Session // with a unit that is followed, and is not on its way to the server yet
	follows int        // units under way that are followed
	came    time.Time  // of the bytes of the server at hand, while a unit is followed
	retired bool       // no more commands are taken
	taken   bool       // the connection has been given to one session
	ended   error
}

// errLinkEnded is given to a session that comes to a link which has ended meanwhile, or which only another one can have.
var errLinkEnded = errors.New("rekey: the shared connection has ended")

// NewLink makes a link of a connection that [Conn.Prepare] has prepared for the key.
func (c *Conn) NewLink(key LinkKey, flush func(*Link)) *Link {
	l := &Link{conn: c, key: key, flush: flush, seats: make(map[*Session]struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link, c.set = l, time.Time{}
	_ = c.Conn.SetReadDeadline(time.Time{}) // fails on a closed connection only, whose Read says so
	return l
}

// Conn is the connection under the link.
func (l *Link) Conn() *Conn { return l.conn }

// Open says that sessions may come to the link.
func (l *Link) Open() bool {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	return !l.retired && l.ended == nil && l.conn.err == nil
}

// Retire lets no more commands to the link. It says whether nobody sits on it any more.
func (l *Link) Retire() (empty bool) {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	l.retired = true
	return len(l.seats) == 0
}

// Seats is how many sessions sit on the link.
func (l *Link) Seats() int {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	return len(l.seats)
}

// Attach seats a session whose Want is due.
func (l *Link) Attach(s *Session) error {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	if l.retired || l.ended != nil || l.conn.err != nil {
		return errLinkEnded
	}
	sh := s.sharing
	sh.link = l
	base := l.conn.session
	s.rules, s.server, s.noMulti = base.rules, base.server, base.noMulti
	l.seats[s] = struct{}{}
	s.placed()
	l.collect(s, true)
	l.flushed()
	return nil
}

// Detach takes a session off whose Want is due.
func (l *Link) Detach(s *Session) {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	delete(l.seats, s)
	s.sharing.link = nil
}

// Leave takes a session off whose client has gone. What it has under way stays so: its replies come, and
// are dropped.
func (l *Link) Leave(s *Session) {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	s.sharing.gone = true
	if s.sharing.units == 0 {
		delete(l.seats, s)
	}
}

// With calls what with the lock held, and takes what a session then has to send.
func (l *Link) With(s *Session, what func()) {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	what()
	l.collect(s, true)
	l.flushed()
}

// Want is [Session.Want], with the lock held.
func (l *Link) Want(s *Session) (Want, bool) {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	return s.Want()
}

// SetSink gives a session another sink.
func (l *Link) SetSink(s *Session, sink Sink) {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	s.SetSink(sink)
}

// OnItsWay is the backlog of a session that goes from one place to another.
var OnItsWay = Backlog{Halted: true, Commands: 1, Unread: 1}

// Backlog tells what is held for the client of a session. One that has left the link is on its way.
func (l *Link) Backlog(s *Session) Backlog {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	if _, here := l.seats[s]; !here {
		return OnItsWay
	}
	b := s.Backlog()
	b.ToServer = len(l.conn.queued)
	return b
}

// Classes is how many commands of each class the client of a session has sent, while that sits here.
func (l *Link) Classes(s *Session) (n [classes]uint64, here bool) {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	if _, here = l.seats[s]; here {
		n = s.classes
	}
	return n, here
}

// Client gives a session bytes of its client.
func (l *Link) Client(s *Session, p []byte) {
	began := l.conn.began()
	defer l.conn.added(began)
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	if l.ended == nil && !s.sharing.gone {
		s.follow(began)
		_ = s.Client(p) // collect looks at it
		l.collect(s, true)
		s.written()
		l.flushed()
	}
}

// Output gives what is for the server, and takes the buffer of an earlier call in exchange: the caller has
// that one no more.
func (l *Link) Output(done []byte) []byte {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	return l.output(done)
}

func (l *Link) output(done []byte) []byte {
	c := l.conn
	for i, s := range l.waiting {
		s.sample.held = time.Since(s.sample.came) // with the wait for what others have to send
		l.waiting[i] = nil
	}
	l.waiting = l.waiting[:0]
	b := c.queued
	c.queued = nil
	if cap(done) <= maxKeptLink {
		c.queued = done[:0]
	}
	return b
}

// maxKeptLink bounds the memory that a link keeps for the next commands.
const maxKeptLink = 1 << 20

// flushed tells the shell if there is something for the server.
func (l *Link) flushed() {
	if len(l.conn.queued) > 0 && l.ended == nil && !l.taken {
		l.flush(l)
	}
}

// Received takes bytes of the server. An error means that the connection is of no more use: it is to be ended
// with [Link.End].
func (l *Link) Received(p []byte) error {
	began := l.conn.began()
	defer l.conn.added(began)
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	if l.follows > 0 {
		l.came = orNow(began)
	}
	for len(p) > 0 && l.ended == nil {
		n, err := l.hand(p)
		if err != nil {
			return fmt.Errorf("rekey: %w", err)
		}
		p = p[n:]
	}
	l.flushed()
	return nil
}

// hand gives the bytes at the start of p to whom they belong.
func (l *Link) hand(p []byte) (n int, err error) {
	if l.pushing || p[0] == '>' && l.skip.Idle() {
		n, done, err := l.skip.Skip(p) // nobody here has asked for a push
		l.pushing = !done
		return n, err
	}
	u := l.units.front()
	if u == nil {
		return 0, errStep
	}
	for n < len(p) && u.replies > 0 {
		if p[n] == '>' && l.skip.Idle() {
			break
		}
		took, done, err := l.skip.Skip(p[n:])
		if err != nil {
			return 0, err
		}
		n += took
		if done {
			u.replies--
		}
	}
	err = l.serve(u, p[:n])
	l.idle() // also where the last unit was that of a client which has gone
	return n, err
}

// serve gives a session bytes of its own.
func (l *Link) serve(u *unit, p []byte) error {
	s := u.session
	ends, until := u.replies == 0, u.until
	if u.followed {
		s.sample.came = l.came
	}
	if ends {
		if u.followed {
			l.follows--
		}
		l.units.pop()
		s.sharing.units--
	}
	switch {
	case s.sharing.gone && ends && s.sharing.units == 0:
		delete(l.seats, s)
		return nil
	case s.sharing.gone, s.err != nil:
		return nil
	case s.q.went >= until:
		return errStep
	}
	begins, went := s.quiet(), s.q.went
	s.table = s.rules.Table()
	s.take(p)
	if inside := !s.quiet(); s.unasked || s.q.answered > until || ends && (inside || s.q.went < until) || inside && s.q.went >= until {
		return errStep
	}
	s.given()
	if s.err == nil {
		s.pump()
	}
	l.collect(s, begins || s.q.went > went)
	return nil
}

// idle tells the session that waits for the connection itself when nothing is under way any more.
func (l *Link) idle() {
	if l.units.size > 0 || !l.retired {
		return
	}
	for s := range l.seats {
		if w, due := s.Want(); due && w.Taken {
			s.sharing.sink.Due()
		}
	}
}

// collect takes what a session has for both sides. begins is that of [Sink.Replies].
func (l *Link) collect(s *Session, begins bool) {
	sh := s.sharing
	toServer, toClient := s.Output()
	if s.sent > 0 {
		l.units.push(unit{s, s.sent, s.q.came, s.sample.open})
		if s.sample.open {
			l.follows++
			l.waiting = append(l.waiting, s)
		}
		s.sent = 0
		sh.units++
		l.conn.queued = append(l.conn.queued, toServer...)
	}
	if sh.gone || sh.told {
		return
	}
	if sh.sink.Replies(toClient, begins) {
		sh.behind = true
	}
	if s.err != nil {
		sh.told = true
		sh.sink.Ended(s.err)
		return
	}
	if _, due := s.Want(); due {
		sh.sink.Due()
	}
}

// End ends the link and everybody on it.
func (l *Link) End(reason error) {
	_ = l.conn.Close() // the reason is what is told
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	if l.ended != nil || l.taken {
		return
	}
	if l.conn.err != nil && IsEnded(l.conn.err) {
		reason = l.conn.err
	}
	l.ended, l.retired = reason, true
	for s := range l.seats {
		if sh := s.sharing; !sh.gone && !sh.told {
			sh.told = true
			sh.sink.Ended(reason)
		}
	}
}

// oldest is the version of the oldest table under which something is under way. The lock is held.
func (l *Link) oldest() uint64 {
	oldest := uint64(Never)
	for s := range l.seats {
		oldest = min(oldest, s.Oldest())
	}
	return oldest
}

// Adopt gives a connection that nothing was sent on to a session whose Want of one of its own is due.
func (c *Conn) Adopt(s *Session) {
	c.mu.Lock()
	s.rules, c.session = c.session.rules, s
	s.adopted(c.hooks.Admit != nil)
	c.adopted()
}

// Take gives the connection of a link to a session whose Want for it is due. Whatever else sits on it goes
// elsewhere with its next command. Nobody reads from it any more. It is given once.
func (l *Link) Take(s *Session) (*Conn, error) {
	c := l.conn
	c.mu.Lock()
	if l.taken {
		c.mu.Unlock()
		return nil, errLinkEnded
	}
	base := c.session
	l.taken = true
	delete(l.seats, s)
	s.sharing.wanting, s.sharing = false, nil
	s.learned, s.askedID, s.id = true, true, base.id
	s.table = s.rules.Table()
	c.session = s
	s.unstall()
	s.settle()
	s.pump()
	c.adopted()
	return c, nil
}

// adopted passes on what a session that came to the connection has for both sides. It gives the lock up.
func (c *Conn) adopted() {
	toServer, toClient := c.session.Output()
	err := c.session.err
	c.give(toClient)
	c.enqueue(toServer, false)
	_ = c.drain(nil) // a failed write is kept in c.err, which Read looks at
	if err != nil {
		c.fail(err)
	}
}
