package command

import "slices"

// plainNames are the commands without keys that need nothing of their connection; the others of
// their class wait, administer the server, or take the connection over.
var plainNames = fields(`
	command config dbsize echo flushall flushdb function info lastsave latency lolwut ping publish
	pubsub role script slowlog spublish time
	object|help xgroup|help xinfo|help
	memory|doctor memory|help memory|malloc-stats memory|purge memory|stats`)

// plain says whether a rule's commands may be plain.
func (f *family) plain(name string) bool {
	switch f.class {
	case ClassRead, ClassReplay, ClassOverwrite, ClassEffect, ClassRecopy, ClassCount, ClassKeyspace:
		return true
	case ClassNone:
		return slices.Contains(plainNames, name)
	}
	return false
}

// Plain reports whether a call needs nothing of its connection but the user, the database and the
// protocol, leaves nothing behind there, and is answered without delay by one reply. It is an
// allow-list: a command that nobody has thought through is not plain.
func (c *Command) Plain(args [][]byte) bool {
	switch {
	case c.rule == nil, c.Container():
		return false
	case c.Flags&Blocking == 0:
		return c.rule.plain
	case c.Name == "xread", c.Name == "xreadgroup":
		// Wherever the word stands: the server may read the options in another way than we do.
		return !slices.ContainsFunc(args, func(a []byte) bool { return foldEqual(a, "block") })
	}
	return false
}
