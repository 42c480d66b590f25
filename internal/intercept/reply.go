package intercept

import (
	"bytes"

	"github.com/classwaves/rekey/internal/resp"
)

// value is the one value of the server's that is being taken, which may come in any
// number of pieces.
type value struct {
	on    bool
	sink  sink
	mute  bool
	skip  resp.Skipper
	hash  uint64
	end   ending
	entry *entry
	ended func() // of endFunc
}

// ending is what to do when the value has ended. The common ones are no functions, so
// that a steady connection allocates nothing.
type ending uint8

const (
	endNothing  ending = iota
	endEntry           // it was the reply of the first entry
	endCapture         // it is one of the values for the first entry's function
	endHeld            // it is the first entry's reply, held
	endAnswer          // it is the reply to a line that answers
	endMirrored        // it is the reply to the same command on the other name
	endFunc            // a function says it
)

// sink is where the bytes of a value go.
type sink uint8

const (
	sinkNone   sink = iota
	sinkClient      // to the client as they come
	sinkHold        // held until the value has ended
)

// Server takes bytes of the server.
func (s *Session) Server(p []byte) error {
	if s.err != nil {
		return s.err
	}
	s.table = s.rules.Table()
	s.take(p)
	if s.err == nil {
		s.pump()
	}
	return s.err
}

// take takes bytes of the server, and reads nothing of the client for their sake.
func (s *Session) take(p []byte) {
	if len(s.part) > 0 {
		s.part = append(s.part, p...)
		n := s.replies(s.part)
		s.part = s.part[:copy(s.part, s.part[n:])]
	} else {
		s.serverIn = verbatim{from: p, on: len(s.toClient) == 0}
		n := s.replies(p)
		s.part = append(s.part, p[n:]...)
	}
}

// replies takes what it can of p, which is all but the beginning of a value whose first
// line is incomplete.
func (s *Session) replies(p []byte) (n int) {
	for n < len(p) && s.err == nil {
		took := s.step(p[n:])
		if took == 0 {
			break
		}
		n += took
	}
	return n
}

// fail ends the connection: nobody knows what its next bytes mean.
func (s *Session) fail(err error) int {
	s.err = err
	return 0
}

// step takes some bytes, or none if it must see more of them.
func (s *Session) step(b []byte) int {
	if s.value.on {
		return s.stream(b)
	}
	if !s.fold.open {
		switch took, mine := s.outOfBand(b); {
		case mine:
			return took
		case s.flush:
			s.emptyCaches()
		}
	}
	e := s.q.front()
	if e == nil {
		// Bytes that nobody asked for, such as an error before the server hangs up.
		s.unasked = true
		return s.begin(b, sinkClient, false, endNothing, nil)
	}
	switch e.kind {
	case kindPass:
		return s.passing(e, b)
	case kindDrop:
		return s.begin(b, sinkNone, true, endEntry, e)
	case kindCapture:
		return s.begin(b, sinkHold, true, endCapture, e)
	case kindSubs:
		// Confirmations were taken above. Anything else is one error for all channels.
		return s.begin(b, sinkClient, e.mute, endEntry, e)
	default:
		return s.folding(e, b)
	}
}

// begin starts to take the value at the start of b.
func (s *Session) begin(b []byte, to sink, mute bool, end ending, e *entry) int {
	v := &s.value
	v.on, v.sink, v.mute, v.end, v.entry, v.hash = true, to, mute, end, e, hashSeed
	return s.stream(b)
}

// beginFunc is begin with a function for the end.
func (s *Session) beginFunc(b []byte, to sink, mute bool, ended func()) int {
	s.value.ended = ended
	return s.begin(b, to, mute, endFunc, nil)
}

// valueEnded does what is to be done when the value has ended.
func (s *Session) valueEnded() {
	v := &s.value
	v.on = false
	switch e := v.entry; v.end {
	case endEntry:
		s.done()
	case endCapture:
		s.captured(e)
	case endHeld:
		s.heldAnswer(e, s.takeHold())
		s.done()
	case endAnswer:
		s.answerEnded(e)
	case endMirrored:
		s.mirroredEnded(e)
	case endFunc:
		ended := v.ended
		v.ended = nil
		ended()
	}
}

// stream takes more of the value.
func (s *Session) stream(b []byte) int {
	n, done, err := s.value.skip.Skip(b)
	if err != nil {
		return s.fail(err)
	}
	switch s.value.sink {
	case sinkClient:
		if s.fold.hashing {
			s.value.hash = hash(s.value.hash, b[:n])
		}
		if s.value.end == endAnswer {
			s.emitAnswer(b[:n], s.value.mute)
		} else {
			s.emit(b[:n], s.value.mute)
		}
	case sinkHold:
		s.hold = append(s.hold, b[:n]...)
	default:
		if s.fold.hashing {
			s.value.hash = hash(s.value.hash, b[:n])
		}
	}
	if done {
		s.valueEnded()
	}
	return n
}

// takeHold gives the held value and forgets it with the next one.
func (s *Session) takeHold() []byte {
	held := s.hold
	s.hold = s.hold[:0]
	if cap(held) > maxKept {
		s.hold = nil
	}
	return held
}

// done takes the first entry off.
func (s *Session) done() {
	e := s.q.front()
	if len(s.retries) > 0 {
		s.taint(e)
	}
	if s.following() {
		s.replied(e)
	}
	after := e.after
	s.q.pop()
	if after != nil {
		after()
	}
	s.settle()
}

// captured gives a held value to whoever waits for it.
func (s *Session) captured(e *entry) {
	if e.count--; e.count > 0 {
		return
	}
	held := s.takeHold()
	then := e.then
	s.q.pop()
	then(held)
	s.settle()
}

// settle gives out answers that wait for no reply, and begins what waits for the
// last one.
func (s *Session) settle() {
	for {
		e := s.q.front()
		if e == nil || e.kind != kindLocal {
			break
		}
		s.emit(e.local, e.mute)
		s.q.pop()
	}
	switch {
	case s.q.size > 0, s.joining:
	case len(s.retries) > 0 && !s.retries[0].running && s.sharing != nil:
		s.seek(Want{Own: true}) // it takes several round trips, and a WATCH
	case len(s.retries) > 0 && !s.retries[0].running:
		s.retry()
	case len(s.retries) == 0 && s.ending != nil && s.err == nil:
		s.err = s.ending
	}
}

// passing takes the reply of a command that was sent alone.
func (s *Session) passing(e *entry, b []byte) int {
	if e.names != namesNone || len(e.renames) > 0 && b[0] == '-' || e.script && e.nulls || e.block {
		return s.begin(b, sinkHold, true, endHeld, e)
	}
	return s.begin(b, sinkClient, e.mute, endEntry, e)
}

// whole gives the client a reply that had to be seen whole.
func (s *Session) whole(e *entry, reply []byte) {
	switch {
	case reply[0] == '-':
		reply = e.renameError(reply)
	case e.script && e.nulls && bytes.Equal(reply, resp.AppendNull(nil, 2)):
		reply = resp.AppendNullArray(nil, 2)
	case e.names != namesNone:
		reply = s.renameReply(e, reply)
	}
	s.emitAnswer(reply, e.mute)
}

// Replies of replayed writes are compared by a hash (FNV-1a), so that neither is held.
const (
	hashSeed  = 14695981039346656037
	hashPrime = 1099511628211
)

func hash(h uint64, b []byte) uint64 {
	for _, c := range b {
		h = (h ^ uint64(c)) * hashPrime
	}
	return h
}
