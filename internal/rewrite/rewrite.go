package rewrite

import "github.com/classwaves/rekey/internal/command"

// Command fills the builder with the lines for c. At least one key of c has a rule
// and c.Use.Class is one that runs on keys ([command.ClassRead] to
// [command.ClassCount]); sessions handle the other classes themselves.
func (b *Builder) Command(c *Command) {
	b.Reset()
	switch c.Use.Class {
	case command.ClassRead:
		b.read(c)
	case command.ClassCount:
		b.count(c)
	case command.ClassOverwrite:
		b.overwrite(c)
	case command.ClassReplay:
		b.replay(c)
	case command.ClassEffect:
		b.effect(c)
	default:
		b.once(c)
	}
	b.Transaction = len(b.Lines) > 1
}

// read: a command that changes nothing.
func (b *Builder) read(c *Command) {
	if k := single(c); k != nil && treatments[k.Phase].look {
		b.add(Looked, k.Rule, wordExists, k.Target)
		b.addCommand(Answer, c, targetLeg)
		b.addCommand(Alternative, c, legacyLeg)
		return
	}
	for i := range c.Keys {
		if k := &c.Keys[i]; k.ruled() {
			b.addOps(k, treatments[k.Phase].read)
		}
	}
	b.addCommand(Answer, c, mainLeg)
	b.track(c)
}

// single is the command's key if it has exactly one.
func single(c *Command) *Key {
	if len(c.Keys) == 1 && c.Keys[0].ruled() {
		return &c.Keys[0]
	}
	return nil
}

// track makes the server remember, for client-side caching, the names that a
// neighbour's write touches and this read does not: a cached miss would otherwise
// never be invalidated.
func (b *Builder) track(c *Command) {
	if !c.Tracking {
		return
	}
	for i := range c.Keys {
		if k := &c.Keys[i]; k.ruled() && treatments[k.Phase].track {
			b.add(Tracked, k.Rule, wordExists, k.other())
		}
	}
}

// once: a write that runs one time, on the names that the phases answer from. What
// the phase wants of the other name follows from the result: it is removed, or
// copied again from the one that was written.
func (b *Builder) once(c *Command) {
	for i := range c.Keys {
		k := &c.Keys[i]
		switch {
		case !k.ruled():
		case k.Write:
			b.addOps(k, treatments[k.Phase].write)
		default:
			b.addOps(k, treatments[k.Phase].read)
		}
	}
	b.addCommand(Answer, c, mainLeg)
	b.after(c)
}

// after appends what written keys want behind a write that ran once.
func (b *Builder) after(c *Command) {
	for i := range c.Keys {
		k := &c.Keys[i]
		if !k.ruled() || !k.Write {
			continue
		}
		b.addOps(k, treatments[k.Phase].after)
		b.Recopied = b.Recopied || treatments[k.Phase].both
	}
}

// replay: a write that gives the same result on equal data is sent on both names,
// so that its cost does not grow with the value.
func (b *Builder) replay(c *Command) {
	if !replayable(c) {
		b.once(c)
		return
	}
	for i := range c.Keys {
		b.addOps(&c.Keys[i], treatments[c.Keys[i].Phase].replay)
	}
	b.addCommand(Answer, c, targetLeg)
	b.addCommand(Mirrored, c, legacyLeg)
}

// replayable says that both copies of every key are equal before the command and
// stay so when it runs on each.
func replayable(c *Command) bool {
	if c.Use.RelativeTTL && !c.Server.Frozen {
		return false
	}
	for i := range c.Keys {
		k := &c.Keys[i]
		if !k.ruled() || !treatments[k.Phase].both {
			return false
		}
		// An evicted P beside a living L: the command would start from nothing on one
		// name and from the old value on the other.
		if c.Server.Evicts && treatments[k.Phase].read == nil {
			return false
		}
	}
	return true
}

// overwrite: a write that looks at nothing of what was there and cannot fail, so no
// copy goes before it.
func (b *Builder) overwrite(c *Command) {
	both := true
	for i := range c.Keys {
		k := &c.Keys[i]
		both = both && k.ruled() && treatments[k.Phase].both
		if k.ruled() && treatments[k.Phase].look {
			b.addOps(k, treatments[k.Phase].write)
		}
	}
	b.addCommand(Answer, c, mainLeg)
	switch {
	case !both:
		b.after(c)
	case c.Use.RelativeTTL && !c.Server.Frozen:
		for i := range c.Keys {
			b.addOps(&c.Keys[i], []op{overLegacy})
		}
	default:
		b.addCommand(Mirrored, c, legacyLeg)
	}
}
