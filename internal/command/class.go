package command

import "fmt"

// Class is what may be done with a command whose keys have two names.
type Class uint8

// The classes of design.md, "From a command to a transaction".
const (
	ClassNone      Class = iota // touches no key: passed through
	ClassRead                   // changes nothing
	ClassReplay                 // gives the same result on equal data: sent on both names
	ClassOverwrite              // makes the key what its arguments say, whatever was there
	ClassEffect                 // picks something itself: run once, its effect sent to the other name
	ClassRecopy                 // every other write: run once, then copied
	ClassCount                  // DEL UNLINK EXISTS TOUCH: counts logical keys
	ClassKeyspace               // SCAN KEYS RANDOMKEY: answers with names
	ClassRefuse                 // refused while a rule that it could touch is not parked
	ClassSession                // changes or needs the connection's state: the session handles it
)

var classNames = [...]string{
	"none", "read", "replay", "overwrite", "effect", "recopy", "count", "keyspace", "refuse", "session",
}

// String is the class in one word.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// Names says where a reply carries key names, which the engine maps back to
// what the application asked for.
type Names uint8

// The forms of replies with names.
const (
	NamesNone    Names = iota
	NamesFirst         // an array whose first element is the name: BLPOP, LMPOP
	NamesStreams       // an array of [name, entries], in RESP3 a map: XREAD, XREADGROUP
)

// String is the form in one word.
func (n Names) String() string {
	switch n {
	case NamesNone:
		return "none"
	case NamesFirst:
		return "first"
	case NamesStreams:
		return "streams"
	default:
		return fmt.Sprintf("Names(%d)", uint8(n))
	}
}

// Use is what may be done with one call of a command.
type Use struct {
	Class Class

	// RelativeTTL says that the call sets a time to live relative to now. It may
	// be set for a call that happens to have such a word elsewhere, never be
	// missing from one that does it.
	RelativeTTL bool

	// Names is the form of a reply that carries names of keys.
	Names Names

	// Block is the index of the argument with the timeout of a blocking call, 0
	// for one that does not block. The timeout is in milliseconds if
	// BlockMillis, else in seconds, possibly with a fraction.
	Block       int
	BlockMillis bool

	// Reason says why a call of ClassRefuse cannot be served.
	Reason string

	// Patterns are the key patterns of SORT that made it refused. The first '*'
	// of each stands for any bytes, every other byte for itself. Without
	// patterns a refused call could touch any key.
	Patterns [][]byte
}

// Use judges a call by its words. Arguments that the server will answer with
// an error get a class that is right whatever it answers. Use does not look at
// names: a call of any class may turn out to name no key of any rule.
func (c *Command) Use(args [][]byte) Use {
	if c.rule == nil {
		return c.learned()
	}
	u := Use{Class: c.rule.class, RelativeTTL: c.rule.relative, Names: c.rule.names}
	if c.rule.form != nil && c.ArityHolds(len(args)) {
		u = c.rule.form(u, args)
	}
	if u.Class == ClassRefuse && u.Reason == "" {
		u.Reason = c.rule.why
	}
	return u
}

// Why is the reason for the command's class in a sentence; empty for a command
// that was learned from the server.
func (c *Command) Why() string {
	if c.rule == nil {
		return ""
	}
	return c.rule.why
}

// learned judges a command that no family names, by its flags.
func (c *Command) learned() Use {
	switch {
	case c.Container():
		return Use{Class: ClassRefuse, Reason: "its subcommand is not known here, so neither are its keys"}
	case !c.TakesKeys() && c.Flags&(Write|ReadOnly) != 0:
		return Use{Class: ClassRefuse, Reason: "it reads or writes keys that it does not name"}
	case !c.TakesKeys():
		return Use{Class: ClassNone}
	case c.Flags&Blocking != 0 && c.Flags&Write != 0:
		return Use{Class: ClassRefuse, Reason: "it blocks, and where its timeout is is not known here"}
	case c.Flags&ReadOnly != 0 && !c.writesKeys():
		return Use{Class: ClassRead}
	default:
		return Use{Class: ClassRecopy}
	}
}

// writesKeys reports whether any key specification says that keys are written.
func (c *Command) writesKeys() bool {
	for i := range c.Specs {
		if s := &c.Specs[i]; s.Flags&(NotKey|Unknown) == 0 && s.Flags.access()&AccessWrite != 0 {
			return true
		}
	}
	return false
}
