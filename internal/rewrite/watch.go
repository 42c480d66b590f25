package rewrite

import "github.com/classwaves/rekey/phase"

// Watch fills the builder for the application's WATCH: first what reconciles the two
// names of each key, then WATCH itself, which cannot be inside the transaction of the
// others. [Builder.Transaction] speaks of the lines before the last.
//
// Reconciling first keeps a neighbour's read from touching a watched name, which
// would abort a transaction that nobody disturbed. Watched is what neighbours must
// touch when they write: L in legacy and guard, both names in dual, drain, hold and
// move, P in settled, sealed and prefixed.
func (b *Builder) Watch(c *Command) {
	b.Reset()
	for i := range c.Keys {
		if k := &c.Keys[i]; k.ruled() {
			b.addOps(k, treatments[k.Phase].read)
		}
	}
	b.Transaction = len(b.Lines) > 1
	start := len(b.args)
	b.args = append(b.args, wordWatch)
	for i := range c.Keys {
		k := &c.Keys[i]
		b.args = append(b.args, k.name(c.Args))
		if k.ruled() && watchesBoth(k.Phase) {
			b.args = append(b.args, k.other())
		}
	}
	b.Lines = append(b.Lines, Line{Role: Answer, Rule: NoRule, start: start, end: len(b.args)})
}

// watchesBoth: a neighbour's write may leave the name alone that this phase answers
// from.
func watchesBoth(p phase.Phase) bool {
	return len(treatments[p].read) > 0
}
