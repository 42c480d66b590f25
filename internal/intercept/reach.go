package intercept

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/rewrite"
	"github.com/classwaves/rekey/phase"
)

// dangerous handles commands that name keys in a way that cannot be followed, or move
// them out of reach. They pass while no rule that they could touch is on its way.
func (s *Session) dangerous(c *command.Command, use command.Use, raw []byte, args [][]byte) {
	table := s.current()
	touched := rewrite.NoRule
	ruled := s.resolve(c, args)
	for i := range s.keys {
		if r := s.keys[i].Rule; r >= 0 && !table.Phase(r).Parked() {
			touched = r
		}
	}
	here, there := s.databases(c, args)
	switch held := s.rules.hold(here); {
	case touched >= 0:
	case held != s.rules.hold(there):
		touched = s.touchedAcross(c, args, table)
	case held:
		touched = s.touchedByPattern(use, table)
	}
	switch {
	case touched >= 0:
		s.refuse(touched, ReasonReach, "rekey: "+use.Reason+" (rule "+s.rules.Set.Pair(touched).Name()+" is in phase "+table.Phase(touched).String()+")")
	case ruled:
		rc := s.rewriting(args, use)
		if s.steady {
			s.pass(raw)
			return
		}
		s.lines.Command(&rc)
		s.transact(c, &rc, raw)
	default:
		s.pass(raw).write = writes(s.keys)
	}
}

// databases are the two between which a command takes keys; the connection's own, twice, for any other command and
// where the server will say that a number is none.
func (s *Session) databases(c *command.Command, args [][]byte) (here, there int) {
	var words [2][]byte
	own := s.database()
	switch {
	case !c.ArityHolds(len(args)):
	case c.Name == "swapdb":
		words = [2][]byte{args[1], args[2]}
	case c.Name == "move":
		words = [2][]byte{strconv.AppendInt(nil, int64(own), 10), args[2]}
	case c.Name == "copy": // the last DB counts
		for i := 3; i+1 < len(args); i++ {
			if bytes.EqualFold(args[i], []byte("db")) {
				i++
				words = [2][]byte{strconv.AppendInt(nil, int64(own), 10), args[i]}
			}
		}
	}
	here, err := strconv.Atoi(string(words[0]))
	there, err2 := strconv.Atoi(string(words[1]))
	if err != nil || err2 != nil {
		return own, own
	}
	return here, there
}

// within is a COPY to the database in which it runs without the words that say so: it takes nothing across. Behind a SELECT inside MULTI nobody knows yet which database that is.
func (s *Session) within(c *command.Command, args [][]byte) ([][]byte, bool) {
	if c.Name != "copy" || !s.rules.hold(s.database()) || s.multi != nil && s.multi.selects {
		return nil, false
	}
	own := strconv.AppendInt(nil, int64(s.database()), 10)
	for i := 3; len(args) <= 6 && i+1 < len(args); i++ { // more words have two numbers, or are answered with an error
		if bytes.EqualFold(args[i], []byte("db")) && bytes.Equal(args[i+1], own) {
			return slices.Concat(args[:i], args[i+2:]), true
		}
	}
	return nil, false
}

// touchedAcross is a rule by whose names keys go between a database in which the rules hold and one in which they do
// not. On the other side a name stands for itself: only at legacy is it the same.
func (s *Session) touchedAcross(c *command.Command, args [][]byte, table *Table) int {
	if c.Name == "swapdb" {
		for r := range table.Phases {
			if table.Phase(r) != phase.Legacy {
				return r
			}
		}
		return rewrite.NoRule
	}
	at, err := c.Keys(s.at[:0], args)
	s.at = at
	if err != nil {
		return rewrite.NoRule // the server answers an error as well
	}
	for _, k := range at {
		if r, _ := s.rules.Set.Find(args[k.Arg]); r >= 0 && table.Phase(r) != phase.Legacy {
			return r
		}
	}
	return rewrite.NoRule
}

// touchedByPattern is a rule that the command could touch without naming a key of it:
// through a pattern (SORT BY and GET), or a whole database (SWAPDB).
func (s *Session) touchedByPattern(use command.Use, table *Table) int {
	for r := range table.Phases {
		if len(use.Patterns) == 0 && len(s.keys) == 0 && !table.Phase(r).Parked() {
			return r
		}
		pair := s.rules.Set.Pair(r)
		for _, p := range use.Patterns {
			literal := p
			if i := bytes.IndexByte(p, '*'); i >= 0 {
				literal = p[:i]
			}
			// At prefixed the target names stand where they are looked for, as the legacy ones at legacy.
			if table.Phase(r) != phase.Legacy && overlap(literal, pair.Legacy().Prefix()) ||
				!table.Phase(r).Parked() && overlap(literal, pair.Target().Prefix()) {
				return r
			}
		}
	}
	return rewrite.NoRule
}
