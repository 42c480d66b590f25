package keyname

import "slices"

// byteSet is a set of bytes.
type byteSet [4]uint64

func (s *byteSet) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }
func (s *byteSet) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *byteSet) remove(c byte)   { s[c>>6] &^= 1 << (c & 63) }

// pick returns a byte that both sets hold, a letter if there is one: it becomes part of an example.
func (s *byteSet) pick(t *byteSet) (byte, bool) {
	for _, c := range []byte("x1a") {
		if s.has(c) && t.has(c) {
			return c, true
		}
	}
	for c := range 256 {
		if s.has(byte(c)) && t.has(byte(c)) {
			return byte(c), true
		}
	}
	return 0, false
}

var (
	allBytes     = byteSet{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	segmentBytes = without(allBytes, ":")
	envBytes     = holding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
)

func holding(text string) (s byteSet) {
	for i := range len(text) {
		s.add(text[i])
	}
	return s
}

func without(s byteSet, text string) byteSet {
	for i := range len(text) {
		s.remove(text[i])
	}
	return s
}

// cell consumes one byte of a set, or one and more.
type cell struct {
	bytes  byteSet
	repeat bool
}

// chain is a template as an automaton. State k is "k cells done". From it a byte of cell k leads to k+1, and a
// byte of cell k-1 leads back to k if that cell repeats. The last state accepts.
type chain []cell

// chains returns automata that together accept the template's names.
//
// For the target of a co-located pair they accept somewhat more: the tag in front of a name with a brace may be
// any tag. What Overlap says of such a target can therefore err, and only on the side of refusing.
func (t *Template) chains() []chain {
	if t.inner == nil {
		return []chain{t.chain(allBytes)}
	}
	n := len(t.vars) - 1
	outer := (&Template{lits: t.lits[:n+1], vars: t.vars[:n]}).chain(allBytes)
	// A name without any brace, in braces.
	whole := appendLiteral(slices.Clone(outer), "{")
	whole = append(whole, t.inner.chain(without(allBytes, "{}"))...)
	whole = appendLiteral(whole, "}")
	// A name with a brace, behind a tag.
	tagged := appendLiteral(slices.Clone(outer), "{")
	tagged = append(tagged, cell{bytes: without(allBytes, "}"), repeat: true})
	tagged = appendLiteral(tagged, "}:")
	tagged = append(tagged, t.inner.chain(allBytes)...)
	return []chain{whole, tagged}
}

// chain is the automaton of the names whose bytes are all in allowed.
func (t *Template) chain(allowed byteSet) chain {
	var c chain
	for i, lit := range t.lits {
		for _, b := range lit {
			one := holding(string([]byte{b}))
			c = append(c, cell{bytes: one.and(allowed)})
		}
		if i == len(t.vars) {
			break
		}
		of := allBytes
		switch t.vars[i].kind {
		case segment:
			of = segmentBytes
		case environment:
			of = envBytes
		}
		c = append(c, cell{bytes: of.and(allowed), repeat: true})
	}
	return c
}

func (s byteSet) and(t byteSet) byteSet {
	for i := range s {
		s[i] &= t[i]
	}
	return s
}

func appendLiteral(c chain, text string) chain {
	for i := range len(text) {
		c = append(c, cell{bytes: holding(text[i : i+1])})
	}
	return c
}

// Overlap decides whether some name belongs to both templates, and returns a shortest such name.
func Overlap(a, b *Template) (example []byte, ok bool) {
	for _, ca := range a.chains() {
		for _, cb := range b.chains() {
			if name, found := meet(ca, cb); found && (!ok || len(name) < len(example)) {
				example, ok = name, true
			}
		}
	}
	return example, ok
}

// step is how a state of the product was first reached.
type step struct {
	from int32 // state, or -1: not reached
	by   byte
}

// meet searches the product of two automata breadth first, so that the first name found is a shortest one.
func meet(a, b chain) ([]byte, bool) {
	width := len(b) + 1
	reached := make([]step, (len(a)+1)*width)
	for i := range reached {
		reached[i].from = -1
	}
	goal := int32(len(reached) - 1)
	queue := []int32{0}
	reached[0].from = 0
	for len(queue) > 0 && reached[goal].from < 0 {
		at := queue[0]
		queue = queue[1:]
		for _, i := range a.moves(int(at) / width) {
			for _, j := range b.moves(int(at) % width) {
				to := int32(i.to*width + j.to)
				if reached[to].from >= 0 {
					continue
				}
				if c, ok := i.bytes.pick(j.bytes); ok {
					reached[to] = step{at, c}
					queue = append(queue, to)
				}
			}
		}
	}
	if reached[goal].from < 0 {
		return nil, false
	}
	var name []byte
	for at := goal; at != 0; at = reached[at].from {
		name = append(name, reached[at].by)
	}
	slices.Reverse(name)
	return name, true
}

type move struct {
	to    int
	bytes *byteSet
}

// moves lists the ways out of a state, the one forward first.
func (c chain) moves(state int) []move {
	var out []move
	if state < len(c) {
		out = append(out, move{state + 1, &c[state].bytes})
	}
	if state > 0 && c[state-1].repeat {
		out = append(out, move{state, &c[state-1].bytes})
	}
	return out
}
