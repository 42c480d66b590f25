package cli

import (
	"context"
	"fmt"
	"os"
	"os/user"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/plan"
)

// fleetTarget is what the commands of the fleet work on.
type fleetTarget struct {
	*target
	plan  *plan.Plan
	store *fleet.Store
}

// openFleet reads the plan and connects to the control records. The caller closes it.
func (a *app) openFleet(ctx context.Context) (*fleetTarget, error) {
	p, err := a.loadPlan()
	if err != nil {
		return nil, err
	}
	return a.openFleetOf(ctx, p)
}

// openFleetOf is openFleet for a plan that is read already.
func (a *app) openFleetOf(ctx context.Context, p *plan.Plan) (*fleetTarget, error) {
	t, err := a.connect(ctx, p)
	if err != nil {
		return nil, err
	}
	return &fleetTarget{t, p, fleet.NewStore(p, t.client(p.Databases[0]))}, nil
}

// owner is who asks, for the lock and the log.
func owner() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s@%s (pid %d)", name, host, os.Getpid())
}
