package intercept

import (
	"math"
	"slices"
	"time"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/internal/rewrite"
)

// Session is the state of one connection. It is not safe for concurrent use.
type Session struct {
	rules *Rules
	now   func() time.Time
	table *Table

	// What the client has made of its connection.
	db         int
	highest    int // database that the server has been seen to have: those below are there as well
	proto      int
	multi      *multi
	watch      *Table // the table at the first WATCH, nil without one
	unwatched  bool   // the WATCH was given up: its EXEC will answer nil
	tracking   bool
	prefixes   [][]byte // of client-side caching in broadcasting mode
	broadcast  [][]byte // these, and what was added to them
	redirect   int64    // CLIENT ID that gets the invalidations, 0: this one
	replyMode  replyMode
	caching    string // YES or NO of the CLIENT CACHING that holds for the next command, "" without
	subs       subscriptions
	monitoring bool
	auth       []byte // the last AUTH or HELLO that the server accepted

	// What is known of the server, by asking on this connection.
	learned  bool
	askedID  bool // for the CLIENT ID, since the last login
	server   rewrite.Server
	id       int64 // CLIENT ID, 0 while unknown
	noMulti  string
	sentinel bool   // it is a sentinel
	locked   []byte // the server's NOAUTH to the questions in front of the command at hand
	farewell []byte // what it said in front of closing the connection, see turnedAway

	admission bool // somebody must be asked before the first command
	admitting bool // somebody is being asked

	said *command.Command // unknown or denied: of the next command, where the server had to be asked
	told *toldKeys        // its keys, where the server had to be asked for them

	// Bytes of the client that are not read yet: an incomplete command, or more than
	// one while the session is stalled.
	in      []byte
	inFrom  int
	scan    resp.RequestScanner
	stalled int

	// Memory of the command at hand.
	args  [][]byte
	at    []command.Key
	keys  []rewrite.Key
	names []byte
	// steady: the phases want nothing but the names that the client wrote.
	steady bool
	lines  rewrite.Builder

	toServer []byte
	toClient []byte
	client   verbatim
	serverIn verbatim

	q     queue
	part  []byte // bytes of the server whose first line is incomplete
	value value
	fold  fold
	hold  []byte // a reply that is taken whole
	one   [1]byte

	retries []retry
	block   *blocked
	// unblocking: CLIENT UNBLOCK was sent for this connection, and has ended nothing yet.
	unblocking bool
	flush      bool // client-side caches are to be emptied
	// ending: no more commands are read, and err follows when all replies have come.
	ending error
	err    error
	// leaving: see Leave.
	leaving bool

	sharing *sharing // nil where the session has a connection of its own
	joining bool     // it has one now, which is not admitted yet
	sent    int      // commands for the server since the link has taken them
	unasked bool     // something came that nobody asked for

	classes [classes]uint64 // commands of the client by class
	sample  sample
}

// verbatim is a prefix of the bytes at hand that passes as it is, so that nothing is
// copied where nothing is rewritten.
type verbatim struct {
	from []byte
	n    int
	on   bool
}

// NewSession makes the session of a new connection. now tells the time for blocking
// commands that are tried again.
func NewSession(rules *Rules, now func() time.Time) *Session {
	return &Session{rules: rules, now: now, table: rules.Table(), proto: 2}
}

// Client takes bytes of the client. An error means that the connection is of no more
// use; what Output gives is still to be sent.
func (s *Session) Client(p []byte) error {
	if s.err != nil || s.ending != nil {
		return s.err
	}
	s.table = s.rules.Table()
	if s.stalled == 0 && len(s.in) == 0 {
		s.client = verbatim{from: p, on: len(s.toServer) == 0}
		n := s.read(p)
		p = p[n:]
	}
	if len(p) > 0 && s.err == nil && s.ending == nil {
		// Room for the rest of a long word, but on the word of bytes that are here, not of a
		// length that was announced.
		need := s.scan.Need(len(s.in) - s.inFrom)
		s.in = slices.Grow(s.in, max(len(p), min(need, 2*len(p))))
		s.in = append(s.in, p...)
		s.pump()
	}
	return s.err
}

