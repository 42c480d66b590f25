package intercept

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/internal/rewrite"
	"github.com/classwaves/rekey/phase"
)

// learnFirst asks the server, before the first command of the application that could
// need it, what the rewriting must know: the version, whether it evicts, whether the
// user may use MULTI. Connections that see only parked rules ask for their number
// alone, see [Session.learnID].
func (s *Session) learnFirst() bool {
	if s.sharing != nil || s.learned || s.locked != nil || s.multi != nil || s.proto == 2 && s.subs.any() || s.monitoring {
		return false
	}
	if s.table.parked {
		return s.learnID()
	}
	s.learnAll()
	s.cachingAgain()
	return true
}

// learnAll asks for everything.
func (s *Session) learnAll() {
	s.learned = true
	s.stall()
	s.askID(func() {})
	watching := s.watch != nil
	s.question(func(reply []byte) {
		s.server = serverOf(reply, s.rules.Evicts)
		s.sentinel = isSentinel(reply)
		if watching {
			s.learnedAll()
		}
	})
	s.sendText("*1\r\n$4\r\nINFO\r\n")
	if watching { // an EXEC of ours would end it
		return
	}
	s.question(func(reply []byte) {
		s.noMulti = ""
		if reply[0] == '-' {
			s.noMulti = string(bytes.TrimSpace(reply[1:]))
		}
	})
	s.sendText(wireMulti)
	s.question(func(reply []byte) {
		if h, _, err := resp.ReadHeader(reply); err == nil && h.Type == '-' && s.noMulti == "" {
			s.noMulti = string(cause(h))
		}
		s.learnedAll()
	})
	s.sendText(wireExec)
}

// learnID asks for the connection's CLIENT ID before anything of the application is on
// its way. Bytes outlive a socket: when the connection is closed with replies
// outstanding, only the server can tell that they do nothing any more, by CLIENT KILL ID.
// The address that is seen here may not be the server's name for the connection (a proxy,
// a unix socket), and after the close it is too late to ask.
func (s *Session) learnID() bool {
	if s.id != 0 || s.askedID || s.rules.Set.Len() == 0 {
		return false
	}
	s.stall()
	if !s.rules.Sentinels {
		s.askID(s.learnedAll)
		return true
	}
	s.askID(func() {})
	s.question(func(reply []byte) {
		s.sentinel = isSentinel(reply)
		s.learnedAll()
	})
	s.sendText("*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n")
	return true
}

// askID asks for the CLIENT ID, if it is not known.
func (s *Session) askID(then func()) {
	s.askedID = true
	if s.id != 0 {
		then()
		return
	}
	s.question(func(reply []byte) {
		if v, _, err := resp.Parse(reply); err == nil && v.Type == ':' {
			s.id = v.Int
		}
		if bytes.HasPrefix(reply, []byte("-NOAUTH ")) {
			s.locked = bytes.Clone(reply)
		}
		then()
	})
	s.sendText("*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n")
}

// question adds an entry for a question of the session's own that touches no key, so that
// nothing has to wait for its answer.
func (s *Session) question(then func(reply []byte)) {
	s.internal(func(reply []byte) {
		if turnedAway(reply) {
			s.farewell = bytes.Clone(reply)
			s.emitNow(reply, false)
			return // and waits for the end of the connection
		}
		then(reply)
	})
	s.q.last().version = Never
}

// turnedAway says that a server has answered no question, but has said why it takes no client, in front of closing the
// connection: it has enough of them, or takes none from another machine (protected mode).
func turnedAway(reply []byte) bool {
	return bytes.HasPrefix(reply, []byte("-ERR max number of clients")) || bytes.HasPrefix(reply, []byte("-DENIED "))
}

// serverOf reads INFO. What it does not say is taken for the worse.
func serverOf(info []byte, evicts *bool) (t rewrite.Server) {
	text, _ := infoText(info)
	version, policy := "", ""
	valkey := false
	for line := range strings.SplitSeq(text, "\r\n") {
		name, v, _ := strings.Cut(line, ":")
		switch name {
		case "redis_version":
			version = v
		case "valkey_version":
			valkey = true
		case "maxmemory_policy":
			policy = v
		}
	}
	t.Frozen = valkey || atLeast(version, 7, 2)
	switch {
	case policy != "":
		t.Evicts = policy != "noeviction" || evicts != nil && *evicts
	case evicts != nil:
		t.Evicts = *evicts
	default:
		t.Evicts = true
	}
	return t
}

// isSentinel reads INFO. A sentinel has no keys, and its numbers of connections are not those of the server that has.
func isSentinel(info []byte) bool {
	text, _ := infoText(info)
	return strings.Contains(text, "\r\nredis_mode:sentinel\r\n") || strings.Contains(text, "\r\nserver_mode:sentinel\r\n")
}

// infoText is the text of a bulk or verbatim string.
func infoText(reply []byte) (string, bool) {
	v, _, err := resp.Parse(reply)
	if err != nil || v.Type != '$' && v.Type != '=' {
		return "", false
	}
	return string(v.Str), true
}

func atLeast(version string, major, minor int) bool {
	a, rest, _ := strings.Cut(version, ".")
	b, _, _ := strings.Cut(rest, ".")
	x, err1 := strconv.Atoi(a)
	y, err2 := strconv.Atoi(b)
	return err1 == nil && err2 == nil && (x > major || x == major && y >= minor)
}

