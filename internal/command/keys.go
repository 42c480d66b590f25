package command

import (
	"errors"
	"fmt"
)

// Key is an argument that is a key. Its access is what the command may do with
// it; a call that [Command.Use] finds to be a read only reads it all the same.
type Key struct {
	Arg    int // index in the arguments; 0 is the command's name
	Access Access
}

// Access is what a command does with a key.
type Access uint8

// The accesses of a key. A command that may do both has both bits.
const (
	AccessRead Access = 1 << iota
	AccessWrite
)

// String is "r", "w" or "rw".
func (a Access) String() string {
	switch a {
	case AccessRead:
		return "r"
	case AccessWrite:
		return "w"
	case AccessRead | AccessWrite:
		return "rw"
	default:
		return fmt.Sprintf("Access(%d)", uint8(a))
	}
}

// What the arguments of a command can be wrong in. The server answers each of
// them with an error too, so that nothing is lost by refusing to look for keys.
var (
	ErrArity  = errors.New("wrong number of arguments")
	ErrSyntax = errors.New("arguments that name no keys the way the command wants it")

	// ErrAskServer says that only COMMAND GETKEYS can tell the keys; see
	// [Command.NeedsGetKeys].
	ErrAskServer = errors.New("only the server can tell the keys")
)

// Keys appends the keys of a call to dst, in the order of the specifications of
// the command, which is the order of COMMAND GETKEYS. It does not allocate when
// dst has room. A key that is named twice is there twice.
//
// An error means that the server would refuse the call, or, if it is
// [ErrAskServer], that the server must be asked.
func (c *Command) Keys(dst []Key, args [][]byte) ([]Key, error) {
	if !c.ArityHolds(len(args)) {
		return dst, ErrArity
	}
	if c.rule != nil && c.rule.keys != nil {
		return c.rule.keys(dst, args)
	}
	if c.NeedsGetKeys() {
		return dst, ErrAskServer
	}
	var err error
	for i := range c.Specs {
		if c.Specs[i].Flags&NotKey != 0 {
			continue // a shard channel: routed like a key, but none
		}
		if dst, err = c.Specs[i].keys(dst, args); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// TakesKeys reports whether a call of the command can name keys.
func (c *Command) TakesKeys() bool {
	if c.rule != nil && c.rule.keys != nil || c.Flags&MovableKeys != 0 {
		return true
	}
	for i := range c.Specs {
		if c.Specs[i].Flags&NotKey == 0 {
			return true
		}
	}
	return false
}

// NeedsGetKeys reports whether COMMAND GETKEYS must be asked for the keys of
// each call: a command whose own description is incomplete and that this
// package does not know better.
func (c *Command) NeedsGetKeys() bool {
	if c.rule != nil && c.rule.keys != nil {
		return false
	}
	if len(c.Specs) == 0 {
		return c.Flags&MovableKeys != 0
	}
	for i := range c.Specs {
		if c.Specs[i].Flags&(Incomplete|Unknown) != 0 {
			return true
		}
	}
	return false
}

// keys appends the keys of one specification. The arithmetic is the server's
// own (getKeysUsingKeySpecs): arguments beyond the end are left out, because
// the command itself will complain about them.
func (s *Spec) keys(dst []Key, args [][]byte) ([]Key, error) {
	first := s.Index
	if s.Keyword != "" {
		if first = s.find(args); first == 0 {
			return dst, nil // an optional part that is not there
		}
	}
	step := max(s.Step, 1)
	var last int
	switch {
	case s.KeyNum:
		at := first + s.NumAt
		if at >= len(args) {
			return dst, ErrSyntax
		}
		n, ok := parseInt(args[at])
		if !ok || n < 0 {
			return dst, ErrSyntax
		}
		first += s.FirstAt
		// Compared before it is multiplied, so that no count can overflow.
		if n > int64(len(args)) || n > 0 && first+(int(n)-1)*step >= len(args) {
			return dst, ErrSyntax
		}
		last = first + int(n)*step - 1
	case s.Last >= 0:
		last = first + s.Last
	case s.Limit <= 1:
		last = len(args) + s.Last
	default:
		last = first + (len(args)-first)/s.Limit + s.Last
	}
	access := s.Flags.access()
	for i := first; i <= last && i < len(args); i += step {
		dst = append(dst, Key{Arg: i, Access: access})
	}
	return dst, nil
}

// find returns the index behind the keyword, 0 if it is not there.
func (s *Spec) find(args [][]byte) int {
	if s.From >= 0 {
		for i := s.From; i < len(args)-1; i++ {
			if foldEqual(args[i], s.Keyword) {
				return i + 1
			}
		}
		return 0
	}
	for i := len(args) + s.From; i > 0; i-- {
		if foldEqual(args[i], s.Keyword) {
			return i + 1
		}
	}
	return 0
}

// parseInt reads an integer as the server does (string2ll): no sign but a
// minus, no leading zeros, no spaces. Anything else it answers with an error.
func parseInt(b []byte) (int64, bool) {
	if len(b) == 1 && b[0] == '0' {
		return 0, true
	}
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	// 18 digits cannot overflow; the 19-digit integers are no count, no TTL and
	// no timeout of anybody.
	if len(b) == 0 || len(b) > 18 || b[0] < '1' || b[0] > '9' {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}
