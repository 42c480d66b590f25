package keyname

import (
	"bytes"
	"slices"
)

//go:generate go run gen_slottags.go

// A co-located pair keeps both names in one hash slot. The target is the literal in front of the legacy name (which
// holds no '{', so that the braces added here are the first ones), and then
//
//	{L}       if L holds no brace: all of L is hashed, as it is on its own.
//	{T}:L     if L holds a brace. T is L's own hash tag, where it has a usable one; it holds no '}', so it ends where
//	          it should. Otherwise (a}b, {}x, a{b) all of L is hashed and T is a fixed string of the same slot.
//
// Wrapping alone would not do: {a}b} hashes a, where a}b hashes all of itself. And user:1 and {user:1} would meet at
// one target. The two forms cannot be confused: in the first the first '}' is the last byte, in the second it never is.

// appendWrapped appends the wrapped form of a legacy name.
func appendWrapped(dst, name []byte) []byte {
	// Not IndexAny: it reads its argument as UTF-8, and may build a set.
	if bytes.IndexByte(name, '{') < 0 && bytes.IndexByte(name, '}') < 0 {
		dst = append(dst, '{')
		return append(append(dst, name...), '}')
	}
	dst = append(dst, '{')
	if tag, ok := usableTag(name); ok {
		dst = append(dst, tag...)
	} else {
		dst = append(dst, slotTag(crc16(name)%Slots)...)
	}
	return append(append(dst, "}:"...), name...)
}

// unwrap is the inverse of appendWrapped. The result is a part of its argument.
func unwrap(wrapped []byte) ([]byte, bool) {
	if len(wrapped) == 0 || wrapped[0] != '{' {
		return nil, false
	}
	end := bytes.IndexByte(wrapped, '}')
	if end <= 1 {
		return nil, false
	}
	tag, after := wrapped[1:end], wrapped[end+1:]
	if len(after) == 0 {
		return tag, bytes.IndexByte(tag, '{') < 0
	}
	name := after[1:]
	if after[0] != ':' || bytes.IndexByte(name, '{') < 0 && bytes.IndexByte(name, '}') < 0 {
		return nil, false
	}
	if own, ok := usableTag(name); ok {
		return name, bytes.Equal(tag, own)
	}
	return name, string(tag) == slotTag(crc16(name)%Slots)
}

// slotTag returns the fixed string of a slot.
func slotTag(slot uint16) string {
	at := int(slot) * slotTagLen
	return slotTags[at : at+slotTagLen]
}

// unwrap returns the inner name of a name that t, a co-located target, has read.
func (t *Template) unwrap(name []byte, r *reading) ([]byte, bool) {
	v := r[len(t.vars)-1]
	inner, ok := unwrap(name[v.from:v.to])
	// read and not Match: the inner template is a plain one, and a recursion would move every caller's name to the heap.
	var plain reading
	if !ok || !t.inner.read(inner, &plain) {
		return nil, false
	}
	return inner, true
}

// wrapping returns the template whose names are a literal (or, with the environment left open, a literal with
// variables) and then a wrapped name of inner.
func (t *Template) wrapping(prefix []byte, inner *Template) *Template {
	w := &Template{
		text: t.text, usesEnv: t.usesEnv, inner: inner,
		lits: [][]byte{prefix, nil}, vars: []variable{{"wrapped", rest}},
	}
	if t.anyEnv != nil {
		w.anyEnv = t.anyEnv.openWrapping(inner)
	}
	return w
}

// openWrapping is wrapping for t, a target with the environment left open. It is nil where the environment could
// not be told from the wrapped name.
func (t *Template) openWrapping(inner *Template) *Template {
	if inner.anyEnv != nil {
		inner = inner.anyEnv
	}
	n := len(t.vars) - len(inner.vars)
	before := bytes.TrimSuffix(t.lits[n], inner.lits[0])
	if n > 0 && bytes.IndexByte(before, ':') < 0 {
		return nil
	}
	return &Template{
		text: t.text, usesEnv: true, open: true, inner: inner, pivot: n,
		lits: append(slices.Clone(t.lits[:n]), before, nil),
		vars: append(slices.Clone(t.vars[:n]), variable{"wrapped", rest}),
	}
}
