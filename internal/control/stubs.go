package control

import (
	"context"
	"errors"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

var errLater = errors.New("rekey: this is not built yet")

func (c *Controller) walk(context.Context, []Goal) error { return errLater }
func (c *Controller) sweepAlone(context.Context, sweep.Options) (sweep.Result, error) {
	return sweep.Result{}, errLater
}
func (c *Controller) restore(context.Context, string, phase.Phase) error { return errLater }
func audit(context.Context, *fleet.Store, *plan.Plan, AuditOptions) (AuditReport, error) {
	return AuditReport{}, errLater
}
func planFence(context.Context, *fleet.Store, *plan.Plan, FenceOptions) (Fence, error) {
	return Fence{}, errLater
}
func (f Fence) apply(context.Context, *fleet.Store, string) error { return errLater }

// LastAudit is the audit that was made last.
func LastAudit(context.Context, *fleet.Store) (AuditReport, bool, error) {
	return AuditReport{}, false, nil
}
