package rewrite

import "bytes"

// Shape is how the reply of a command's form that does not wait becomes the reply of the
// command.
type Shape uint8

// The shapes.
const (
	SameShape    Shape = iota
	ElementShape       // [key, [element]] of LMPOP is [key, element] of BLPOP
	MemberShape        // [key, [[member, score]]] of ZMPOP is [key, member, score] of BZPOPMIN
)

var (
	wordLMPop     = []byte("LMPOP")
	wordZMPop     = []byte("ZMPOP")
	wordLMove     = []byte("LMOVE")
	wordRPopLPush = []byte("RPOPLPUSH")
	wordLeft      = []byte("LEFT")
	wordRight     = []byte("RIGHT")
	wordMin       = []byte("MIN")
	wordMax       = []byte("MAX")
)

// Unblocked is a blocking command in the form that answers at once: a script may not run
// the other. ok is false for a command that has no such form.
func Unblocked(c *Command) (u Command, shape Shape, ok bool) {
	u = *c
	u.Use.Block = 0
	switch name := string(bytes.ToLower(c.Args[0])); name {
	case "blpop":
		return pop(u, wordLMPop, wordLeft), ElementShape, true
	case "brpop":
		return pop(u, wordLMPop, wordRight), ElementShape, true
	case "bzpopmin":
		return pop(u, wordZMPop, wordMin), MemberShape, true
	case "bzpopmax":
		return pop(u, wordZMPop, wordMax), MemberShape, true
	case "blmpop":
		return cutWords(u, wordLMPop, 1, 2), SameShape, true
	case "bzmpop":
		return cutWords(u, wordZMPop, 1, 2), SameShape, true
	case "blmove":
		return cutWords(u, wordLMove, 5, 6), SameShape, true
	case "brpoplpush":
		return cutWords(u, wordRPopLPush, 3, 4), SameShape, true
	case "xread", "xreadgroup":
		return cutWords(u, c.Args[0], c.Use.Block-1, c.Use.Block+1), SameShape, true
	}
	return *c, SameShape, false
}

// pop: the keys of BLPOP, which end with a timeout, as those of LMPOP, which begin with
// their number.
func pop(u Command, name, where []byte) Command {
	keys := u.Args[1 : len(u.Args)-1]
	args := append([][]byte{name, number(len(keys))}, keys...)
	u.Args = append(args, where)
	u.Keys = append([]Key(nil), u.Keys...)
	for i := range u.Keys {
		u.Keys[i].Arg++
	}
	return u
}

// cutWords takes the words from one index to another out.
func cutWords(u Command, name []byte, from, to int) Command {
	args := append([][]byte{name}, u.Args[1:from]...)
	u.Args = append(args, u.Args[to:]...)
	u.Keys = append([]Key(nil), u.Keys...)
	for i := range u.Keys {
		if u.Keys[i].Arg >= to {
			u.Keys[i].Arg -= to - from
		}
	}
	return u
}
