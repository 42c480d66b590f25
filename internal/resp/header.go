package resp

import (
	"bytes"
	"fmt"
)

// Limits of a reply. A server is trusted more than a client, but a broken one, or one that is not
// Redis at all, must not make us run out of memory or of numbers either.
const (
	MaxDepth    = 128       // aggregates inside one another
	MaxElements = 1<<32 - 1 // elements announced by one aggregate, as in hiredis
	MaxBulk     = 1 << 40   // bytes announced by one bulk string
	MaxText     = 1 << 20   // bytes of a line of text that is read as a whole
)

// maxShort bounds the lines that hold a length, an integer, a boolean or a null, without their end.
const maxShort = maxDigits

// FrameError says why the bytes of a server cannot be framed as replies. The connection is of no
// use any more: nobody knows where the next reply begins.
type FrameError struct{ Reason string }

func (e *FrameError) Error() string { return "reply cannot be framed: " + e.Reason }

func frameErrorf(format string, args ...any) error {
	return &FrameError{fmt.Sprintf(format, args...)}
}

// A Header is the first line of a value.
type Header struct {
	Type byte   // '$', '*', '+', ...
	N    int64  // the length, the number of elements or the integer; 1 and 0 of a boolean; -1 of a null
	Line []byte // the line without its type and its end; it aliases the input
}

// ReadHeader reads the first line of the value at the start of b and says how many bytes it took,
// 0 while it is incomplete.
func ReadHeader(b []byte) (h Header, n int, err error) {
	if len(b) == 0 {
		return Header{}, 0, nil
	}
	kind, err := kindOf(b[0])
	if err != nil {
		return Header{}, 0, err
	}
	limit := MaxText
	if kind != kindText {
		limit = maxShort
	}
	line, err := replyLine(b[1:], limit)
	if err != nil || line == nil {
		return Header{}, 0, err
	}
	h = Header{Type: b[0], Line: line}
	if kind != kindText {
		if h.N, err = shortValue(h.Type, line); err != nil {
			return Header{}, 0, err
		}
	}
	return h, 1 + len(line) + 2, nil
}

// replyLine cuts the line at the start of b; it is nil while the line is incomplete. A carriage
// return alone is text; a newline alone is refused, because some clients end the line there.
func replyLine(b []byte, limit int) ([]byte, error) {
	i := bytes.IndexByte(b[:min(len(b), limit+2)], '\n')
	switch {
	case i > 0 && b[i-1] == '\r':
		return b[: i-1 : i-1], nil
	case i >= 0:
		return nil, errBareNewline
	case len(b) > limit+1:
		return nil, frameErrorf("a line of more than %d bytes", limit)
	default:
		return nil, nil
	}
}

var errBareNewline = &FrameError{"a line ends without a carriage return"}

// kind is what follows a value's type byte.
type kind uint8

const (
	kindText      kind = iota + 1 // a line of text is all of it
	kindScalar                    // a short line is all of it
	kindBulk                      // a length, then that many bytes and a line end
	kindAggregate                 // a count, then that many values, or twice as many
)

func kindOf(typ byte) (kind, error) {
	switch typ {
	case '+', '-', ',', '(':
		return kindText, nil
	case ':', '#', '_':
		return kindScalar, nil
	case '$', '!', '=':
		return kindBulk, nil
	case '*', '%', '~', '>', '|':
		return kindAggregate, nil
	default:
		return 0, frameErrorf("unknown type byte %q", typ)
	}
}

// shortValue reads the line of a value whose type is not text.
func shortValue(typ byte, line []byte) (int64, error) {
	switch typ {
	case '#':
		switch string(line) {
		case "t":
			return 1, nil
		case "f":
			return 0, nil
		}
		return 0, frameErrorf("boolean %q", line)
	case '_':
		if len(line) != 0 {
			return 0, frameErrorf("null with text %q", line)
		}
		return -1, nil
	case ':':
		digits := line
		if len(digits) > 1 && digits[0] == '+' && digits[1] != '-' {
			digits = digits[1:]
		}
		v, ok := parseInt(digits)
		if !ok {
			return 0, frameErrorf("integer %q", line)
		}
		return v, nil
	}
	return length(typ, line)
}

// length reads the length of a bulk string or the count of an aggregate. -1 is the null of RESP2.
func length(typ byte, line []byte) (int64, error) {
	if len(line) == 1 && line[0] == '?' {
		return 0, frameErrorf("streamed type %q, which no server sends", typ)
	}
	v, ok := parseInt(line)
	isNull := v == -1 && (typ == '$' || typ == '*')
	if !ok || v < 0 && !isNull {
		return 0, frameErrorf("length %q of type %q", line, typ)
	}
	limit := int64(MaxElements)
	if typ == '$' || typ == '!' || typ == '=' {
		limit = MaxBulk
	}
	if v > limit {
		return 0, frameErrorf("length %d of type %q is over the limit of %d", v, typ, limit)
	}
	return v, nil
}

// values is how many values an aggregate of n elements holds.
func values(typ byte, n int64) int64 {
	if typ == '%' || typ == '|' {
		return 2 * n
	}
	return max(n, 0)
}
