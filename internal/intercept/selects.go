package intercept

import (
	"strconv"

	"github.com/classwaves/rekey/internal/command"
)

// A SELECT inside MULTI is queued whatever it names. Where the server does not have the database, only EXEC says so,
// and what stands behind runs in the database of before. A connection that has been in a database knows better: the
// server numbers them from 0, and has all below one that it has. Without that, a command behind it passes where it
// is the same in both databases, and is refused where the rules would make another one of it in one of them.

// selected notes the database in which the server says that the connection is.
func (s *Session) selected(db int) {
	s.db = db
	s.highest = max(s.highest, db)
}

// selectInMulti handles SELECT inside MULTI.
func (s *Session) selectInMulti(m *multi, raw []byte, args [][]byte) {
	e := s.pass(raw)
	word := string(args1(args))
	db, err := strconv.Atoi(word)
	if err != nil {
		return // the server takes no such word either
	}
	switch there := word == strconv.Itoa(db) && db >= 0 && db <= s.highest; { // "+1" and "01" are none to the server
	case there:
		m.unsure = ""
	case m.unsure == "" && s.rules.hold(db) != s.rules.hold(m.db):
		m.unsure = word
	}
	m.db, m.selects = db, true
	e.then = func(reply []byte) {
		if isOK(reply) { // only EXEC tells whether the server has the database
			s.selected(db)
		}
	}
}

// holds says that the rules hold where the command at hand will run, or may run.
func (s *Session) holds() bool {
	return s.rules.hold(s.database()) || s.multi != nil && s.multi.unsure != ""
}

// differs says that the command at hand is another one where the rules hold than where they do not.
func (s *Session) differs(c *command.Command, use command.Use, args [][]byte) bool {
	s.keys = s.keys[:0]
	switch legacy := s.current().legacy; use.Class {
	case command.ClassNone, command.ClassSession:
		return false
	case command.ClassKeyspace:
		return !legacy || len(s.rules.Set.Control()) > 0
	case command.ClassRefuse:
		return !legacy || s.find(c, args) && !s.steady
	}
	return s.find(c, args) && !s.steady
}
