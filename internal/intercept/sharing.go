package intercept

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/resp"
)

// A session shares connections until its client needs one of its own.
//
// While it shares it sits on a [Link], or on none. In front of each command it says which place the
// command needs: a link of the client's own user and protocol, or a connection that is the
// client's alone. Where it does not sit there it reads no further, and what it wants is due when all
// that it has sent is answered: so the order of a client's commands and replies is kept from one
// place to the next, and no reply can come to a place that was left. Once it has a connection of its
// own it is a session as any other, and stays there.

// LinkKey is what sessions on one link have in common, beside the database, which is 0.
type LinkKey struct {
	Login string // the AUTH by which the user came in, as it goes over the wire; "" without one
	Proto int    // the protocol: 2 or 3
}

// Want is the place that a session wants for its next command.
type Want struct {
	Key LinkKey
	// Own: a connection of its own. Taken: the one on which it sits, for its own, because the command
	// speaks of what was sent there before (WAIT).
	Own, Taken bool
}

// Sink is where a session that shares gives what it has for its client. The methods are called with the
// link's lock held: they do not wait, and call neither the link nor the session.
type Sink interface {
	// Replies takes bytes for the client, which are valid until it returns; there may be none, when
	// the session's backlog has changed. begins says that not all of them belong to a reply that had
	// begun before.
	// behind says that the client takes too little of them to share a connection any longer.
	Replies(b []byte, begins bool) (behind bool)
	// Due is told that the session's Want can be served now.
	Due()
	// Ended is told that the session has ended, or its link.
	Ended(err error)
}

// sharing is what a session that shares has beside others.
type sharing struct {
	link    *Link // nil: it waits for a place
	sink    Sink
	units   int    // of its own that are under way on the link
	login   string // of LinkKey
	want    Want
	wanting bool
	behind  bool
	refusal []byte   // what the server says to the command that comes next
	infos   [][]byte // CLIENT SETINFO that the server has taken
	let     bool     // the server takes it without a login
	barred  bool     // it does not, as the command that comes next is told
	gone    bool     // its client has gone; its replies are still to come
	told    bool     // the sink knows that it has ended
}

// maxSharedCommands bounds the commands of one client that are outstanding on a shared connection. More of
// them are as fast on one of its own, and here everybody would wait behind them.
const maxSharedCommands = 256

// maxSharedRequest bounds a command that shares a connection, for the same reason. It is also less than the
// least value of the server's proto-max-bulk-len, by which it closes a connection.
const maxSharedRequest = 512 << 10

// ErrQuit ends a session whose client has said QUIT.
var ErrQuit = errors.New("rekey: the client has said QUIT")

// errStep says that replies do not fit what was sent: nobody knows any more whose they are.
var errStep = errors.New("the server's replies are out of step with the commands of the shared connection")

// NewSharing makes the session of a client that shares connections. It has the rules of the one to which it
// comes first.
func NewSharing(sink Sink, limits resp.Limits, now func() time.Time) *Session {
	nowhere := new(Rules)
	nowhere.SetTable(new(Table))
	s := NewSession(nowhere, now)
	s.sharing = &sharing{sink: sink}
	s.scan.Limits = limits
	return s
}

// SetSink gives the session another sink.
func (s *Session) SetSink(sink Sink) { s.sharing.sink = sink }

// Want is the place that the session wants. due says that nothing of it is under way at the one where it is.
func (s *Session) Want() (w Want, due bool) {
	sh := s.sharing
	if sh == nil || !sh.wanting || s.err != nil {
		return Want{}, false
	}
	due = s.q.size == 0 && sh.units == 0
	if sh.want.Taken && sh.link != nil {
		due = due && sh.link.units.size == 0 // nor of anybody else
	}
	return sh.want, due
}

// Refuse answers the command for which the session wanted a place with what the server said to its login, or to
// the want of one.
func (s *Session) Refuse(reply []byte) error {
	s.sharing.refusal = reply
	s.placed()
	return s.err
}

// placed lets the session go on.
func (s *Session) placed() {
	if sh := s.sharing; sh.wanting {
		sh.wanting = false
		s.unstall()
	}
	s.table = s.rules.Table()
	s.settle()
	s.pump()
}

// held says that no more commands are read before replies have come.
func (s *Session) held() bool { return s.sharing != nil && s.q.size >= maxSharedCommands }

// placing is what a session that shares does with a command.
type placing uint8

const (
	here      placing = iota // it is sent from where the session is
	elsewhere                // it is to be given again at another place
	answered                 // there is nothing to be sent
)

// place says where the command at hand is to be sent from.
func (s *Session) place(c *command.Command, known bool, raw []byte, args [][]byte) placing {
	sh := s.sharing
	want := Want{Key: LinkKey{sh.login, s.proto}}
	switch {
	case sh.refusal != nil:
		s.answer(sh.refusal)
		sh.refusal = nil
		s.classes[command.ClassSession]++
		return answered
	case sh.barred && c.Name == "hello": // the server has words of its own for it
		sh.barred, want.Own = false, true
	case sh.barred:
		sh.barred = false
		s.answer([]byte(noAuth))
		s.classes[command.ClassSession]++
		return answered
	case !known || sh.behind || len(raw) > maxSharedRequest:
		want.Own = true
	case c.Name == "auth" || c.Name == "hello":
		want.Key, want.Own = s.loginKey(c, args)
	case c.Name == "quit":
		s.quit()
		return answered
	case (c.Name == "wait" || c.Name == "waitaof") && sh.link != nil && sh.link.retired:
		// Another client has the connection on which this one wrote, or will have it, and no other one can
		// speak of that.
		s.ending = errLinkEnded
		s.settle()
		return answered
	case c.Name == "wait" || c.Name == "waitaof":
		want.Own, want.Taken = true, sh.link != nil && (sh.let || sh.login != "") // else it has written nothing there
	case c.Name == "select" && len(args) == 2 && string(args[1]) == "0", c.Name == "client setinfo":
	default:
		want.Own = !c.Plain(args)
	}
	if !want.Own && sh.link != nil && sh.link.key == want.Key && !sh.link.retired {
		if want.Key.Login == "" && !sh.let {
			s.vet()
			return elsewhere
		}
		return here
	}
	s.seek(want)
	return elsewhere
}

