package intercept

import (
	"bytes"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/internal/rewrite"
)

// fold is how far the replies of the first entry have been taken.
type fold struct {
	open    bool // elements of an EXEC are coming: nothing comes between them
	begun   bool
	acks    int    // acknowledgements taken: MULTI's and one QUEUED for each line
	line    int    // lines whose replies were taken
	refusal []byte // the first error before EXEC
	onCmd   bool   // it was the application's command that got it
	looked  bool   // the name that was looked for exists
	sum     int64
	counted bool
	failed  bool // a copy failed when it ran
	hashing bool
	answer  uint64 // hash of the answer
	tail    byte   // the last byte of the answer, see emitAnswer
	tailed  bool
}

// emitAnswer gives bytes of an answer to the client. While more of the server's replies
// belong to the same entry, the last byte waits for the last of them: a client that has
// its whole answer may look at the idle connection under it, and give it up for what is
// still unread there.
func (s *Session) emitAnswer(b []byte, mute bool) {
	f := &s.fold
	if !f.begun || mute || len(b) == 0 {
		s.emit(b, mute)
		return
	}
	s.emitTail()
	last := len(b) - 1
	s.emit(b[:last], false)
	f.tail, f.tailed = b[last], true
}

// emitTail gives out the byte that waited.
func (s *Session) emitTail() {
	if f := &s.fold; f.tailed {
		f.tailed = false
		s.one[0] = f.tail
		s.emit(s.one[:], false)
	}
}

// folding takes a reply of an entry with several of them.
func (s *Session) folding(e *entry, b []byte) int {
	if !s.fold.begun {
		s.fold = fold{begun: true}
	}
	f := &s.fold
	switch {
	case e.kind == kindQueued:
		return s.acknowledge(e, b, 0)
	case e.kind == kindExec && !f.open:
		return s.execHeader(e, b)
	case e.kind == kindExec:
		q := e.multi.lines[f.line]
		return s.element(q.entry, q.line, b)
	case e.txn && f.acks <= len(e.lines):
		return s.acknowledge(e, b, 1)
	case e.txn && !f.open:
		return s.transactionHeader(e, b)
	default:
		return s.element(e, e.lines[f.line], b)
	}
}

// acknowledge takes MULTI's OK (where the entry has one) and the QUEUED of each line.
func (s *Session) acknowledge(e *entry, b []byte, before int) int {
	h, n, err := resp.ReadHeader(b)
	if err != nil {
		return s.fail(err)
	}
	if n == 0 {
		return 0
	}
	f := &s.fold
	if h.Type != '+' && f.refusal == nil {
		f.refusal = append([]byte(nil), h.Line...)
		i := f.acks - before
		f.onCmd = i >= 0 && (e.lines[i].Role == rewrite.Answer || e.lines[i].Role == rewrite.Counted)
		if i < 0 {
			// What follows ran without a transaction around it.
			return s.fail(&ServerError{Op: "MULTI", Text: string(h.Line)})
		}
	}
	f.acks++
	if e.kind == kindQueued && f.acks == len(e.lines) {
		s.queuedEnd(e)
	}
	return n
}

// transactionHeader takes the first line of EXEC's reply to the engine's own
// transaction.
func (s *Session) transactionHeader(e *entry, b []byte) int {
	h, n, err := resp.ReadHeader(b)
	if err != nil {
		return s.fail(err)
	}
	if n == 0 {
		return 0
	}
	f := &s.fold
	if h.Type == '*' && h.N == int64(len(e.lines)) {
		f.open = true
		return n
	}
	if f.refusal == nil {
		f.refusal = cause(h)
	}
	refusal, onCmd := f.refusal, f.onCmd
	s.fold = fold{}
	s.refused(e, refusal, onCmd)
	return n
}

// cause is the reason that EXEC gives for running nothing.
func cause(h resp.Header) []byte {
	if h.Type != '-' {
		return []byte("ERR rekey: unexpected reply of EXEC")
	}
	const before = "EXECABORT Transaction discarded because of: "
	return append([]byte(nil), bytes.TrimPrefix(h.Line, []byte(before))...)
}

// element takes one line's own reply.
func (s *Session) element(e *entry, l rewrite.Line, b []byte) int {
	switch l.Role {
	case rewrite.Answer, rewrite.Alternative:
		return s.answerElement(e, l, b)
	case rewrite.Mirrored:
		to := sinkNone
		if len(e.renames) > 0 && b[0] == '-' {
			to = sinkHold
		}
		s.fold.hashing = true
		return s.begin(b, to, true, endMirrored, e)
	}
	h, n, err := resp.ReadHeader(b)
	if err != nil {
		return s.fail(err)
	}
	if n == 0 {
		return 0
	}
	f := &s.fold
	stats := &s.rules.Stats.Rules[max(l.Rule, 0)]
	switch l.Role {
	case rewrite.Copied:
		switch {
		case h.Type == '-':
			f.failed = true
			stats.Uncopied.Add(1)
		case h.N == 1 && e.class == command.ClassRead:
			stats.Fallbacks.Add(1)
		}
	case rewrite.Brought:
		if h.Type == ':' && h.N == 1 && s.bringsToTarget(l.Rule) {
			stats.Fallbacks.Add(1)
		}
	case rewrite.Looked:
		f.looked = h.N == 1
	case rewrite.Counted:
		if h.Type == '-' {
			s.emitAnswer(append(append([]byte{'-'}, h.Line...), "\r\n"...), e.mute || f.counted)
			f.counted, f.failed = true, true
			break
		}
		f.sum += min(h.N, 1)
		if !f.failed && s.lastCounted(e) {
			s.emitAnswer(resp.AppendInt(nil, f.sum), e.mute)
		}
	}
	s.endLine(e)
	return n
}

