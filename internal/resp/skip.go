package resp

import (
	"bytes"
	"fmt"
)

// A Skipper finds the end of one value of any size and depth without holding any of it: bytes can
// be passed on as they come. The zero value is ready. It allocates once, when it first meets an
// aggregate.
//
// An attribute belongs to the value that follows it: both are one.
type Skipper struct {
	step  step
	typ   byte
	short [maxShort + 1]byte // the line of a length, an integer, a boolean or a null, with its carriage return
	used  int                // bytes of short
	cr    bool               // the last byte of the line was a carriage return
	rest  int64              // bytes of a bulk string that are to come, without its line end
	open  []level            // open aggregates, from the outermost
	err   error
}

// A level is an aggregate whose end has not come.
type level struct {
	left      int64 // values that are to come
	attribute bool  // it is no value itself: its value follows it
}

type step uint8

const (
	atType step = iota
	inText
	inShort
	inBulk
	atBulkCR
	atBulkLF
)

// Skip consumes the next n bytes of the value. done tells that the value ended with them; the
// Skipper is ready for the next value then, whose bytes it has not touched. While done is false,
// all of b was consumed. An error stays until Reset.
func (s *Skipper) Skip(b []byte) (n int, done bool, err error) {
	if s.err != nil {
		return 0, false, s.err
	}
	if s.typ == 0 {
		if n = wholeScalar(b); n > 0 {
			return n, true, nil
		}
	}
	for n < len(b) {
		took, ended, err := s.advance(b[n:])
		n += took
		if err != nil {
			s.err = err
			return n, false, err
		}
		if ended && s.closeValue() {
			return n, true, nil
		}
	}
	return n, false, nil
}

// wholeScalar gives the length of the value at the start of b if it is all there and one of the common ones: a line of
// text, a number, a bulk string. It is 0 for any other.
func wholeScalar(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '+', '-':
		if i := bytes.IndexByte(b, '\n'); i > 0 && b[i-1] == '\r' {
			return i + 1
		}
	case ':':
		if _, next := shortNumber(b, 1); next > 0 && b[next-1] == '\n' {
			return next
		}
	case '$':
		size, next := shortNumber(b, 1)
		if end := next + size; next > 0 && b[next-1] == '\n' && len(b) >= end+2 && b[end] == '\r' && b[end+1] == '\n' {
			return end + 2
		}
	}
	return 0
}

// Reset forgets the value at hand, and an error.
func (s *Skipper) Reset() { *s = Skipper{open: s.open[:0]} }

// Idle tells that no byte of a value was consumed since the last one ended.
func (s *Skipper) Idle() bool { return s.typ == 0 && s.err == nil }

// advance takes one step in b, which is not empty. ended tells that a value ended that is no open
// aggregate: a scalar, a bulk string, an empty aggregate.
func (s *Skipper) advance(b []byte) (n int, ended bool, err error) {
	switch s.step {
	case atType:
		return s.readType(b)
	case inText:
		return s.readText(b)
	case inShort:
		return s.readShort(b)
	case inBulk:
		n := min(s.rest, int64(len(b)))
		if s.rest -= n; s.rest == 0 {
			s.step = atBulkCR
		}
		return int(n), false, nil
	case atBulkCR:
		s.step = atBulkLF
		return 1, false, expectLineEnd(b[0], '\r')
	default:
		s.step = atType
		return 1, true, expectLineEnd(b[0], '\n')
	}
}

func expectLineEnd(got, want byte) error {
	if got != want {
		return frameErrorf("byte %q where a bulk string's line end belongs", got)
	}
	return nil
}

func (s *Skipper) readType(b []byte) (n int, ended bool, err error) {
	kind, err := kindOf(b[0])
	if err != nil {
		return 0, false, err
	}
	s.typ, s.used, s.cr, s.step = b[0], 0, false, inShort
	if kind == kindText {
		s.step = inText
	}
	return 1, false, nil
}

// readText passes over a line of text. It holds none of it, so it needs no limit: a line of
// MONITOR is as long as the command that it shows.
func (s *Skipper) readText(b []byte) (n int, ended bool, err error) {
	i := bytes.IndexByte(b, '\n')
	switch {
	case i < 0:
		s.cr = b[len(b)-1] == '\r'
		return len(b), false, nil
	case i > 0 && b[i-1] == '\r', i == 0 && s.cr:
		s.step = atType
		return i + 1, true, nil
	default:
		return i, false, errBareNewline
	}
}

// readShort collects a short line and opens what it announces.
func (s *Skipper) readShort(b []byte) (n int, ended bool, err error) {
	for i, c := range b {
		if c == '\n' {
			if s.used == 0 || s.short[s.used-1] != '\r' {
				return i, false, errBareNewline
			}
			ended, err := s.announce(s.short[:s.used-1])
			return i + 1, ended, err
		}
		if s.used == len(s.short) {
			return i, false, frameErrorf("a line of more than %d bytes", maxShort)
		}
		s.short[s.used] = c
		s.used++
	}
	return len(b), false, nil
}

// announce acts on a complete short line.
func (s *Skipper) announce(line []byte) (ended bool, err error) {
	v, err := shortValue(s.typ, line)
	if err != nil {
		return false, err
	}
	kind, err := kindOf(s.typ)
	if err != nil {
		return false, err
	}
	s.step = atType
	switch kind {
	case kindBulk:
		switch {
		case v > 0:
			s.step, s.rest = inBulk, v
		case v == 0:
			s.step = atBulkCR
		}
		return v < 0, nil
	case kindAggregate:
		return s.openLevel(level{left: values(s.typ, v), attribute: s.typ == '|'})
	default:
		return true, nil
	}
}

func (s *Skipper) openLevel(l level) (ended bool, err error) {
	if l.left == 0 {
		return !l.attribute, nil
	}
	if len(s.open) == MaxDepth {
		return false, errDepth
	}
	s.open = append(s.open, l)
	return false, nil
}

var errDepth = &FrameError{fmt.Sprintf("more than %d aggregates inside one another", MaxDepth)}

// closeValue counts a value that ended, and the aggregates that ended with it. It tells whether
// the outermost value ended.
func (s *Skipper) closeValue() bool {
	for len(s.open) > 0 {
		top := &s.open[len(s.open)-1]
		if top.left--; top.left > 0 {
			return false
		}
		attribute := top.attribute
		s.open = s.open[:len(s.open)-1]
		if attribute {
			return false // the value that it belongs to is still to come
		}
	}
	s.typ = 0
	return true
}