// vet asks whether the server takes a client that has not logged in, once in front of its first command. That the
// link is without a login says nothing: it may have come before the server wanted one (requirepass, ACL SETUSER
// default), and stays what it is. That user takes any password while it has none, and a wrong one changes nothing.
func (s *Session) vet() {
	sh := s.sharing
	s.stall()
	s.question(func(reply []byte) {
		sh.barred = bytes.HasPrefix(reply, []byte("-WRONGPASS"))
		sh.let = !sh.barred
		s.unstall()
	})
	s.sendText("*3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$0\r\n\r\n")
}

// noAuth is what the server says to who has not logged in.
const noAuth = "-NOAUTH Authentication required.\r\n"

// seek wants a place, and reads no further.
func (s *Session) seek(want Want) {
	sh := s.sharing
	if sh.wanting {
		return
	}
	sh.want, sh.wanting = want, true
	s.stall()
	if want.Taken {
		sh.link.retired = true
	}
}

// quit answers QUIT, which the server would answer by closing everybody's connection.
func (s *Session) quit() {
	e := s.push(kindLocal)
	e.local = append(e.local, "+OK\r\n"...)
	s.ending = ErrQuit
	s.classes[command.ClassSession]++
	s.settle()
}

// loginKey is the key of the link on which the server is asked about an AUTH or a HELLO. own says that
// the call does something else as well.
func (s *Session) loginKey(c *command.Command, args [][]byte) (key LinkKey, own bool) {
	key = LinkKey{s.sharing.login, s.proto}
	if c.Name == "auth" {
		if len(args) != 2 && len(args) != 3 {
			return key, true
		}
		key.Login = string(resp.AppendCommand(nil, append([][]byte{[]byte("AUTH")}, args[1:]...)...))
		return key, false
	}
	switch {
	case len(args) == 1:
		return key, false
	case string(args[1]) == "2", string(args[1]) == "3":
		key.Proto = int(args[1][0] - '0')
	default:
		return key, true
	}
	switch {
	case len(args) == 2:
		return key, false
	case len(args) == 5 && strings.EqualFold(string(args[2]), "auth"):
		key.Login = string(resp.AppendCommand(nil, []byte("AUTH"), args[3], args[4]))
		return key, false
	}
	return key, true
}

// loggedIn notes the login that the server has accepted of a session that shares; it is called with the
// arguments of before.
func (s *Session) loggedIn(c *command.Command, args [][]byte) (accepted func()) {
	if s.sharing == nil {
		return func() {}
	}
	key, _ := s.loginKey(c, args)
	return func() { s.sharing.login = key.Login }
}

// setInfo handles CLIENT SETINFO of a session that shares: it names the client's library, for whoever looks
// at the server's list of clients. A connection of its own is told again.
func (s *Session) setInfo(raw []byte, args [][]byte) {
	again := resp.AppendCommand(nil, args...)
	s.wait(raw, func(reply []byte) {
		if isOK(reply) && s.sharing != nil && len(s.sharing.infos) < maxInfos {
			s.sharing.infos = append(s.sharing.infos, again)
		}
	})
}

// maxInfos bounds what is kept of a client that names its library again and again.
const maxInfos = 8

// quiet says that the session is not inside of a command's replies.
func (s *Session) quiet() bool { return len(s.part) == 0 && !s.value.on && !s.fold.begun }

// introduce sends what makes a connection that of a client.
func (s *Session) introduce(key LinkKey, infos [][]byte, then func(refusal []byte)) {
	var refusal []byte
	left := 1
	step := func(must bool) func([]byte) {
		left++
		return func(reply []byte) {
			if must && reply[0] == '-' && refusal == nil {
				refusal = bytes.Clone(reply)
			}
			if left--; left == 0 {
				then(refusal)
			}
		}
	}
	if key.Login != "" {
		s.question(step(true))
		s.sendText(key.Login)
	}
	if key.Proto == 3 {
		s.question(step(true))
		s.sendText("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n")
	}
	for _, info := range infos {
		s.question(step(false))
		s.forward(info)
	}
	if left--; left == 0 {
		then(refusal)
	}
}

// adopted makes the session one with a connection of its own, which nothing was sent on yet.
func (s *Session) adopted(admission bool) {
	sh := s.sharing
	s.sharing = nil
	s.learned, s.askedID, s.id, s.admission, s.joining = false, false, 0, admission, true
	s.table = s.rules.Table()
	key := LinkKey{sh.login, s.proto}
	s.introduce(key, sh.infos, func(refusal []byte) {
		if refusal != nil {
			s.fail(&ServerError{Op: "AUTH", Text: string(bytes.TrimSpace(refusal[1:]))})
			return
		}
		s.unstall() // of seek
		if !s.learnFirst() {
			s.joined()
		}
	})
	if s.err == nil {
		s.pump()
	}
}

// joined lets what waits for the session's own connection be sent.
func (s *Session) joined() {
	if s.joining {
		s.joining = false
		s.settle()
	}
}
