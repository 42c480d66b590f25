package resp

// MaxParsed is how many values one call of [Parse] builds at most.
const MaxParsed = 1 << 20

// A Value is a reply that was read whole: for small replies, for tools and for tests. What is
// passed on is framed by [Skipper] instead.
type Value struct {
	Type  byte    // '$', '*', '+', ...
	Str   []byte  // a string, an error, or the line of a number as the server wrote it
	Int   int64   // an integer; 1 or 0 of a boolean
	Elems []Value // elements; of a map its keys and values in turn
	Null  bool    // "$-1", "*-1" or "_"
	Attr  []Value // keys and values, in turn, of the attributes in front of it
}

// Parse reads the value at the start of b and says how many bytes it took, 0 while the value is
// incomplete. Str aliases b. It starts over at each call, so it is not for replies that come in
// many pieces.
func Parse(b []byte) (v Value, n int, err error) {
	p := parser{b: b}
	v, ok, err := p.value(0)
	if err != nil || !ok {
		return Value{}, 0, err
	}
	return v, p.pos, nil
}

type parser struct {
	b     []byte
	pos   int
	built int // values built
}

// value reads one value inside depth aggregates. ok is false when it is incomplete.
func (p *parser) value(depth int) (v Value, ok bool, err error) {
	for {
		h, n, err := ReadHeader(p.b[p.pos:])
		if err != nil || n == 0 {
			return Value{}, false, err
		}
		if p.built++; p.built > MaxParsed {
			return Value{}, false, frameErrorf("more than %d values to hold", MaxParsed)
		}
		p.pos += n
		kind, err := kindOf(h.Type)
		if err != nil {
			return Value{}, false, err
		}
		v.Type = h.Type
		switch kind {
		case kindText:
			v.Str = h.Line
		case kindScalar:
			v.Null = h.Type == '_'
			if !v.Null {
				v.Str, v.Int = h.Line, h.N
			}
		case kindBulk:
			v.Null = h.N < 0
			if v.Null {
				break
			}
			if v.Str, err = p.bulk(h.N); err != nil || v.Str == nil {
				return Value{}, false, err
			}
		case kindAggregate:
			v.Null = h.N < 0
			elems, ok, err := p.values(values(h.Type, h.N), depth)
			if err != nil || !ok {
				return Value{}, false, err
			}
			if h.Type == '|' {
				v.Attr = append(v.Attr, elems...)
				continue // the value that it belongs to follows
			}
			v.Elems = elems
		}
		return v, true, nil
	}
}

// bulk reads n bytes and their line end; nil while they are incomplete.
func (p *parser) bulk(n int64) ([]byte, error) {
	rest := p.b[p.pos:]
	for i, want := range []byte("\r\n") {
		if at := n + int64(i); at < int64(len(rest)) {
			if err := expectLineEnd(rest[at], want); err != nil {
				return nil, err
			}
		}
	}
	if int64(len(rest)) < n+2 {
		return nil, nil
	}
	p.pos += int(n) + 2
	return rest[:n:n], nil
}

// values reads n values inside one more aggregate.
func (p *parser) values(n int64, depth int) (elems []Value, ok bool, err error) {
	if n == 0 {
		return nil, true, nil
	}
	if depth == MaxDepth {
		return nil, false, errDepth
	}
	// A value takes 3 bytes at least: room is made for what can be there, not for what was said.
	elems = make([]Value, 0, min(n, int64(len(p.b)-p.pos)/3))
	for range n {
		v, ok, err := p.value(depth + 1)
		if err != nil || !ok {
			return nil, false, err
		}
		elems = append(elems, v)
	}
	return elems, true, nil
}

// Append appends the value as the server wrote it.
func (v Value) Append(dst []byte) []byte {
	if len(v.Attr) > 0 {
		dst = appendValues(appendLength(dst, '|', len(v.Attr)/2), v.Attr)
	}
	kind, err := kindOf(v.Type)
	switch {
	case err != nil: // the zero Value: nothing was read, nothing is written
		return dst
	case v.Type == '_':
		return append(dst, "_\r\n"...)
	case v.Null:
		return append(dst, v.Type, '-', '1', '\r', '\n')
	case kind == kindBulk:
		dst = appendLength(dst, v.Type, len(v.Str))
	case kind == kindAggregate:
		n := len(v.Elems)
		if v.Type == '%' {
			n /= 2
		}
		return appendValues(appendLength(dst, v.Type, n), v.Elems)
	default:
		dst = append(dst, v.Type)
	}
	dst = append(dst, v.Str...)
	return append(dst, '\r', '\n')
}

func appendValues(dst []byte, values []Value) []byte {
	for i := range values {
		dst = values[i].Append(dst)
	}
	return dst
}

// IsError tells whether the value is an error reply.
func (v Value) IsError() bool { return v.Type == '-' || v.Type == '!' }
