package control

import (
	"context"
	"errors"
	"strings"

	"github.com/classwaves/rekey/phase"
)

// Before has a function asked before each write of a controller. Its error is the end of the controller, as if
// the process were killed there.
func (o *Options) Before(f func(write string) error) { o.before = f }

// Vanish ends a controller as kill -9 does: nothing is written and nothing given up.
func (c *Controller) Vanish() {
	c.lock.before = func(string) error { return errVanished }
	c.stop(errVanished)
	_ = c.lock.end(false)
	c.closeClient()
}

// ErrVanished is what methods of a vanished controller give.
var ErrVanished = errVanished

// LateTarget is a write of a target that was decided on before.
func (c *Controller) LateTarget(ctx context.Context, rule string, to phase.Phase) error {
	i, _ := c.plan.Index(rule)
	s, err := takeSnapshot(ctx, c.store, c.plan)
	if err != nil {
		return err
	}
	_, err = c.setTarget(ctx, s, i, to, s.targets[rule].Epoch, entry{What: "step"})
	return err
}

// These are tested on their own.
var (
	UsesKeys  = usesKeys
	Unquote   = unquote
	GlobsMeet = globsMeet
)

// LooksLast is how long an audit looks before it tells of who was outside all along, at least.
const LooksLast = (looks - 1) * lookEach

var errVanished = errors.New("killed")

// WithoutFence makes a controller that was overtaken write in the name of who overtook it. It renews no more: a
// renewal that is on its way would meet the fence again.
func (c *Controller) WithoutFence(ctx context.Context) {
	c.lock.stop()
	c.lock.work.Wait()
	text, _ := c.client.Get(ctx, c.store.Keys().Lock()).Result()
	_, rest, _ := strings.Cut(text, ",")
	c.lock.mine, c.lock.lost = rest, nil
}
