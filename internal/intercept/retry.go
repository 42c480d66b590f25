package intercept

import (
	"bytes"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/internal/rewrite"
)

// The server can refuse what the engine added to a command: at full memory Redis 7.0
// refuses every command inside MULTI, a replica refuses COPY, a user may lack the
// right to it. Nothing has run then. A read, and a write that needs no memory, is sent
// again in a form that adds nothing.
//
// Commands that were sent behind it in the same pipeline may have run by then. Their
// answers wait, and no more commands are read meanwhile. If one of them wrote keys of
// the same rule, to run the first one now would turn their order round: it is answered
// with the refusal instead. Where either has keys of more than one rule, or of none beside
// it, it is not told which: the order is kept.

// retry is a command that is to be sent again.
type retry struct {
	entry   *entry
	refusal []byte
	running bool // it was sent again
	tainted bool // a later write of its keys may have run
	tries   int
	told    *toldKeys // its keys, where the server had to be asked for them
	after   []byte    // answers of later commands
}

// maxTries bounds how often a read is sent again whose names do not stand still.
const maxTries = 100

// refused handles an entry of which the server ran nothing.
func (s *Session) refused(e *entry, refusal []byte, onCmd bool) {
	full := bytes.HasPrefix(refusal, []byte("OOM "))
	again := !e.write && (!onCmd || full) || e.write && full && !e.denyOOM
	if !again || len(e.raw) == 0 {
		s.emit(e.renameError(resp.AppendError(nil, string(refusal))), e.mute)
		s.endBlock(e)
		s.done()
		return
	}
	s.rules.Stats.Rules[e.rule].Uncopied.Add(1)
	s.again(e, refusal)
}

// sendAgain handles a read before which a copy failed when it ran.
func (s *Session) sendAgain(e *entry) {
	s.again(e, []byte("ERR rekey: a key of this type cannot be copied"))
}

func (s *Session) again(e *entry, refusal []byte) {
	s.stall()
	s.q.take()
	s.retries = append(s.retries, retry{entry: e, refusal: refusal})
	s.settle()
}

// taint marks the commands behind which a write ran that may have met their keys.
func (s *Session) taint(e *entry) {
	if e.kind == kindExec {
		for _, q := range e.multi.lines {
			s.taint(q.entry)
		}
	}
	if !e.write {
		return
	}
	for i := range s.retries {
		if r := &s.retries[i]; !r.running && (e.mixed || r.entry.mixed || r.entry.rule == e.rule) {
			r.tainted = true
		}
	}
}

// retry sends the first waiting command again; nothing else is under way.
func (s *Session) retry() {
	r := &s.retries[0]
	r.running = true
	r.tries++
	if r.tainted || r.tries > maxTries || s.multi != nil { // inside MULTI it would be queued
		s.retried(resp.AppendError(nil, string(r.refusal)))
		return
	}
	_, args, err := resp.ParseRequest(r.entry.raw, nil, s.scan.Limits)
	if err != nil {
		s.fail(err)
		return
	}
	c, ok := command.Lookup(args)
	if !ok {
		c, ok = s.lookup(args)
	}
	if ok && r.told == nil && c.NeedsGetKeys() && s.holds() {
		s.tellKeys(args, func(told *toldKeys) {
			s.retries[0].told = told
			s.retry()
		})
		return
	}
	next := s.told // of the command that is read next
	s.told = r.told
	ok = ok && (s.told == nil || s.told.err == "" && s.hidden(args) < 0) && s.resolve(c, args)
	s.told = next
	if !ok {
		s.retried(resp.AppendError(nil, string(r.refusal)))
		return
	}
	r.entry.version, r.entry.nulls = s.table.Version, c.NullArray(args) // it may go as a script
	rc := s.rewriting(args, c.Use(args))
	rc.Tracking = false
	if rc.Use.Block > 0 { // it would wait, and no script may run it
		unblocked, ok := rewrite.Unblocked(&rc)
		if _, valid := timeout(&rc); !ok || !valid {
			s.retried(resp.AppendError(nil, string(r.refusal)))
			return
		}
		rc = unblocked
	}
	if r.entry.write {
		s.retryWrite(&rc)
		return
	}
	s.retryRead(&rc)
}

