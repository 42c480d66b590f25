package intercept

import (
	"bytes"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/internal/rewrite"
)

// keyspace handles SCAN, KEYS and RANDOMKEY, whose replies are physical names.
func (s *Session) keyspace(c *command.Command, raw []byte, args [][]byte) {
	if c.Name == "keys" {
		s.rules.Stats.Keys.Add(1)
	}
	table := s.current()
	if table.legacy && len(s.rules.Set.Control()) == 0 || !s.rules.hold(s.database()) || s.rules.Set.Len() == 0 {
		s.pass(raw)
		return
	}
	if c.Name == "randomkey" && s.multi == nil {
		s.stall()
		s.randomKey(table, s.replyMode.take(), maxRandom)
		return
	}
	var e *entry
	if s.multi != nil {
		e = s.queued(1)
		e.lines = append(e.lines, rewrite.Line{Role: rewrite.Answer, Rule: rewrite.NoRule})
	} else {
		e = s.push(kindPass)
	}
	e.table = table
	words := append([][]byte(nil), args...)
	switch c.Name {
	case "scan":
		e.names = namesScan
		s.scanWords(e, words)
	case "keys":
		e.names = namesKeys
		if len(words) == 2 {
			e.pattern, e.matches = e.keep(words[1]), true
			words[1] = physicalPattern(s, words[1])
		}
	default:
		e.names = namesOne
	}
	s.send(words...)
}

// scanWords notes the pattern of SCAN, the last one if there are several, and replaces
// each by one that the physical names match.
func (s *Session) scanWords(e *entry, words [][]byte) {
	for i := 2; i+1 < len(words); i += 2 {
		if bytes.EqualFold(words[i], []byte("match")) {
			e.pattern, e.matches = e.keep(words[i+1]), true
			words[i+1] = physicalPattern(s, words[i+1])
		}
	}
}

// physicalPattern is a pattern that matches every physical name whose logical name
// matches p.
func physicalPattern(s *Session, p []byte) []byte {
	if wide, ok := rewrite.AppendScanPattern(nil, s.rules.Set, p); ok {
		return wide
	}
	return []byte("*")
}

// maxRandom bounds how often RANDOMKEY is asked for a name that is shown.
const maxRandom = 1000

// randomKey asks for a random key until one comes that the application may see.
func (s *Session) randomKey(table *Table, mute bool, tries int) {
	s.internal(func(reply []byte) {
		name, n := bulk(reply)
		logical, shown := rewrite.AppendLogical(nil, s.rules.Set, table, name)
		switch {
		case n == 0: // an empty database, or an error
		case shown:
			reply = resp.AppendBulk(nil, logical)
		case tries > 1:
			s.randomKey(table, mute, tries-1)
			return
		default:
			reply = resp.AppendNull(nil, s.proto)
		}
		s.emit(reply, mute)
		s.unstall()
	})
	s.sendText("*1\r\n$9\r\nRANDOMKEY\r\n")
}

// randomReply maps the name of RANDOMKEY inside MULTI, where it cannot be asked again.
func (s *Session) randomReply(e *entry, reply []byte) []byte {
	name, n := bulk(reply)
	if n == 0 {
		return nil
	}
	logical, shown := rewrite.AppendLogical(nil, s.rules.Set, e.table, name)
	if !shown {
		return resp.AppendNull(nil, s.proto)
	}
	return resp.AppendBulk(nil, logical)
}
