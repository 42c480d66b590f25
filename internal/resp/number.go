package resp

import "math"

// maxShortDigits is how many digits shortNumber reads.
const maxShortDigits = 8

// shortNumber reads the line "N\r" at pos and the byte behind it, which it does not look at, for an N without a sign
// and of few digits, as nearly all lengths are. next is 0 for every other line: whoever reads lines in general says
// what that is.
func shortNumber(buf []byte, pos int) (v, next int) {
	i := pos
	for end := min(len(buf), pos+maxShortDigits); i < end; i++ {
		d := buf[i] - '0'
		if d > 9 {
			break
		}
		v = v*10 + int(d)
	}
	if i == pos || i+1 >= len(buf) || buf[i] != '\r' || buf[pos] == '0' && i > pos+1 {
		return 0, 0
	}
	return v, i + 2
}

// maxDigits is the length of the longest int64, its sign included. A longer number is refused
// before it is read.
const maxDigits = len("-9223372036854775808")

// parseInt reads an integer as Redis's string2ll does: no spaces, no plus sign, no leading zero,
// no "-0", nothing beyond int64.
func parseInt(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > maxDigits {
		return 0, false
	}
	if len(b) == 1 && b[0] == '0' {
		return 0, true
	}
	negative := b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || b[0] < '1' || b[0] > '9' {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		d := uint64(c - '0')
		if v > (math.MaxUint64-d)/10 {
			return 0, false
		}
		v = v*10 + d
	}
	if negative {
		if v > -math.MinInt64 {
			return 0, false
		}
		return int64(-v), true // two's complement: right for MinInt64 too
	}
	if v > math.MaxInt64 {
		return 0, false
	}
	return int64(v), true
}