// bringsToTarget says that a bring of the rule goes to the target name.
func (s *Session) bringsToTarget(rule int) bool {
	return rule >= 0 && rewrite.OnTarget(s.current().Phase(rule))
}

// lastCounted says that no line after the present one counts for the same command.
func (s *Session) lastCounted(e *entry) bool {
	i := s.fold.line + 1
	head := s.q.front()
	if head.kind != kindExec {
		return i == len(e.lines) || e.lines[i].Role != rewrite.Counted
	}
	rest := head.multi.lines
	return i == len(rest) || rest[i].entry != e || rest[i].line.Role != rewrite.Counted
}

// answerElement takes the reply of the application's command, if this line answers.
func (s *Session) answerElement(e *entry, l rewrite.Line, b []byte) int {
	f := &s.fold
	inExec := s.q.front().kind == kindExec
	to := sinkClient
	switch {
	case l.Role == rewrite.Alternative && f.looked,
		l.Role == rewrite.Answer && !f.looked && s.hasAlternative(e):
		to = sinkNone
	case f.failed && !inExec && e.class == command.ClassRead:
		to = sinkNone // it ran on a name to which the value could not be copied
	case e.names != namesNone, len(e.renames) > 0 && b[0] == '-', e.script && e.nulls:
		to = sinkHold
	case e.block, e.then != nil:
		to = sinkHold
	}
	f.hashing = s.mirrorFollows(e)
	return s.begin(b, to, e.mute, endAnswer, e)
}

// answerEnded goes on behind the reply to a line that may answer.
func (s *Session) answerEnded(e *entry) {
	answer := s.value.hash
	if s.value.sink == sinkHold {
		held := s.takeHold()
		answer = e.comparable(held)
		s.heldAnswer(e, held)
	}
	if s.fold.hashing {
		s.fold.answer = answer
	}
	s.endLine(e)
}

// mirroredEnded compares the two replies of a replayed write.
func (s *Session) mirroredEnded(e *entry) {
	mirrored := s.value.hash
	if s.value.sink == sinkHold {
		mirrored = e.comparable(s.takeHold())
	}
	if mirrored != s.fold.answer && e.names == namesNone {
		s.rules.Stats.Rules[e.rule].Divergences.Add(1)
	}
	s.endLine(e)
}

// comparable is the hash of a held reply, which may be an error that quotes a name.
func (e *entry) comparable(reply []byte) uint64 { return hash(hashSeed, e.renameError(reply)) }

// heldAnswer gives out an answer that had to be seen whole, or goes on waiting.
func (s *Session) heldAnswer(e *entry, reply []byte) {
	if e.block && s.block != nil && s.block.nothing(reply) {
		return
	}
	if e.then != nil {
		e.then(reply)
	}
	s.whole(e, reply)
}

func isNull(reply []byte) bool {
	return bytes.HasPrefix(reply, []byte("*-1")) || bytes.HasPrefix(reply, []byte("$-1")) || bytes.HasPrefix(reply, []byte("_"))
}

func (s *Session) hasAlternative(e *entry) bool {
	for _, l := range e.lines {
		if l.Role == rewrite.Alternative {
			return true
		}
	}
	return false
}

func (s *Session) mirrorFollows(e *entry) bool {
	for _, l := range e.lines {
		if l.Role == rewrite.Mirrored {
			return e.names == namesNone
		}
	}
	return false
}

// endLine goes to the next line, and behind the last one to the next entry.
func (s *Session) endLine(e *entry) {
	f := &s.fold
	f.hashing = false
	f.line++
	head := s.q.front()
	total := len(head.lines)
	if head.kind == kindExec {
		total = len(head.multi.lines)
		if f.line < total && head.multi.lines[f.line].entry != e {
			f.sum, f.failed, f.counted, f.looked = 0, false, false, false
		}
	}
	if f.line < total {
		return
	}
	failed := f.failed
	s.emitTail()
	s.fold = fold{}
	switch {
	case head.kind == kindExec: // it was answered as it ran
	case failed && head.class == command.ClassRead:
		s.sendAgain(head)
		return
	case head.block && s.block != nil:
		s.done()
		s.polled()
		return
	}
	s.done()
}
