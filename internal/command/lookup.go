package command

// Lookup finds the command of a call, without regard to case and without
// allocating. The subcommand of a container is resolved; a container alone, or
// with a subcommand that is not known, gives the container.
//
// The second result is false for a command that is not in the table: ask the
// server and use [FromInfo].
func Lookup(args [][]byte) (*Command, bool) {
	if len(args) == 0 {
		return nil, false
	}
	c := byName.find(args[0])
	if c == nil {
		return nil, false
	}
	return c.Resolve(args), true
}

// Resolve gives the subcommand that the call names if the command is a
// container that has it, else the command itself. [Lookup] does it already; a
// learned command wants it at each call.
func (c *Command) Resolve(args [][]byte) *Command {
	if len(c.Subs) > 0 && len(args) > 1 {
		if sub := c.sub(args[1]); sub != nil {
			return sub
		}
	}
	return c
}

// All returns the commands of the table, subcommands behind their container,
// by name. The slice is the caller's, the commands are not.
func All() []*Command {
	var all []*Command
	for i := range table {
		all = append(all, &table[i])
		all = append(all, table[i].Subs...)
	}
	return all
}

// sub finds a subcommand. Containers have at most forty; most have a handful,
// and their names differ in the first bytes.
func (c *Command) sub(word []byte) *Command {
	skip := len(c.Name) + 1
	for _, s := range c.Subs {
		if foldEqual(word, s.Name[skip:]) {
			return s
		}
	}
	return nil
}

// byName indexes the table. It is made once, before main, and never changed.
var byName = newIndex(table[:])

// index is a hash table with open addressing over lower-cased names: a third
// full, so that nearly every command is found at the first look.
type index struct {
	slots [indexSize]*Command
}

const indexSize = 1024

func newIndex(commands []Command) *index {
	x := new(index)
	for i := range commands {
		c := &commands[i]
		c.rule = rules[c.Name]
		for _, s := range c.Subs {
			if s.rule = rules[s.Name]; s.rule == nil {
				s.rule = c.rule // a family may name a container for all its subcommands
			}
		}
		h := foldHash([]byte(c.Name))
		for x.slots[h] != nil {
			h = (h + 1) % indexSize
		}
		x.slots[h] = c
	}
	return x
}

func (x *index) find(name []byte) *Command {
	if len(name) > maxName {
		return nil // not worth hashing: a hostile peer may send a name of megabytes
	}
	for h := foldHash(name); x.slots[h] != nil; h = (h + 1) % indexSize {
		if foldEqual(name, x.slots[h].Name) {
			return x.slots[h]
		}
	}
	return nil
}

// maxName is longer than any command's name.
const maxName = 64

// foldHash is FNV-1a over the lower-cased bytes.
func foldHash(name []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range name {
		h = (h ^ uint32(lower(c))) * 16777619
	}
	return (h ^ h>>16) % indexSize
}

// foldEqual reports whether b is the word s, which is in lower case or in
// upper case throughout, in any case (ASCII, as the server compares).
func foldEqual(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if c != s[i] && lower(c) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
