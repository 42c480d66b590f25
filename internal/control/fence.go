package control

import (
	"context"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// FenceOptions are for whom a fence is built.
type FenceOptions struct {
	// Users are the users that are fenced in; none: all that the server has and that may touch a dead name.
	Users []string
	// Keep are key patterns, without ~, that the users need beside the names of the plan.
	Keep []string
	// Phases say where rules are, whatever their targets say; nil: as the targets say.
	Phases map[string]phase.Phase
}

// Fence is what makes a client fail loudly that still uses names which are dead.
type Fence struct {
	Rules []string    `json:"rules"` // whose legacy names are dead
	Alive []string    `json:"alive"` // the others
	Users []FenceUser `json:"users"`
	Notes []string    `json:"notes,omitempty"`
}

// FenceUser is one user of the server.
type FenceUser struct {
	User   string   `json:"user"`
	Before []string `json:"before"` // its key patterns
	After  []string `json:"after"`
	Line   string   `json:"line"` // for redis-cli
}

// PlanFence computes the fence for the phases that the rules are in. It changes nothing.
func PlanFence(ctx context.Context, store *fleet.Store, p *plan.Plan, o FenceOptions) (Fence, error) {
	return planFence(ctx, store, p, o)
}

// Apply gives the users their patterns.
func (f Fence) Apply(ctx context.Context, store *fleet.Store, by string) error {
	return f.apply(ctx, store, by)
}
