package rewrite

import (
	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/phase"
)

// count: DEL, UNLINK, EXISTS and TOUCH answer with a number of keys. A logical key
// counts once, however many names it has, so a key whose value may be under either
// name is one line of its own, "DEL P L", of which more than 1 counts as 1. A single
// such key needs no transaction, and so no memory on a full server.
func (b *Builder) count(c *Command) {
	if len(c.Keys) != len(c.Args)-1 {
		b.once(c) // a form that the table does not know
		return
	}
	if !eitherName(c) {
		b.addCommand(Answer, c, mainLeg)
		b.removeOthers(c)
		b.track(c)
		return
	}
	for i := range c.Keys {
		k := &c.Keys[i]
		switch {
		case !k.ruled():
			b.add(Counted, NoRule, c.Args[0], c.Args[k.Arg])
		case answersByEither(c, k):
			b.add(Counted, k.Rule, c.Args[0], k.Target, k.Legacy)
		default:
			b.add(Counted, k.Rule, c.Args[0], k.name(c.Args))
		}
	}
	b.removeOthers(c)
}

// eitherName says that some key's value may be under either of its names.
func eitherName(c *Command) bool {
	for i := range c.Keys {
		if k := &c.Keys[i]; k.ruled() && answersByEither(c, k) {
			return true
		}
	}
	return false
}

// answersByEither: the key is there if one of its names is. For a removal in settled
// both names go at once; on a server that evicts, an L without its P is a miss and
// must not be counted.
func answersByEither(c *Command, k *Key) bool {
	t := &treatments[k.Phase]
	if k.Phase == phase.Settled {
		return k.Write && c.Use.Class == command.ClassCount && !c.Server.Evicts
	}
	return len(t.read) > 0
}

// removeOthers removes the names that no line has removed yet.
func (b *Builder) removeOthers(c *Command) {
	for i := range c.Keys {
		k := &c.Keys[i]
		if !k.ruled() || !k.Write || answersByEither(c, k) {
			continue
		}
		switch {
		case k.Phase == phase.Guard:
			b.addOps(k, []op{dropTarget})
		case k.Phase == phase.Sealed, k.Phase == phase.Settled:
			b.addOps(k, []op{dropLegacy})
		}
	}
}
