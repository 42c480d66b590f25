package intercept

import (
	"bytes"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/internal/rewrite"
)

// multi is an open transaction of the application. Its table is the one at MULTI.
type multi struct {
	table *Table
	db    int
	// doomed: the phases have changed since WATCH, so that what it watched may not be
	// what must have stood still. EXEC answers nil, also where the phases are the same
	// again: in between a neighbour may have written the name that was not watched.
	doomed bool
	// aborted: it was given up, because the fleet does not wait for it. EXEC answers EXECABORT.
	aborted bool
	rules   []int        // of the keys of its commands
	lines   []queuedLine // what the server has queued
	answers int          // commands of the application among them
	selects bool         // it has a SELECT: what is behind EXEC may run in another database
	// unsure is the database that a SELECT of it names where nobody knows whether the server has it, and where
	// the rules hold there or in the one of before, but not in both; "" without one.
	unsure string
}

type queuedLine struct {
	entry *entry
	line  rewrite.Line
}

// queued adds an entry for a command inside the application's MULTI.
func (s *Session) queued(lines int) *entry {
	e := s.push(kindQueued)
	e.multi = s.multi
	if cap(e.lines) < lines {
		e.lines = make([]rewrite.Line, 0, lines)
	}
	return e
}

// queuedEnd gives the application the one acknowledgement of its command. A command of
// which the server queued all lines stays with its transaction.
func (s *Session) queuedEnd(e *entry) {
	refusal := s.fold.refusal
	s.fold = fold{}
	if refusal != nil {
		s.emit(e.renameError(resp.AppendError(nil, string(refusal))), e.mute)
		s.done()
		return
	}
	s.emit([]byte("+QUEUED\r\n"), e.mute)
	if s.following() {
		s.replied(e)
	}
	s.q.take()
	e.mute = false
	for _, l := range e.lines {
		e.multi.lines = append(e.multi.lines, queuedLine{e, l})
	}
	e.multi.answers++
	s.settle()
}

// execHeader takes the first line of the reply to the application's EXEC.
func (s *Session) execHeader(e *entry, b []byte) int {
	h, n, err := resp.ReadHeader(b)
	if err != nil {
		return s.fail(err)
	}
	if n == 0 {
		return 0
	}
	m := e.multi
	if h.Type != '*' || h.N < 0 || h.N != int64(len(m.lines)) {
		s.fold = fold{}
		s.emit(b[:n], e.mute)
		s.done()
		return n
	}
	s.muteExec(e)
	if len(m.lines) == 0 {
		s.emit(resp.AppendArrayHeader(nil, m.answers), e.mute)
		s.fold = fold{}
		s.done()
		return n
	}
	s.emitAnswer(resp.AppendArrayHeader(nil, m.answers), e.mute)
	s.fold.open = true
	return n
}

// muteExec makes the answers inside EXEC's reply as silent as EXEC.
func (s *Session) muteExec(e *entry) {
	for _, q := range e.multi.lines {
		q.entry.mute = e.mute
	}
}

// beginMulti handles MULTI.
func (s *Session) beginMulti(raw []byte) {
	if s.multi != nil {
		s.immediate(raw) // the server says what it thinks of nested calls
		return
	}
	m := &multi{table: s.table, db: s.db}
	if s.watch != nil {
		m.doomed = s.watch.Version != s.table.Version
	}
	e := s.push(kindCapture)
	e.count, e.version = 1, m.table.Version
	mute := e.mute
	e.then = func(reply []byte) {
		s.emit(reply, mute)
		if reply[0] == '-' && (len(m.lines) > 0 || s.q.size > 0) {
			s.fail(&ServerError{Op: "MULTI", Text: string(bytes.TrimSpace(reply[1:]))})
		}
		if reply[0] == '-' && s.multi == m {
			s.multi = nil
		}
	}
	s.multi = m
	s.forward(raw)
}

// immediate sends a command that the server runs at once even inside MULTI.
func (s *Session) immediate(raw []byte) {
	s.push(kindPass)
	s.forward(raw)
}

// exec handles EXEC.
func (s *Session) exec(raw []byte) {
	m := s.multi
	if m == nil {
		s.immediate(raw)
		return
	}
	e := s.push(kindExec)
	e.multi = m
	s.multi = nil
	s.endWatch()
	if reply := s.refusal(m); reply != nil {
		e.kind, e.count = kindCapture, 1
		mute := e.mute
		e.then = func([]byte) { s.emit(reply, mute) }
		s.sendText(wireDiscard)
		return
	}
	if m.selects {
		s.stall()
		e.after = s.unstall
	}
	s.forward(raw)
}

// refusal answers an EXEC that must not be sent, nil where it may be.
func (s *Session) refusal(m *multi) []byte {
	for _, rule := range m.rules {
		if reason := s.closed(rule); reason != "" {
			return resp.AppendError(nil, "EXECABORT "+reason)
		}
	}
	switch {
	case m.aborted:
		return []byte(errAborted)
	case m.doomed:
		return s.nullArray()
	}
	return nil
}

// discard handles DISCARD.
func (s *Session) discard(raw []byte) {
	s.push(kindPass)
	if s.multi != nil {
		s.multi = nil
		s.endWatch()
	}
	s.forward(raw)
}

// endWatch forgets the WATCH: EXEC, DISCARD, UNWATCH or RESET ended it.
func (s *Session) endWatch() { s.watch, s.unwatched = nil, false }

// errAborted answers the EXEC of a transaction that was held open for so long that the fleet went on.
const errAborted = "-EXECABORT rekey: the phase changed while the transaction was open, and nothing of it was run; send it again\r\n"

// startWatch handles WATCH.
func (s *Session) startWatch(c *command.Command, use command.Use, raw []byte, args [][]byte) {
	if s.multi != nil {
		s.immediate(raw)
		return
	}
	ruled := s.resolve(c, args)
	opened := s.watch == nil
	if opened {
		s.watch = s.table
	}
	if !ruled {
		s.watchEntry(opened)
		s.forward(raw)
		return
	}
	rc := s.rewriting(args, use)
	s.lines.Watch(&rc)
	last := len(s.lines.Lines) - 1
	// What these answer does not matter: a neighbour would do the same a moment later.
	for i := range last {
		e := s.q.push()
		e.kind, e.version = kindDrop, s.table.Version
		s.send(s.lines.Args(i)...)
	}
	s.watchEntry(opened)
	s.send(s.lines.Args(last)...)
}

// watchEntry adds the entry of a WATCH that is sent now. One that the server refuses opens
// nothing.
func (s *Session) watchEntry(opened bool) {
	e := s.push(kindCapture)
	e.count = 1
	mute, table := e.mute, s.watch
	e.then = func(reply []byte) {
		s.emit(reply, mute)
		if reply[0] == '-' && opened && s.watch == table {
			s.endWatch()
		}
	}
}
