package shape

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind is what a variable's values look like; several together are a set.
type Kind uint8

const (
	Number Kind = 1 << iota // digits
	Hex                     // eight or more hexadecimal digits
	UUID
	Token  // letters and digits mixed, or letters as nobody writes them: base64 and its like
	Word   // words, of which there were too many
	Binary // bytes that are no text, or cannot be printed
)

// String is the word that a variable of the kind is called.
func (k Kind) String() string {
	switch k {
	case Number:
		return "n"
	case Hex, Hex | Number:
		return "hex"
	case UUID:
		return "uuid"
	case Word:
		return "name"
	case Binary:
		return "bytes"
	default:
		return "id"
	}
}

const (
	// maxPrefix and maxSuffix bound a segment's literals, so that a template of maxDepth segments is not too long for a plan.
	maxPrefix, maxSuffix = 48, 16
	// minHex is how long hexadecimal digits are at least that are taken for an identifier.
	minHex = 8
	// maxWord is the longest run of letters that is taken for a word.
	maxWord = 24
)

// pattern is what a segment looks like: a literal, or a variable with literals around it.
type pattern struct {
	prefix, suffix string // of a literal, prefix is all of it
	open           bool
}

// key tells patterns apart.
func (p pattern) key() string {
	if !p.open {
		return p.prefix
	}
	return p.prefix + "\x00" + p.suffix // a literal holds no NUL
}

// parse finds the identifiers of a segment: from the first to the last is its variable. A segment without any is a literal.
func parse(segment []byte) (pattern, Kind) {
	from, to, kind := -1, 0, Kind(0)
	for at := 0; at < len(segment); {
		n, word, k := token(segment[at:])
		if k != 0 {
			if from < 0 {
				from = at + word
			}
			to, kind = at+n, kind|k
		}
		at += n
	}
	if from < 0 {
		if len(segment) > maxPrefix {
			return pattern{open: true, prefix: atBoundary(string(segment[:maxPrefix]))}, Word
		}
		return pattern{prefix: string(segment)}, 0
	}
	p := pattern{open: true}
	if p.prefix = string(segment[:min(from, maxPrefix)]); from > maxPrefix {
		p.prefix = atBoundary(p.prefix)
	}
	if len(segment)-to <= maxSuffix {
		p.suffix = string(segment[to:])
	}
	return p, kind
}

// token reads what a segment begins with: n bytes, of which the first word bytes are a literal where kind says that an
// identifier is among them.
func token(segment []byte) (n, word int, kind Kind) {
	if r, size := utf8.DecodeRune(segment); !printable(r, size) {
		return size, 0, Binary
	} else if !alphanumeric(r) {
		return size, 0, 0
	}
	if uuid(segment) {
		return 36, 0, UUID
	}
	var digits, letters, hexadecimal, upper, turns int
	firstDigit := -1
	var before rune
	for n < len(segment) {
		r, size := utf8.DecodeRune(segment[n:])
		if !printable(r, size) || !alphanumeric(r) {
			break
		}
		switch {
		case '0' <= r && r <= '9':
			digits, hexadecimal = digits+1, hexadecimal+1
			if firstDigit < 0 {
				firstDigit = n
			}
		default:
			letters++
			if 'a' <= r && r <= 'f' || 'A' <= r && r <= 'F' {
				hexadecimal++
			}
			if unicode.IsUpper(r) {
				upper++
			}
			if unicode.IsUpper(r) && unicode.IsLower(before) {
				turns++
			}
		}
		before = r
		n += size
	}
	switch {
	case letters == 0:
		return n, 0, Number
	case digits > 0 && n >= minHex && hexadecimal == n:
		return n, 0, Hex
	case digits == 0 && (n > maxWord || n >= 12 && turns > n/5):
		return n, 0, Token
	case digits == 0:
		return n, 0, 0
	case n <= 3 && segment[0] == 'v' && firstDigit == 1 && digits == n-1:
		return n, 0, 0 // v1, a version and no value
	case firstDigit+digits == n && upper <= 1 && letters <= maxWord:
		return n, firstDigit, Number // user17
	default:
		return n, 0, Token
	}
}

