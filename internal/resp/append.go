package resp

import "strconv"

// AppendCommand appends a request of the given words.
func AppendCommand(dst []byte, args ...[]byte) []byte {
	dst = AppendArrayHeader(dst, len(args))
	for _, arg := range args {
		dst = AppendBulk(dst, arg)
	}
	return dst
}

// AppendArrayHeader appends the header of an array of n elements, or of a request of n words.
func AppendArrayHeader(dst []byte, n int) []byte { return appendLength(dst, '*', n) }

// AppendMapHeader appends the header of a map of n pairs: in RESP2 an array of 2n elements.
func AppendMapHeader(dst []byte, n, proto int) []byte {
	if proto < 3 {
		return appendLength(dst, '*', 2*n)
	}
	return appendLength(dst, '%', n)
}

// AppendSetHeader appends the header of a set of n members: in RESP2 an array.
func AppendSetHeader(dst []byte, n, proto int) []byte {
	if proto < 3 {
		return appendLength(dst, '*', n)
	}
	return appendLength(dst, '~', n)
}

// AppendPushHeader appends the header of a push message of n elements: in RESP2 an array.
func AppendPushHeader(dst []byte, n, proto int) []byte {
	if proto < 3 {
		return appendLength(dst, '*', n)
	}
	return appendLength(dst, '>', n)
}

// AppendBulk appends a bulk string.
func AppendBulk(dst, b []byte) []byte {
	dst = appendLength(dst, '$', len(b))
	dst = append(dst, b...)
	return append(dst, '\r', '\n')
}

// AppendBulkString appends a bulk string.
func AppendBulkString(dst []byte, s string) []byte {
	dst = appendLength(dst, '$', len(s))
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}

// AppendError appends an error reply. The text begins with its code ("ERR ..."); line breaks in it
// become spaces, as the server makes them, so that no text can end the line early.
func AppendError(dst []byte, text string) []byte { return appendLine(dst, '-', text) }

// AppendSimple appends a simple string; line breaks in it become spaces.
func AppendSimple(dst []byte, text string) []byte { return appendLine(dst, '+', text) }

// AppendInt appends an integer.
func AppendInt(dst []byte, n int64) []byte {
	dst = append(dst, ':')
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, '\r', '\n')
}

// AppendNull appends the null of the protocol version in which the server answers a missing value.
func AppendNull(dst []byte, proto int) []byte {
	if proto < 3 {
		return append(dst, "$-1\r\n"...)
	}
	return append(dst, "_\r\n"...)
}

// AppendNullArray appends the null of the protocol version in which the server answers a missing
// array: an aborted EXEC, a blocking pop that ran out of time.
func AppendNullArray(dst []byte, proto int) []byte {
	if proto < 3 {
		return append(dst, "*-1\r\n"...)
	}
	return append(dst, "_\r\n"...)
}

func appendLength(dst []byte, kind byte, n int) []byte {
	if 0 <= n && n < 10 {
		return append(dst, kind, '0'+byte(n), '\r', '\n')
	}
	if 10 <= n && n < 100 {
		return append(dst, kind, '0'+byte(n/10), '0'+byte(n%10), '\r', '\n')
	}
	dst = append(dst, kind)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '\r', '\n')
}

func appendLine(dst []byte, typ byte, text string) []byte {
	dst = append(dst, typ)
	for i := range len(text) {
		c := text[i]
		if c == '\r' || c == '\n' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return append(dst, '\r', '\n')
}
