package keyname

// maxGlobNesting is the server's guard against abusive patterns: a * in the middle of a pattern beyond the
// thousandth matches nothing.
const maxGlobNesting = 1000

// GlobMatch reports whether name matches the pattern as Redis's stringmatchlen decides it, oddities included: a
// pattern other than the empty one never matches the empty name (see [GlobMatchKey]); [ without ] ends with the pattern; bytes in a
// range compare as signed numbers, as they do in a server on x86. It takes at most len(pattern) steps per byte
// of the name, whatever the pattern, and does not allocate.
func GlobMatch(pattern, name []byte) bool {
	if len(name) == 0 {
		return len(pattern) == 0
	}
	at, star, resume, stars := 0, -1, 0, 0
	for i := 0; i < len(name); {
		if at < len(pattern) && pattern[at] == '*' {
			for at < len(pattern) && pattern[at] == '*' {
				at++
			}
			if at == len(pattern) {
				return true
			}
			if stars++; stars > maxGlobNesting {
				return false
			}
			star, resume = at, i
			continue
		}
		if at < len(pattern) {
			if n, ok := globElement(pattern[at:], name[i]); ok {
				at, i = at+n, i+1
				continue
			}
		}
		// The last * takes one byte more. An earlier one need not: what stood between them was found as early as it can be.
		if star < 0 {
			return false
		}
		resume++
		at, i = star, resume
	}
	for at < len(pattern) && pattern[at] == '*' {
		at++
	}
	return at == len(pattern)
}

// GlobMatchKey is GlobMatch as SCAN and KEYS use it: the pattern * alone is no pattern for them, so it matches the empty
// name too.
func GlobMatchKey(pattern, name []byte) bool {
	return len(pattern) == 1 && pattern[0] == '*' || GlobMatch(pattern, name)
}

// globElement matches one byte with the element that a pattern begins with, which is no *. It returns how long
// the element is.
func globElement(pattern []byte, c byte) (int, bool) {
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		n, _, found := globClass(pattern, c)
		return n, found
	case '\\':
		if len(pattern) >= 2 {
			return 2, pattern[1] == c
		}
	}
	return 1, pattern[0] == c
}

// globClass is globElement of a class. closed: it has its ].
func globClass(pattern []byte, c byte) (n int, closed, ok bool) {
	at, negated, found := 1, false, false
	if at < len(pattern) && pattern[at] == '^' {
		at, negated = at+1, true
	}
	for at < len(pattern) && pattern[at] != ']' {
		left := pattern[at:]
		switch {
		case left[0] == '\\' && len(left) >= 2:
			found = found || left[1] == c
			at += 2
		case len(left) >= 3 && left[1] == '-':
			from, to := int8(left[0]), int8(left[2])
			found = found || min(from, to) <= int8(c) && int8(c) <= max(from, to)
			at += 3
		default:
			found = found || left[0] == c
			at++
		}
	}
	if closed = at < len(pattern); closed {
		at++ // the ]
	}
	return at, closed, found != negated
}

// GlobEnds reports whether a pattern ends with a whole element, so that what is put behind it stands for itself: a
// backslash at its end would quote that, and a class without ] would take it in.
func GlobEnds(pattern []byte) bool {
	for len(pattern) > 0 {
		n := 1
		switch pattern[0] {
		case '\\':
			if n = 2; len(pattern) < n {
				return false
			}
		case '[':
			var closed bool
			if n, closed, _ = globClass(pattern, 0); !closed {
				return false
			}
		}
		pattern = pattern[n:]
	}
	return true
}

// AppendGlobLiteral appends a pattern that matches exactly the given bytes.
func AppendGlobLiteral(dst, literal []byte) []byte {
	for _, c := range literal {
		switch c {
		case '*', '?', '[', ']', '\\':
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return dst
}