// read takes complete commands off p, without copying them first.
func (s *Session) read(p []byte) (n int) {
	for n < len(p) && s.stalled == 0 && s.err == nil && s.ending == nil && !s.held() {
		if s.learnFirst() {
			break
		}
		took, args, err := resp.ParseRequest(p[n:], s.args, s.scan.Limits)
		s.args = args
		if err != nil {
			s.protocolError(err)
			break
		}
		if took == 0 || !s.command(p[n:n+took], args) {
			break
		}
		n += took
	}
	return n
}

// pump takes complete commands off what has been kept.
func (s *Session) pump() {
	for s.inFrom < len(s.in) && s.stalled == 0 && s.err == nil && s.ending == nil && !s.held() {
		if s.learnFirst() {
			break
		}
		complete, err := s.scan.Scan(s.in[s.inFrom:])
		if err != nil {
			s.protocolError(err)
			break
		}
		if !complete {
			break
		}
		s.args = s.scan.Args(s.args, s.in[s.inFrom:])
		if !s.command(s.in[s.inFrom:s.inFrom+s.scan.Len()], s.args) {
			s.scan.Reset()
			break
		}
		s.inFrom += s.scan.Len()
	}
	s.left()
	switch {
	case s.inFrom == len(s.in):
		s.in, s.inFrom = s.in[:0], 0
		if cap(s.in) > maxKept {
			s.in = nil
		}
	case s.inFrom > len(s.in)/2:
		s.in = s.in[:copy(s.in, s.in[s.inFrom:])]
		s.inFrom = 0
	}
}

// protocolError answers as the server would: behind the replies that are still to come,
// and then the connection ends.
func (s *Session) protocolError(err error) {
	e := s.push(kindLocal)
	e.local = resp.AppendError(e.local, "ERR "+err.Error())
	s.ending = err
	s.settle()
}

// Output gives the bytes for the server and for the client, which are valid until
// the next call of the session, and forgets them.
func (s *Session) Output() (toServer, toClient []byte) {
	toServer, toClient = s.toServer, s.toClient
	if s.client.on {
		toServer = s.client.from[:s.client.n]
	}
	if s.serverIn.on {
		toClient = s.serverIn.from[:s.serverIn.n]
	}
	s.client, s.serverIn = verbatim{}, verbatim{}
	s.toServer, s.toClient = reuse(s.toServer), reuse(s.toClient)
	return toServer, toClient
}

// Swap gives the session another buffer in the place of the bytes for the server that
// Output gave last, which are the caller's own then.
func (s *Session) Swap(buffer []byte) { s.toServer = buffer[:0] }

func reuse(b []byte) []byte {
	if cap(b) > maxKept {
		return nil
	}
	return b[:0]
}

// Never is the version that [Session.Oldest] gives when nothing is under way.
const Never = math.MaxUint64

// Oldest is the version of the oldest table under which something is under way on
// this connection: a command whose reply has not come, an open MULTI, a WATCH. A sentinel has
// no keys, so nothing is on a connection to one.
func (s *Session) Oldest() uint64 {
	if s.sentinel {
		return Never
	}
	oldest := uint64(Never)
	for _, r := range s.retries {
		oldest = min(oldest, r.entry.version)
	}
	for i := range s.q.size {
		oldest = min(oldest, s.q.at(i).version)
	}
	if s.multi != nil && !s.multi.aborted {
		oldest = min(oldest, s.multi.table.Version)
	}
	if s.watch != nil && !s.unwatched {
		oldest = min(oldest, s.watch.Version)
	}
	return oldest
}

// Abandon gives up what the application holds open under tables before a version, without the
// server: the EXEC of its MULTI will answer EXECABORT, that of its WATCH nil. Nothing of either has
// run, and now nothing will. Commands whose replies have not come stay under way.
func (s *Session) Abandon(version uint64) {
	if s.multi != nil && s.multi.table.Version < version {
		s.multi.aborted = true
	}
	if s.watch != nil && s.watch.Version < version {
		s.unwatched = true
	}
}

