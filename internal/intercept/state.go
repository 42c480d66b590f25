package intercept

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/resp"
)

// replyMode is what CLIENT REPLY asked for. It is never forwarded: the session needs
// every reply to know where the next begins.
type replyMode uint8

const (
	repliesOn replyMode = iota
	repliesOff
	repliesSkip // not the reply of the next command
)

// take says whether the command at hand stays without its reply.
func (m *replyMode) take() (mute bool) {
	switch *m {
	case repliesOff:
		return true
	case repliesSkip:
		*m = repliesOn
		return true
	}
	return false
}

// state handles the commands that change what later ones mean.
func (s *Session) state(c *command.Command, raw []byte, args [][]byte) bool {
	if c.Name != "exec" && !c.ArityHolds(len(args)) { // EXEC ends the transaction even so
		s.immediate(raw) // the server refuses it, also inside MULTI, and nothing changes
		return true
	}
	if s.multi != nil {
		return s.stateInMulti(c, raw, args)
	}
	switch c.Name {
	case "multi":
		s.beginMulti(raw)
	case "exec":
		s.exec(raw)
	case "discard":
		s.discard(raw)
	case "watch":
		s.startWatch(c, c.Use(args), raw, args)
	case "unwatch":
		s.endWatch()
		s.pass(raw)
	case "select":
		db, err := strconv.Atoi(string(args1(args)))
		s.wait(raw, func(reply []byte) {
			if err == nil && isOK(reply) {
				s.selected(db)
			}
		})
	case "hello":
		s.hello(c, raw, args)
	case "auth":
		login, accepted := bytes.Clone(raw), s.loggedIn(c, args)
		s.wait(raw, func(reply []byte) {
			if isOK(reply) {
				s.auth, s.learned, s.askedID = login, false, false
				accepted()
			}
		})
	case "reset":
		s.wait(raw, func(reply []byte) {
			if reply[0] == '+' {
				s.reset()
			}
		})
	case "monitor":
		s.wait(raw, func(reply []byte) { s.monitoring = isOK(reply) })
	case "subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe":
		s.subscribe(c.Name, raw, args)
	case "client reply":
		s.clientReply(raw, args)
	case "client tracking":
		s.clientTracking(raw, args)
	case "client setinfo":
		if s.sharing == nil {
			s.pass(raw)
			break
		}
		s.setInfo(raw, args)
	default:
		caching := s.caching
		s.pass(raw)
		if strings.HasPrefix(c.Name, "client ") {
			s.aboutClient(c, args, caching)
		}
	}
	return true
}

// args1 is the first argument, or nothing.
func args1(args [][]byte) []byte {
	if len(args) < 2 {
		return nil
	}
	return args[1]
}

func isOK(reply []byte) bool { return string(reply) == "+OK\r\n" }

// wait forwards a command and reads no further before its reply has come. then sees
// the reply; the command's arguments are gone then.
func (s *Session) wait(raw []byte, then func(reply []byte)) {
	e := s.push(kindCapture)
	e.count = 1
	mute := e.mute
	s.stall()
	e.then = func(reply []byte) {
		s.emit(reply, mute)
		then(reply)
		s.unstall()
	}
	s.forward(raw)
}

// hello handles HELLO, which switches the protocol and may log in.
func (s *Session) hello(c *command.Command, raw []byte, args [][]byte) {
	proto := s.proto
	if v, err := strconv.Atoi(string(args1(args))); err == nil {
		proto = v
	}
	login, accepted := bytes.Clone(raw), s.loggedIn(c, args)
	auth := hasWord(args, "auth")
	s.wait(raw, func(reply []byte) {
		if reply[0] == '-' {
			return
		}
		s.proto = proto
		if auth {
			s.auth, s.learned, s.askedID = login, false, false
			accepted()
		}
	})
}

func hasWord(args [][]byte, word string) bool {
	for _, a := range args[1:] {
		if strings.EqualFold(string(a), word) {
			return true
		}
	}
	return false
}

// reset is what RESET leaves of a connection.
func (s *Session) reset() {
	s.db, s.proto, s.multi = 0, 2, nil
	s.endWatch()
	s.tracking, s.prefixes, s.broadcast, s.redirect, s.replyMode = false, nil, nil, 0, repliesOn
	s.subs, s.monitoring, s.auth, s.learned = subscriptions{}, false, nil, false
}

