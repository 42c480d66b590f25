package resp

import "math"

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
