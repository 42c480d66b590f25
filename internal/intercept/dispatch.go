package intercept

import (
	"bytes"
	"slices"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/internal/rewrite"
	"github.com/classwaves/rekey/phase"
)

// command handles one command of the client. false means that it cannot be handled
// before the server has answered something: it is to be given again then.
func (s *Session) command(raw []byte, args [][]byte) bool {
	if len(args) == 0 {
		return true // an empty line; the server says nothing to it either
	}
	c, ok := command.Lookup(args)
	said := s.said
	s.said = nil
	if s.sharing != nil {
		switch s.place(c, ok, raw, args) {
		case elsewhere:
			return false
		case answered:
			return true
		}
	}
	if refusal := s.locked; refusal != nil {
		s.locked = nil
		if !ok || c.Name != "auth" && c.Name != "hello" && c.Name != "quit" && c.Name != "reset" {
			s.answer(refusal)
			s.classes[command.ClassSession]++
			return true
		}
	}
	if !ok {
		if c, ok = s.lookup(args); !ok {
			c = said
		}
		switch {
		case c == nil:
			return s.ask(args)
		case c == unknown, c == denied && s.asWritten(args): // the server says what it thinks of it
			s.classes[command.ClassNone]++
			s.pass(raw)
			return true
		case c == denied:
			s.classes[command.ClassNone]++
			s.refuse(-1, ReasonUnknown, "rekey: the command "+printable(args[0])+" is not known, and the server does not tell this user what it does")
			return true
		}
	}
	use := c.Use(args)
	if use.Class == command.ClassRefuse {
		if within, ok := s.within(c, args); ok {
			args, raw, use = within, resp.AppendCommand(nil, within...), c.Use(within)
		}
	}
	if s.multi != nil && s.multi.unsure != "" && s.differs(c, use, args) {
		s.refuse(s.rule(), ReasonTransaction, "rekey: SELECT "+s.multi.unsure+" inside MULTI may fail, and what is behind it would run in another database; send it once before MULTI")
		return true
	}
	taken := true
	switch use.Class {
	case command.ClassSession:
		taken = s.state(c, raw, args)
	case command.ClassNone:
		e := s.pass(raw)
		e.write = c.Flags&command.Write != 0 // FLUSHALL
		e.mixed = e.write
		if c.Flags&command.Blocking != 0 && s.multi == nil { // WAIT, as below
			e.version, e.waits = Never, true
		}
	case command.ClassKeyspace:
		s.keyspace(c, raw, args)
	case command.ClassRefuse:
		s.dangerous(c, use, raw, args)
	default:
		taken = s.keyed(c, use, raw, args)
	}
	if taken {
		s.classes[use.Class]++
	}
	return taken
}

// pass sends a command as it is; its reply passes as it is.
func (s *Session) pass(raw []byte) *entry {
	var e *entry
	if s.multi != nil {
		e = s.queued(1)
		e.lines = append(e.lines, rewrite.Line{Role: rewrite.Answer, Rule: rewrite.NoRule})
	} else {
		e = s.push(kindPass)
	}
	s.forward(raw)
	return e
}

// current is the table that holds for the command at hand.
func (s *Session) current() *Table {
	if s.multi != nil {
		return s.multi.table
	}
	return s.table
}

// database is the database in which the command at hand will run.
func (s *Session) database() int {
	if s.multi != nil {
		return s.multi.db
	}
	return s.db
}

// resolve finds the rules of the command's keys, and both names of each. ruled: some key has a rule.
func (s *Session) resolve(c *command.Command, args [][]byte) (ruled bool) {
	ruled = s.find(c, args)
	s.counterparts()
	return ruled
}