// lookup finds a command that the server was asked for.
func (s *Session) lookup(args [][]byte) (*command.Command, bool) {
	c, ok := s.rules.Learned.lookup(strings.ToLower(string(args[0])))
	if ok {
		c = c.Resolve(args)
	}
	return c, ok
}

// maxName bounds the names of commands that the server is asked for.
const maxName = 128

// ask asks the server for a command that the table does not know; the command waits.
// Where all rules are at legacy nothing has to be known of one without a target name.
//
// SENTINEL is what a client asks a sentinel, which it dials like its server. It is about no keys, and a server that has
// keys does not know it, so no change of phase waits for its reply: a sentinel may be gone for good.
func (s *Session) ask(args [][]byte) bool {
	switch {
	case s.multi == nil && strings.EqualFold(string(args[0]), "sentinel"):
		s.pass(resp.AppendCommand(nil, args...)).version = Never
		return true
	case !s.holds() || s.asWritten(args):
		s.pass(resp.AppendCommand(nil, args...))
		return true
	case len(args[0]) > maxName:
		s.refuse(-1, ReasonUnknown, "rekey: a command name of more than 128 bytes")
		return true
	case s.multi != nil:
		s.refuse(-1, ReasonUnknown, "rekey: the command "+printable(args[0])+" is not known; send it once outside of MULTI, so that the server can be asked for its keys")
		return true
	}
	name := strings.ToLower(string(args[0]))
	s.stall()
	s.internal(func(reply []byte) {
		s.unstall()
		v, _, err := resp.Parse(reply)
		switch {
		case err == nil && v.Type == '*' && len(v.Elems) == 1 && v.Elems[0].Null,
			err == nil && v.Type == '*' && len(v.Elems) == 0:
			s.said = unknown
		case err == nil && v.Type == '*' && len(v.Elems) == 1:
			if c, err := command.FromInfo(infoValue(v.Elems[0])); err == nil {
				s.rules.Learned.store(name, c)
				return
			}
			s.said = denied
		default: // not even the server may be asked: nothing is passed in silence
			s.said = denied
		}
	})
	s.send([]byte("COMMAND"), []byte("INFO"), []byte(name))
	s.cachingAgain()
	return false
}

// asWritten says that a command of which nothing is known can go as the client wrote it: all rules are at legacy, and
// no word is a target name.
func (s *Session) asWritten(args [][]byte) bool {
	if !s.current().legacy {
		return false
	}
	for _, a := range args[1:] {
		if rule, target := s.rules.Set.Find(a); rule >= 0 && target {
			return false
		}
	}
	return true
}

// These stand for what the server does not describe. They hold for the call about which it was asked and are not
// remembered: a module may be loaded, a newer server may take over, another user may be told.
var (
	unknown = new(command.Command) // to the server as well
	denied  = new(command.Command) // it says nothing of it, now or to this user
)

// askKeys asks the server for the keys of one call, where its own description of the
// command does not tell them; the call waits.
func (s *Session) askKeys(args [][]byte) bool {
	s.stall()
	s.tellKeys(args, func(told *toldKeys) {
		s.unstall()
		s.told = told
	})
	return false
}

// tellKeys asks for the keys of one call.
func (s *Session) tellKeys(args [][]byte, then func(*toldKeys)) {
	name := printable(args[0])
	s.internal(func(reply []byte) {
		told := &toldKeys{}
		v, _, err := resp.Parse(reply)
		switch {
		case err == nil && v.Type == '*':
			for _, e := range v.Elems {
				told.names = append(told.names, bytes.Clone(e.Str))
			}
		case err == nil && v.Type == '-' && bytes.Contains(v.Str, []byte("no key arguments")):
		default:
			told.err = "rekey: the server does not tell the keys of " + name
		}
		then(told)
	})
	s.send(append([][]byte{[]byte("COMMAND"), []byte("GETKEYS")}, args...)...)
	s.cachingAgain()
}

// toldKeys is what the server said of the keys of the next command.
type toldKeys struct {
	names [][]byte
	err   string
}

// find gives the places of the told names in a command. All of them may be written.
func (t *toldKeys) find(dst []command.Key, args [][]byte) []command.Key {
	for i := 1; i < len(args); i++ {
		if t.tells(args[i]) > 0 {
			dst = append(dst, command.Key{Arg: i, Access: command.AccessRead | command.AccessWrite})
		}
	}
	return dst
}

// tells is how often the server told a name.
func (t *toldKeys) tells(name []byte) (n int) {
	for _, told := range t.names {
		if bytes.Equal(told, name) {
			n++
		}
	}
	return n
}

// hidden is the rule of a key among the told names that would have to be renamed and cannot be found: it is there
// more often than it was told, and which of the words is the key nobody says. NoRule where there is none.
func (s *Session) hidden(args [][]byte) int {
	for _, name := range s.told.names {
		rule, target := s.rules.Set.Find(name)
		if rule < 0 {
			continue
		}
		if p := s.current().Phase(rule); p == phase.Legacy && !target || p == phase.Prefixed && target {
			continue
		}
		words := 0
		for _, a := range args[1:] {
			if bytes.Equal(a, name) {
				words++
			}
		}
		if words > s.told.tells(name) {
			return rule
		}
	}
	return rewrite.NoRule
}

func printable(b []byte) string { return strconv.Quote(string(b)) }

// infoValue gives a reply to the command package, which knows no RESP.
func infoValue(v resp.Value) command.Value {
	out := command.Value{Text: string(v.Str), Int: v.Int}
	for _, e := range v.Elems {
		out.List = append(out.List, infoValue(e))
	}
	return out
}
