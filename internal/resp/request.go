package resp

import (
	"bytes"
	"errors"
	"math"
)

// Redis's own limits, which a zero field of [Limits] stands for.
const (
	DefaultArgs    = math.MaxInt32 // words of one request
	DefaultBulk    = 512 << 20     // bytes of one word (proto-max-bulk-len)
	DefaultInline  = 64 << 10      // bytes of an inline request, and of any length line
	DefaultRequest = 1 << 30       // bytes of one request (client-query-buffer-limit)
)

// Limits bounds what a request may ask of our memory. A field that is zero (or negative) means
// Redis's own limit.
type Limits struct {
	Args    int // words of a request
	Bulk    int // bytes of one word
	Inline  int // bytes of an inline request, and of a line that announces a length
	Request int // bytes of a whole request
}

func (l Limits) withDefaults() Limits {
	if l.Args <= 0 {
		l.Args = DefaultArgs
	}
	if l.Bulk <= 0 {
		l.Bulk = DefaultBulk
	}
	if l.Inline <= 0 {
		l.Inline = DefaultInline
	}
	if l.Request <= 0 {
		l.Request = DefaultRequest
	}
	return l
}

// ProtocolError says that a request cannot be framed. Its text is the one that the server would
// answer (behind "-ERR ") before it closes the connection.
type ProtocolError struct{ Text string }

func (e *ProtocolError) Error() string { return e.Text }

// ErrProtocol is what every ProtocolError matches, for whoever must not look into it.
var ErrProtocol = errors.New("protocol error")

// Is says so.
func (e *ProtocolError) Is(target error) bool { return target == ErrProtocol }

var (
	errTooBigInline  = &ProtocolError{"Protocol error: too big inline request"}
	errTooBigCount   = &ProtocolError{"Protocol error: too big mbulk count string"}
	errTooBigBulk    = &ProtocolError{"Protocol error: too big bulk count string"}
	errTooBigRequest = &ProtocolError{"Protocol error: too big request"}
	errCount         = &ProtocolError{"Protocol error: invalid multibulk length"}
	errBulk          = &ProtocolError{"Protocol error: invalid bulk length"}
	errQuotes        = &ProtocolError{"Protocol error: unbalanced quotes in request"}
)

func errExpectedBulk(got byte) *ProtocolError {
	if got == '\r' || got == '\n' {
		got = ' ' // as the server prints it: an error is one line
	}
	return &ProtocolError{"Protocol error: expected '$', got '" + string([]byte{got}) + "'"}
}

// ParseRequest reads the request at the start of buf into args[:0] and says how many bytes it
// took. n is 0 while the request is incomplete. An empty line and a multibulk of no words take
// bytes and give no words: the server does not answer them. They must not be passed on: behind a
// line of blanks Valkey 8.0 takes whatever comes for an inline request, and would read another
// border than we do.
//
// The words alias buf, but for those of an inline request that are written with quotes. It
// allocates only when args must grow. Feeding a long request in small pieces is the work of
// [RequestScanner]; ParseRequest starts over each time.
func ParseRequest(buf []byte, args [][]byte, lim Limits) (n int, out [][]byte, err error) {
	args = args[:0]
	if len(buf) == 0 {
		return 0, args, nil
	}
	lim = lim.withDefaults()
	if buf[0] != '*' {
		return parseInline(buf, args, lim)
	}
	count, pos := shortNumber(buf, 1)
	if pos == 0 || count > lim.Args || pos > lim.Inline {
		if count, pos, _, err = readCount(buf, 0, lim); err != nil || pos == 0 {
			return 0, args, err
		}
	}
	for range count {
		size, start := 0, 0
		if pos < len(buf) && buf[pos] == '$' {
			size, start = shortNumber(buf, pos+1)
		}
		if start == 0 || size > lim.Bulk || start-pos > lim.Inline || start+size+2 > lim.Request {
			size, start, _, err = readBulkSize(buf, pos, pos, lim)
		}
		if err != nil || start == 0 || len(buf)-start < size+2 {
			return 0, args[:0], err
		}
		args = append(args, buf[start:start+size:start+size])
		pos = start + size + 2
	}
	return pos, args, nil
}

func parseInline(buf []byte, args [][]byte, lim Limits) (n int, out [][]byte, err error) {
	end, _, err := findLineEnd(buf, 0, 0, '\n', lim.Inline, errTooBigInline)
	if err != nil || end < 0 {
		return 0, args, err
	}
	args, ok := splitInline(buf[:end], args)
	if !ok {
		return 0, args[:0], errQuotes
	}
	return end + 1, args, nil
}

// readCount reads the line "*N\r\n" at the start of buf, looked through up to from. next is where
// the first word begins, 0 while the line is incomplete; then seen is where to look on.
func readCount(buf []byte, from int, lim Limits) (count, next, seen int, err error) {
	end, seen, err := findLineEnd(buf, 0, from, '\r', lim.Inline, errTooBigCount)
	if err != nil || end < 0 {
		return 0, 0, seen, err
	}
	v, ok := parseInt(buf[1:end])
	if !ok || v > int64(lim.Args) {
		return 0, 0, 0, errCount
	}
	return int(max(v, 0)), end + 2, 0, nil
}

// readBulkSize reads the line "$N\r\n" at pos, looked through up to from. start is where the
// string begins, 0 while the line is incomplete; then seen is where to look on.
func readBulkSize(buf []byte, pos, from int, lim Limits) (size, start, seen int, err error) {
	end, seen, err := findLineEnd(buf, pos, from, '\r', lim.Inline, errTooBigBulk)
	if err != nil || end < 0 {
		return 0, 0, seen, err
	}
	if buf[pos] != '$' {
		return 0, 0, 0, errExpectedBulk(buf[pos])
	}
	v, ok := parseInt(buf[pos+1 : end])
	if !ok || v < 0 || v > int64(lim.Bulk) {
		return 0, 0, 0, errBulk
	}
	if int64(end)+4+v > int64(lim.Request) {
		return 0, 0, 0, errTooBigRequest
	}
	return int(v), end + 2, 0, nil
}

// findLineEnd looks for the end of the line that starts at start, in the bytes from from on; those
// before it were looked at already. It gives the index of the terminator or, when there is none
// yet, -1 and where to look next time, so that a line that comes byte by byte is read once.
//
// The terminator is '\n' (inline) or '\r' with one more byte behind it, which the server skips
// without a look. As the server searches with strchr, a NUL hides every terminator behind it: such
// a line never ends and runs into the limit.
func findLineEnd(buf []byte, start, from int, terminator byte, limit int, tooBig error) (end, seen int, err error) {
	window := buf[from:min(len(buf), start+limit+1)]
	before := window // what stands before the terminator: all of it when there is none
	i := bytes.IndexByte(window, terminator)
	if i >= 0 {
		before = window[:i]
	}
	nul := bytes.IndexByte(before, 0)
	switch {
	case nul >= 0:
		seen = from + nul // stay in front of it, so that it hides what follows next time too
	case i < 0:
		seen = from + len(window)
	case terminator == '\r' && from+i+1 == len(buf):
		return -1, from + i, nil // the byte behind it is still to come
	default:
		return from + i, 0, nil
	}
	if len(buf)-start > limit {
		return -1, 0, tooBig
	}
	return -1, seen, nil
}