func (s *Session) retryWrite(rc *rewrite.Command) {
	if err := s.lines.Full(rc); err != nil {
		s.retried(resp.AppendError(nil, string(s.retries[0].refusal)))
		return
	}
	s.retryLine()
}

// retryLine sends the one line that stands in the builder. More than 1 counts as 1 there too.
func (s *Session) retryLine() {
	counted := s.lines.Lines[0].Role == rewrite.Counted
	s.internal(func(reply []byte) {
		if h, _, err := resp.ReadHeader(reply); err == nil && counted && h.Type == ':' {
			reply = resp.AppendInt(nil, min(h.N, 1))
		}
		s.retriedWhole(reply)
	})
	s.send(s.lines.Args(0)...)
}

// retriedWhole ends a retry with a reply that one command gave.
func (s *Session) retriedWhole(reply []byte) {
	r := &s.retries[0]
	s.retried(s.finished(r.entry, reply))
}

// finished is a reply as the application is to see it.
func (s *Session) finished(e *entry, reply []byte) []byte {
	switch {
	case reply[0] == '-':
		return e.renameError(reply)
	case e.nulls && bytes.Equal(reply, resp.AppendNull(nil, 2)):
		return resp.AppendNullArray(nil, 2)
	case e.names != namesNone:
		return s.renameReply(e, reply)
	}
	return reply
}

func (s *Session) retryRead(rc *rewrite.Command) {
	// The phases may have changed since, to some that add nothing to a read.
	if s.lines.Command(rc); !s.lines.Transaction {
		s.retryLine()
		return
	}
	script, err := s.lines.Snapshot(rc)
	switch {
	case err != nil:
		s.retried(resp.AppendError(nil, string(s.retries[0].refusal)))
	case script:
		s.retryLine()
	default:
		for i := range s.lines.Lines {
			s.send(s.lines.Args(i)...)
		}
		s.sendText(wireMulti)
		s.sendText(wireExec)
		s.internal(s.snapshot)
		s.q.last().count = len(s.lines.Lines) + 2
	}
}

// snapshot takes the replies to WATCH, EXISTS P, CMD P, CMD L, MULTI and EXEC.
func (s *Session) snapshot(replies []byte) {
	var part [6][]byte
	for i := range part {
		n := valueLen(replies)
		part[i], replies = replies[:n], replies[n:]
	}
	watch, exists, target, legacy, exec := part[0], part[1], part[2], part[3], part[5]
	e := s.retries[0].entry
	switch {
	case watch[0] == '-':
		s.retried(watch)
	case exists[0] == '-':
		s.retried(exists)
	case exec[0] == '*' && !isNull(exec) && exists[1] == '1':
		s.retried(s.finished(e, target))
	case exec[0] == '*' && !isNull(exec):
		s.retried(s.finished(e, legacy))
	case exec[0] == '-':
		s.retried(exec)
	default:
		s.retry() // a name changed meanwhile
	}
}

// retried gives out the answer of the first waiting command, and the answers behind it.
func (s *Session) retried(reply []byte) {
	r := s.retries[0]
	if !r.entry.block || s.block == nil || !s.block.nothing(reply) {
		s.emitNow(reply, r.entry.mute)
	}
	s.emitNow(r.after, false)
	s.retries = s.retries[1:]
	if len(s.retries) == 0 {
		s.retries = nil
	}
	s.unstall()
	if r.entry.block {
		s.polled()
	}
	s.settle()
}

// emitNow gives bytes to the client ahead of what waits behind a retry.
func (s *Session) emitNow(b []byte, mute bool) {
	if !mute {
		s.toClient = append(s.client0(), b...)
	}
}
