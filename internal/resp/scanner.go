package resp

// keptSpans is how many words a RequestScanner keeps room for between requests; the room of a
// larger request is given back.
const keptSpans = 1024

// A RequestScanner frames a request that comes in pieces. It remembers how far it has looked, so
// that the work is proportional to the request's length, not to its length times the number of
// pieces. The zero value, with the limits that are wanted, is ready.
//
// It keeps offsets, not slices: the buffer may move in memory between two calls, as long as it
// starts at the request's first byte and only grows.
type RequestScanner struct {
	Limits Limits

	pos     int    // start of the line or of the string that is looked for
	seen    int    // the line at pos was looked through up to here
	counted bool   // the line with the number of words was read
	left    int    // words still to come; only when counted
	inBulk  bool   // pos is the start of a string, not of a line
	size    int    // length of the string at pos; only when inBulk
	words   []span // words found
	inline  bool   // the request is a line; words is empty
	n       int    // length of the complete request, 0 before
	err     error  // a request that cannot be framed stays so
}

type span struct{ start, end int }

// Scan looks at the request at the start of buf. complete tells that all of it is there: then Len
// and Args describe it, and the next Scan begins a new request. An error stays until Reset.
func (s *RequestScanner) Scan(buf []byte) (complete bool, err error) {
	if s.n > 0 {
		s.Reset()
	}
	if s.err != nil {
		return false, s.err
	}
	if len(buf) == 0 {
		return false, nil
	}
	lim := s.Limits.withDefaults()
	if buf[0] == '*' {
		s.err = s.multibulk(buf, lim)
	} else {
		s.err = s.line(buf, lim)
	}
	return s.n > 0, s.err
}

func (s *RequestScanner) multibulk(buf []byte, lim Limits) error {
	if !s.counted {
		count, next, seen, err := readCount(buf, s.seen, lim)
		if err != nil || next == 0 {
			s.seen = seen
			return err
		}
		s.counted, s.left, s.pos, s.seen = true, count, next, next
	}
	for s.left > 0 {
		if !s.inBulk {
			size, start, seen, err := readBulkSize(buf, s.pos, s.seen, lim)
			if err != nil || start == 0 {
				s.seen = seen
				return err
			}
			s.inBulk, s.size, s.pos = true, size, start
		}
		if len(buf)-s.pos < s.size+2 {
			return nil
		}
		s.words = append(s.words, span{s.pos, s.pos + s.size})
		s.pos += s.size + 2
		s.seen, s.inBulk = s.pos, false
		s.left--
	}
	s.n = s.pos
	return nil
}

func (s *RequestScanner) line(buf []byte, lim Limits) error {
	end, seen, err := findLineEnd(buf, 0, s.seen, '\n', lim.Inline, errTooBigInline)
	if err != nil || end < 0 {
		s.seen = seen
		return err
	}
	if _, ok := splitInline(buf[:end], nil); !ok {
		return errQuotes
	}
	s.inline, s.n = true, end+1
	return nil
}

// Len is the length of the complete request, 0 before it is complete.
func (s *RequestScanner) Len() int { return s.n }

// Need is a number of further bytes without which the request cannot be complete; it is at least
// 1, and exact while a long word is on its way. It spares a reader useless wake-ups and tells it
// how far its buffer will have to grow. have is the length of the buffer that Scan saw last.
func (s *RequestScanner) Need(have int) int {
	if !s.inBulk {
		return 1
	}
	return max(1, s.pos+s.size+2-have)
}

// Args gives the words of the complete request in dst[:0]. They alias buf, which starts at the
// request as at the last Scan, but for words of an inline request that are written with quotes.
func (s *RequestScanner) Args(dst [][]byte, buf []byte) [][]byte {
	dst = dst[:0]
	if s.n == 0 {
		return dst // incomplete: the words so far are no request
	}
	if s.inline {
		dst, _ = splitInline(buf[:s.n-1], dst) // Scan has found the quotes balanced
		return dst
	}
	for _, w := range s.words {
		dst = append(dst, buf[w.start:w.end:w.end])
	}
	return dst
}

// Reset forgets the request at hand, and an error. The limits stay.
func (s *RequestScanner) Reset() {
	words := s.words[:0]
	if cap(words) > keptSpans {
		words = nil
	}
	*s = RequestScanner{Limits: s.Limits, words: words}
}