// forward sends bytes of the client as they are. On a shared connection the command at hand is written
// anew: should the server ever read other borders in the client's bytes than we do, the replies of
// everybody behind it would be another's.
func (s *Session) forward(raw []byte) {
	if s.sharing != nil {
		s.send(s.args...)
		return
	}
	s.sent++
	if c := &s.client; c.on {
		if end := c.n + len(raw); end <= len(c.from) && len(raw) > 0 && &c.from[c.n] == &raw[0] {
			c.n = end
			return
		}
	}
	s.toServer = append(s.server0(), raw...)
}

// server0 is the buffer for the server, with what passes verbatim copied into it.
func (s *Session) server0() []byte {
	if s.client.on {
		s.toServer = append(s.toServer, s.client.from[:s.client.n]...)
		s.client = verbatim{}
	}
	return s.toServer
}

// send sends a command.
func (s *Session) send(args ...[]byte) {
	s.sent++
	s.toServer = resp.AppendCommand(s.server0(), args...)
}

// sendText sends one command of words without arguments of the client.
func (s *Session) sendText(words string) {
	s.sent++
	s.toServer = append(s.server0(), words...)
}

// Fixed commands as they go over the wire.
const (
	wireMulti   = "*1\r\n$5\r\nMULTI\r\n"
	wireExec    = "*1\r\n$4\r\nEXEC\r\n"
	wireDiscard = "*1\r\n$7\r\nDISCARD\r\n"
	// wireBroken is a command without its arguments: inside MULTI it makes the server
	// refuse the transaction.
	wireBroken = "*1\r\n$3\r\nGET\r\n"
)

// emit gives bytes to the client, behind what must come before them.
func (s *Session) emit(b []byte, mute bool) {
	if mute || len(b) == 0 {
		return
	}
	if n := len(s.retries); n > 0 {
		s.retries[n-1].after = append(s.retries[n-1].after, b...)
		return
	}
	if v := &s.serverIn; v.on {
		if end := v.n + len(b); end <= len(v.from) && &v.from[v.n] == &b[0] {
			v.n = end
			return
		}
	}
	s.toClient = append(s.client0(), b...)
}

func (s *Session) client0() []byte {
	if s.serverIn.on {
		s.toClient = append(s.toClient, s.serverIn.from[:s.serverIn.n]...)
		s.serverIn = verbatim{}
	}
	return s.toClient
}

// push adds an entry for a command that is sent now.
func (s *Session) push(k kind) *entry {
	e := s.q.push()
	e.kind, e.version, e.mute = k, s.table.Version, s.replyMode.take()
	s.caching = ""
	if s.multi != nil {
		e.version = s.multi.table.Version
	}
	return e
}

// internal adds an entry for a command of the session's own: its reply is held, never
// seen by the application, and given to then.
func (s *Session) internal(then func(reply []byte)) {
	e := s.q.push()
	e.kind, e.version, e.mute, e.then, e.count = kindCapture, s.table.Version, true, then, 1
}

// answer answers the command at hand without asking the server.
func (s *Session) answer(b []byte) {
	e := s.push(kindLocal)
	e.local = append(e.local, b...)
	s.settle()
}

// refuse answers the command at hand with an error of rekey's own. Inside the
// application's MULTI the transaction must fail with it.
func (s *Session) refuse(rule int, reason Reason, text string) {
	s.rules.Stats.refused(rule, reason)
	if s.multi == nil {
		s.answer(resp.AppendError(nil, text))
		return
	}
	e := s.push(kindCapture)
	e.count = 1
	s.sendText(wireBroken)
	mute := e.mute
	e.then = func([]byte) { s.emit(resp.AppendError(nil, text), mute) }
}

// Halted says that no more commands are taken before the server has answered something,
// which it does without delay: a blocking command is not meant.
func (s *Session) Halted() bool { return s.stalled > 0 && s.block == nil && s.err == nil }

// stall stops the reading of commands until unstall.
func (s *Session) stall()   { s.stalled++ }
func (s *Session) unstall() { s.stalled-- }
