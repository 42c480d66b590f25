package rewrite

import "bytes"

var (
	wordLMPop     = []byte("LMPOP")
	wordZMPop     = []byte("ZMPOP")
	wordLMove     = []byte("LMOVE")
	wordRPopLPush = []byte("RPOPLPUSH")
)

// Unblocked is a blocking command in the form that answers at once, for a script, which may
// not run the other. BLPOP and its like have no such form on every server: theirs, LPOP with a
// star, is for the scripts of this package alone. ok is false for a command that is
// not known to block.
func Unblocked(c *Command) (u Command, ok bool) {
	u = *c
	u.Use.Block = 0
	switch name := string(bytes.ToLower(c.Args[0])); name {
	case "blpop", "brpop", "bzpopmin", "bzpopmax":
		u.Args = append([][]byte{append(bytes.Clone(c.Args[0][1:]), '*')}, u.Args[1:len(u.Args)-1]...)
		return u, true
	case "blmpop":
		return cutWords(u, wordLMPop, 1, 2), true
	case "bzmpop":
		return cutWords(u, wordZMPop, 1, 2), true
	case "blmove":
		return cutWords(u, wordLMove, 5, 6), true
	case "brpoplpush":
		return cutWords(u, wordRPopLPush, 3, 4), true
	case "xread", "xreadgroup":
		return cutWords(u, c.Args[0], c.Use.Block-1, c.Use.Block+1), true
	}
	return *c, false
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
