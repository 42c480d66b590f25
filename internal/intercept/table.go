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
}

// Phase is the phase of a rule.
func (t *Table) Phase(rule int) phase.Phase { return t.Phases[rule] }

// parked says that every rule is parked, legacy that every rule is at legacy.
func (t *Table) parked() bool {
	for _, p := range t.Phases {
		if !p.Parked() {
			return false
		}
	}
	return true
}

func (t *Table) legacy() bool {
	for _, p := range t.Phases {
		if p != phase.Legacy {
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
	// Learned are commands that the table of this build does not know.
	Learned Learned
	Stats   *Stats

	table atomic.Pointer[Table]
}

// Table is the present table.
func (r *Rules) Table() *Table { return r.table.Load() }

// SetTable replaces the present table. Its version must be higher.
func (r *Rules) SetTable(t *Table) { r.table.Store(t) }

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
