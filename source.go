package rekey

import (
	"context"
	"maps"
	"sync"

	"github.com/classwaves/rekey/phase"
)

// Source tells an instance the phase of each rule, by the rule's name. Rules that it does not name
// are at legacy.
type Source interface {
	// Phases returns the phases of now, and a channel that is closed when they have changed. It is
	// called again then. An error of the first call fails Open; a later one ends the following of
	// the source and leaves the phases as they are.
	Phases(ctx context.Context) (phases map[string]phase.Phase, changed <-chan struct{}, err error)
}

// Manual is a [Source] whose phases are set by the program: for tests, and for programs that get
// them by a channel of their own. It is safe for concurrent use.
type Manual struct {
	mu      sync.Mutex
	phases  map[string]phase.Phase
	changed chan struct{}
}

// NewManual makes a source that begins with the given phases.
func NewManual(phases map[string]phase.Phase) *Manual {
	return &Manual{phases: maps.Clone(phases), changed: make(chan struct{})}
}

// Set changes the phases of the named rules and leaves the others. It does not wait for the instances, which
// follow at once; [Rekey.WaitReached] tells when one has.
func (m *Manual) Set(phases map[string]phase.Phase) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := maps.Clone(m.phases)
	if next == nil {
		next = make(map[string]phase.Phase)
	}
	maps.Copy(next, phases)
	m.phases = next
	close(m.changed)
	m.changed = make(chan struct{})
}

// Phases implements [Source].
func (m *Manual) Phases(context.Context) (map[string]phase.Phase, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.phases, m.changed, nil
}

var _ Source = (*Manual)(nil)