// stateInMulti handles them inside MULTI, where the server runs some at once and
// queues the others.
func (s *Session) stateInMulti(c *command.Command, raw []byte, args [][]byte) bool {
	m := s.multi
	switch c.Name {
	case "multi", "watch":
		s.immediate(raw)
	case "exec":
		s.exec(raw)
	case "discard":
		s.discard(raw)
	case "reset":
		s.wait(raw, func(reply []byte) {
			if reply[0] == '+' {
				s.reset()
			}
		})
	case "quit":
		s.immediate(raw)
	case "select":
		s.selectInMulti(m, raw, args)
	case "hello", "auth", "monitor", "client reply", "client tracking",
		"subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe":
		s.refuse(-1, ReasonTransaction, "rekey: "+strings.ToUpper(c.Name)+" inside MULTI is not supported; send it before")
	default:
		s.pass(raw)
	}
	return true
}

// clientReply handles CLIENT REPLY ON, OFF and SKIP.
func (s *Session) clientReply(raw []byte, args [][]byte) {
	if len(args) == 3 {
		switch strings.ToLower(string(args[2])) {
		case "on":
			s.replyMode = repliesOn
			s.answer([]byte("+OK\r\n"))
			return
		case "off":
			s.replyMode = repliesOff
			return
		case "skip":
			if s.replyMode == repliesOn {
				s.replyMode = repliesSkip
			}
			return
		}
	}
	s.pass(raw) // the server says what is wrong with it
}

// clientTracking handles CLIENT TRACKING.
func (s *Session) clientTracking(raw []byte, args [][]byte) {
	on := len(args) > 2 && strings.EqualFold(string(args[2]), "on")
	prefixes, redirect := trackingPrefixes(args), int64(0)
	if on {
		redirect = trackingRedirect(args)
	}
	sent := raw
	var added [][]byte
	switch {
	case !on:
	case len(prefixes) == 0 && hasWord(args, "bcast") && !s.wantsInvalidation(nil):
		prefixes = [][]byte{{}} // every name, beside the prefixes of before
	case len(prefixes) > 0 && s.rules.hold(s.db):
		added = s.otherPrefixes(prefixes)
		words := slices.Clone(args)
		for _, p := range added {
			words = append(words, []byte("PREFIX"), p)
		}
		sent = resp.AppendCommand(nil, words...)
	}
	s.wait(nil, func(reply []byte) {
		switch {
		case !isOK(reply):
		case on: // the server adds prefixes to those of before
			s.tracking, s.redirect = true, redirect
			s.prefixes = append(s.prefixes, prefixes...)
			s.broadcast = append(append(s.broadcast, prefixes...), added...)
		default:
			s.tracking, s.redirect, s.prefixes, s.broadcast = false, 0, nil, nil
		}
	})
	s.sent++
	s.toServer = append(s.server0(), sent...)
}

// trackingRedirect is the connection to which CLIENT TRACKING ON REDIRECT id sends
// invalidations, 0 without one.
func trackingRedirect(args [][]byte) int64 {
	for i := 3; i+1 < len(args); i++ {
		if strings.EqualFold(string(args[i]), "redirect") {
			id, err := strconv.ParseInt(string(args[i+1]), 10, 64)
			if err == nil {
				return id
			}
		}
	}
	return 0
}

// trackingPrefixes are the prefixes of CLIENT TRACKING ON BCAST PREFIX p ...
func trackingPrefixes(args [][]byte) (prefixes [][]byte) {
	for i := 3; i+1 < len(args); i++ {
		if strings.EqualFold(string(args[i]), "prefix") {
			prefixes = append(prefixes, bytes.Clone(args[i+1]))
			i++
		}
	}
	return prefixes
}

// otherPrefixes are what the server must broadcast beside the prefixes of the client, so that the client is told of
// its keys by whichever name they are written.
func (s *Session) otherPrefixes(prefixes [][]byte) (added [][]byte) {
	seen := slices.Concat(s.broadcast, prefixes)
	for i := range s.rules.Set.Len() {
		pair := s.rules.Set.Pair(i)
		both := [][]byte{pair.Legacy().Prefix(), pair.Target().Prefix()}
		if !slices.ContainsFunc(prefixes, func(p []byte) bool { return overlapsAny(p, both) }) {
			continue
		}
		for _, p := range both {
			if !overlapsAny(p, seen) {
				seen, added = append(seen, p), append(added, p)
			}
		}
	}
	return added
}

// overlapsAny: the server refuses prefixes of which one begins with the other.
func overlapsAny(p []byte, others [][]byte) bool {
	return slices.ContainsFunc(others, func(o []byte) bool { return overlap(p, o) })
}

// overlap says that a name can begin with both.
func overlap(p, o []byte) bool { return bytes.HasPrefix(p, o) || bytes.HasPrefix(o, p) }