func printable(r rune, size int) bool {
	return !(r == utf8.RuneError && size <= 1) && unicode.IsPrint(r)
}

func alphanumeric(r rune) bool { return unicode.IsLetter(r) || '0' <= r && r <= '9' }

// uuid reports whether a segment begins with a UUID that ends there.
func uuid(segment []byte) bool {
	if len(segment) < 36 || len(segment) > 36 && alphanumeric(rune(segment[36])) {
		return false
	}
	for i, c := range segment[:36] {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		digit := '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
		if dash && c != '-' || !dash && !digit {
			return false
		}
	}
	return true
}

// isBoundary reports whether a token of its own ends before text[at:]: at the beginning and behind an ASCII character that is
// no letter and no digit.
func isBoundary(text string, at int) bool {
	return at == 0 || text[at-1] < utf8.RuneSelf && !alphanumeric(rune(text[at-1]))
}

// atBoundary cuts a beginning back to the last boundary in it.
func atBoundary(text string) string {
	for at := len(text); ; at-- {
		if isBoundary(text, at) {
			return text[:at]
		}
	}
}

// fromBoundary cuts an end back to the first separator in it.
func fromBoundary(text string) string {
	for at := range len(text) {
		if c := text[at]; c < utf8.RuneSelf && !alphanumeric(rune(c)) {
			return text[at:]
		}
	}
	return ""
}

// join is the narrowest pattern of whole tokens that has all segments of both. shortest is the shortest of them.
func join(a, b pattern, shortest int) pattern {
	switch {
	case a == b && !a.open:
		return a
	case a == b:
		return a.fit(shortest)
	}
	out := pattern{open: true, prefix: commonPrefix(a.prefix, b.prefix)}
	if !a.open || !b.open || a.prefix != b.prefix {
		out.prefix = atBoundary(out.prefix[:min(len(out.prefix), maxPrefix)])
	}
	x, y := a.end(), b.end()
	out.suffix = commonSuffix(x, y)
	if !a.open || !b.open || a.suffix != b.suffix {
		out.suffix = fromBoundary(out.suffix[max(0, len(out.suffix)-maxSuffix):])
	}
	return out.fit(shortest)
}

// opened is a literal as a variable with as much around it as is of whole tokens.
func (p pattern) opened(shortest int) pattern {
	return join(pattern{open: true, prefix: p.prefix, suffix: p.prefix}, p, shortest)
}

// end is what all segments of a pattern end with.
func (p pattern) end() string {
	if p.open {
		return p.suffix
	}
	return p.prefix
}

// fit gives up literals until the shortest segment has a byte for the variable.
func (p pattern) fit(shortest int) pattern {
	if shortest <= len(p.prefix)+len(p.suffix) {
		p.suffix = ""
	}
	if shortest <= len(p.prefix) {
		p.prefix = atBoundary(p.prefix[:max(0, shortest-1)])
	}
	return p
}

// meets reports whether some segment has both patterns.
func (p pattern) meets(q pattern) bool {
	switch {
	case !p.open && !q.open:
		return p.prefix == q.prefix
	case !p.open:
		return q.meets(p)
	case !q.open:
		return len(q.prefix) > len(p.prefix)+len(p.suffix) && strings.HasPrefix(q.prefix, p.prefix) && strings.HasSuffix(q.prefix, p.suffix)
	default:
		return (strings.HasPrefix(p.prefix, q.prefix) || strings.HasPrefix(q.prefix, p.prefix)) &&
			(strings.HasSuffix(p.suffix, q.suffix) || strings.HasSuffix(q.suffix, p.suffix))
	}
}

func commonPrefix(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

func commonSuffix(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return a[len(a)-n:]
}

// cut takes the first segment off a name.
func cut(name []byte) (segment, after []byte, more bool) {
	return bytes.Cut(name, []byte{':'})
}