// find is resolve for whoever may not need the names that the client did not write: see counterparts.
func (s *Session) find(c *command.Command, args [][]byte) (ruled bool) {
	s.keys = s.keys[:0]
	if !s.holds() {
		return false
	}
	at, err := c.Keys(s.at[:0], args)
	if s.told != nil {
		at, err = s.told.find(at[:0], args), nil
		s.told = nil
	}
	s.at = at
	if err != nil {
		return false // the server answers an error as well
	}
	table := s.current()
	s.steady = true
	for _, k := range at {
		name := args[k.Arg]
		rule, target := s.rules.Set.Find(name)
		key := rewrite.Key{Arg: k.Arg, Rule: rule, Write: k.Access&command.AccessWrite != 0}
		if rule >= 0 {
			ruled = true
			key.Phase = table.Phase(rule)
			if target {
				key.Target = name
				s.steady = s.steady && key.Phase == phase.Prefixed
			} else {
				key.Legacy = name
				s.steady = s.steady && key.Phase == phase.Legacy
			}
		}
		s.keys = append(s.keys, key)
	}
	return ruled
}

// counterparts makes the names of the keys that the client did not write, once for each find.
func (s *Session) counterparts() {
	s.names = s.names[:0]
	for i := range s.keys {
		k := &s.keys[i]
		from := len(s.names)
		switch {
		case k.Rule < 0:
		case k.Legacy == nil:
			s.names, _ = s.rules.Set.Pair(k.Rule).AppendLegacy(s.names, k.Target)
			k.Legacy = s.names[from:len(s.names):len(s.names)]
		default:
			s.names, _ = s.rules.Set.Pair(k.Rule).AppendTarget(s.names, k.Legacy)
			k.Target = s.names[from:len(s.names):len(s.names)]
		}
	}
}

// keyed handles a command on keys.
func (s *Session) keyed(c *command.Command, use command.Use, raw []byte, args [][]byte) bool {
	if c.NeedsGetKeys() && s.holds() && !s.asWritten(args) {
		switch {
		case s.told == nil && s.multi != nil:
			s.refuse(-1, ReasonUnknown, "rekey: only the server can tell the keys of "+printable(args[0])+", and not inside MULTI")
			return true
		case s.told == nil:
			return s.askKeys(args)
		case s.told.err != "":
			s.refuse(-1, ReasonUnknown, s.told.err)
			s.told = nil
			return true
		}
		if rule := s.hidden(args); rule >= 0 {
			s.told = nil
			s.refuse(rule, ReasonUnknown, "rekey: a key of "+printable(args[0])+" stands among its other words too, and the server does not tell "+
				"which is the key; use another name for the key, or wait until rule "+s.rules.Set.Pair(rule).Name()+" is parked and use the name of that phase")
			return true
		}
	}
	if !s.find(c, args) {
		e := s.pass(raw)
		e.write = writes(s.keys)
		if use.Block > 0 && s.multi == nil {
			e.version, e.waits = Never, true // it may wait for ever, and concerns no rule
		}
		return true
	}
	rule := s.rule()
	stats := &s.rules.Stats.Rules[rule]
	for _, k := range s.keys {
		if k.Rule < 0 {
			continue
		}
		if reason := s.closed(k.Rule); reason != "" {
			s.refuse(k.Rule, ReasonClosed, reason)
			return true
		}
		if s.multi != nil {
			s.multi.rules = append(s.multi.rules, k.Rule)
		}
	}
	stats.Commands[use.Class].Add(1)
	if !s.steady || use.Block > 0 {
		s.counterparts()
	}
	rc := s.rewriting(args, use)
	if use.Block > 0 && s.multi == nil {
		return s.blocking(c, &rc, raw)
	}
	if s.steady {
		e := s.pass(raw)
		s.describe(e, c, &rc)
		return true
	}
	s.lines.Command(&rc)
	if s.noMulti != "" && s.lines.Transaction {
		s.refuse(rule, ReasonServer, "rekey: the server refuses MULTI, without which this phase is not safe: "+s.noMulti)
		return true
	}
	s.transact(c, &rc, raw)
	return true
}

// closed is why no command of a rule may be sent now, "" where one may. Inside MULTI the phases are
// those of before, but what is closed now is closed.
func (s *Session) closed(rule int) string {
	if s.table.Closed == nil {
		return ""
	}
	return s.table.Closed[rule]
}

