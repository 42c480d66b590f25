package querycache

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/unavailable"
)

// outage knows whether Redis answered last, so that an outage is logged once and not per request.
type outage struct {
	log  *slog.Logger
	down atomic.Bool
	seen atomic.Uint64 // operations that got no answer
}

// see takes the outcome of an operation and gives it back as the error of a store: nil, an
// [unavailable.Error], or the error of a context that ended, which says nothing about Redis.
func (o *outage) see(ctx context.Context, op string, err error) error {
	if err == nil || errors.Is(err, redis.Nil) {
		if o.down.Load() && o.down.CompareAndSwap(true, false) {
			o.log.Info("query cache: Redis answers again")
		}
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	o.seen.Add(1)
	if o.down.CompareAndSwap(false, true) {
		o.log.Warn("query cache: Redis is unavailable, loaders answer", "op", op, "error", err)
	}
	return unavailable.Wrap(op, err)
}
