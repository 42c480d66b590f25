package command

// NullArray reports whether a null that answers the call is a null array (*-1)
// in RESP2 rather than a null bulk string ($-1). In RESP3 both are the same
// null, and so is what a script sees; whoever answers in the server's place
// must know which one a client expects.
func (c *Command) NullArray(args [][]byte) bool {
	switch c.Name {
	case "blpop", "brpop", "blmove", "brpoplpush", "blmpop",
		"bzpopmin", "bzpopmax", "bzmpop", "lmpop", "zmpop", "xread", "xreadgroup":
		// BLMOVE and BRPOPLPUSH end so at their timeout; inside MULTI, where they
		// do not block, they answer a null bulk string like LMOVE.
		return true
	case "lpop", "rpop":
		return len(args) > 2 // with a count
	case "zrank", "zrevrank":
		return len(args) > 3 // WITHSCORE
	case "xrange", "xrevrange":
		return true // COUNT 0 on a stream that is there
	case "vinfo":
		return true
	default:
		return false
	}
}
