package intercept

import (
	"sync/atomic"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/phase"
)

// Table says what one instance does with each rule's keys from a moment on. It is
// immutable.
type Table struct {
	// Version rises with every change.
	Version uint64
	// Phases has one phase for each rule.
	Phases []phase.Phase
	// Closed has, for rules under which no command may be sent now, the text of the
	// error that is answered. It is nil or has one entry for each rule.
	Closed []string

	parked bool // every rule is parked
	legacy bool // every rule is at legacy
}

// Phase is the phase of a rule.
func (t *Table) Phase(rule int) phase.Phase { return t.Phases[rule] }

// every says that a condition holds for the phase of each rule.
func (t *Table) every(is func(phase.Phase) bool) bool {
	for _, p := range t.Phases {
		if !is(p) {
			return false
		}
	}
	return true
}

// Rules is what all sessions of one instance share.
type Rules struct {
	Set *keyname.Set
	// Databases are the numbers in which the rules hold; nil means database 0.
	Databases []int
	// Evicts is the plan's word on whether the server evicts; nil: ask the server.
	Evicts *bool
	// Sentinels says that connections may lead to sentinels, so that each asks whether it does.
	Sentinels bool
	// Learned are commands that the table of this build does not know.
	Learned Learned
	Stats   *Stats

	table atomic.Pointer[Table]
}

// Table is the present table.
func (r *Rules) Table() *Table { return r.table.Load() }

// SetTable replaces the present table. Its version must be higher.
func (r *Rules) SetTable(t *Table) {
	t.parked = t.every(phase.Phase.Parked)
	t.legacy = t.every(func(p phase.Phase) bool { return p == phase.Legacy })
	r.table.Store(t)
}

// hold says whether the rules hold in a database.
func (r *Rules) hold(db int) bool {
	if r.Databases == nil {
		return db == 0
	}
	for _, d := range r.Databases {
		if d == db {
			return true
		}
	}
	return false
}