// rewriting is the command at hand, with its keys, as the rewriting sees it.
func (s *Session) rewriting(args [][]byte, use command.Use) rewrite.Command {
	return rewrite.Command{
		Args: args, Use: use, Keys: s.keys, Tracking: s.tracking, Resp: s.proto, Server: s.server,
		Scripted: s.watch != nil && s.multi == nil,
	}
}

// transact sends the lines that stand in the builder for a command.
func (s *Session) transact(c *command.Command, rc *rewrite.Command, raw []byte) *entry {
	if rc.Scripted && s.lines.Transaction {
		if err := s.lines.Scripted(rc); err != nil {
			s.refuse(s.rule(), ReasonTransaction, err.Error())
			return nil
		}
	}
	var e *entry
	switch {
	case s.multi != nil:
		e = s.queued(len(s.lines.Lines))
	case len(s.lines.Lines) == 1 && s.lines.Lines[0].Role == rewrite.Answer:
		e = s.push(kindPass)
	default:
		e = s.push(kindLines)
		e.txn = s.lines.Transaction
	}
	s.describe(e, c, rc)
	e.script = rc.Scripted && len(s.lines.Lines) == 1
	e.lines = append(e.lines, s.lines.Lines...)
	if e.kind == kindLines && (!e.write || !e.denyOOM) {
		e.raw = append(e.raw, raw...)
	}
	s.count(e)
	if e.txn {
		s.sendText(wireMulti)
	}
	if len(raw) > maxKept { // room at once for what would grow again and again
		s.toServer = slices.Grow(s.server0(), len(s.lines.Lines)*(len(raw)+maxKept))
	}
	for i := range s.lines.Lines {
		s.send(s.lines.Args(i)...)
	}
	if e.txn {
		s.sendText(wireExec)
	}
	return e
}

// count counts how a write keeps the other copy.
func (s *Session) count(e *entry) {
	if s.lines.Recopied {
		s.rules.Stats.Rules[e.rule].Recopies.Add(1)
		return
	}
	for _, l := range e.lines {
		if l.Role == rewrite.Mirrored {
			s.rules.Stats.Rules[e.rule].Replays.Add(1)
			return
		}
	}
}

// rule is the rule of the first key that has one.
func (s *Session) rule() int {
	for i := range s.keys {
		if s.keys[i].Rule >= 0 {
			return s.keys[i].Rule
		}
	}
	return rewrite.NoRule
}

// describe notes in e what its replies need of the command.
func (s *Session) describe(e *entry, c *command.Command, rc *rewrite.Command) {
	e.rule, e.class = s.rule(), rc.Use.Class
	e.denyOOM = c.Flags&command.DenyOOM != 0
	for i := range s.keys {
		e.write = e.write || s.keys[i].Write && rc.Use.Class != command.ClassRead
		e.mixed = e.mixed || s.keys[i].Rule != e.rule
	}
	if rc.Scripted {
		e.nulls = c.NullArray(rc.Args)
	}
	if s.steady {
		return // the server knows the keys by the names that the client wrote
	}
	switch rc.Use.Names {
	case command.NamesFirst:
		e.names = namesFirst
	case command.NamesStreams:
		e.names = namesStreams
	}
	// Errors about streams name keys. Any other command may be unknown to the server, which quotes its beginning then.
	stream := e.names != namesNone || c.Name[0] == 'x'
	for i := range s.keys {
		k := &s.keys[i]
		if k.Rule < 0 {
			continue
		}
		asked := rc.Args[k.Arg]
		if !stream && (k.Arg > maxQuotedArgs || len(asked) > maxQuotable) {
			continue
		}
		other := k.Target
		if bytes.Equal(asked, other) {
			other = k.Legacy
		}
		e.renames = append(e.renames, rename{physical: e.keep(other), asked: e.keep(asked)})
	}
}

// keep copies bytes into the entry's own memory.
func (e *entry) keep(b []byte) []byte {
	from := len(e.arena)
	e.arena = append(e.arena, b...)
	return e.arena[from:len(e.arena):len(e.arena)]
}

// nullArray is the null of an array in the connection's protocol.
func (s *Session) nullArray() []byte { return resp.AppendNullArray(nil, s.proto) }
