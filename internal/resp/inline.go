package resp

// splitInline splits the line of an inline request into words as Redis's sdssplitargs does, and
// appends them to args. It answers false for unbalanced quotes. The line has no NUL and no
// newline.
//
// A word without quotes aliases line; one with quotes is built anew.
func splitInline(line []byte, args [][]byte) ([][]byte, bool) {
	for {
		for len(line) > 0 && isSpace(line[0]) {
			line = line[1:]
		}
		if len(line) == 0 {
			return args, true
		}
		word, rest, ok := inlineWord(line)
		if !ok {
			return args, false
		}
		args, line = append(args, word), rest
	}
}

// inlineWord cuts the word at the start of line.
func inlineWord(line []byte) (word, rest []byte, ok bool) {
	i := 0
	for i < len(line) && !endsWord(line[i]) && line[i] != '"' && line[i] != '\'' {
		i++
	}
	if i == len(line) || endsWord(line[i]) {
		return line[:i:i], line[i:], true
	}
	// A quote opens in the middle or at the start of a word; the closing one ends the word.
	word = append(word, line[:i]...)
	if line[i] == '"' {
		return doubleQuoted(word, line[i+1:])
	}
	return singleQuoted(word, line[i+1:])
}

// doubleQuoted appends what stands before the closing quote to word, with the escapes \xHH, \n,
// \r, \t, \b and \a; a backslash before any other byte stands for that byte.
func doubleQuoted(word, s []byte) (_, rest []byte, ok bool) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return word, s[i+1:], closesWord(s[i+1:])
		case s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' && isHex(s[i+2]) && isHex(s[i+3]):
			word = append(word, unhex(s[i+2])<<4|unhex(s[i+3]))
			i += 3
		case s[i] == '\\' && i+1 < len(s):
			i++
			word = append(word, unescape(s[i]))
		default:
			word = append(word, s[i])
		}
	}
	return nil, nil, false
}

// singleQuoted appends what stands before the closing quote to word; \' is its only escape.
func singleQuoted(word, s []byte) (_, rest []byte, ok bool) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\'':
			return word, s[i+1:], closesWord(s[i+1:])
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '\'':
			i++
			word = append(word, '\'')
		default:
			word = append(word, s[i])
		}
	}
	return nil, nil, false
}

// closesWord says whether a closing quote may stand before rest: only a space or nothing follows.
func closesWord(rest []byte) bool { return len(rest) == 0 || isSpace(rest[0]) }

// endsWord is narrower than isSpace, as in Redis: a vertical tab is skipped before a word and
// belongs to it inside.
func endsWord(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	default:
		return c
	}
}
