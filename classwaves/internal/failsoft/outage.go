package failsoft

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// Outage is whether Redis is out for one service. The zero value is not: Redis is taken to answer.
type Outage struct {
	// Logger is told of the beginning and the end; nil: nobody is. It gets the error's text and no
	// identifier.
	Logger *slog.Logger
	// Service is named in what is logged.
	Service string

	out    atomic.Bool
	begun  atomic.Uint64
	ended  atomic.Uint64
	failed atomic.Uint64
}

// Saw takes the outcome of an operation that ctx bounds for its caller. Redis's nil reply is an
// answer. That the caller has gone away says nothing about Redis.
func (o *Outage) Saw(ctx context.Context, err error) {
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		o.Worked()
	case ctx.Err() == nil:
		o.Failed(err)
	}
}

// Failed says that an operation found Redis unavailable.
func (o *Outage) Failed(err error) {
	o.failed.Add(1)
	if o.out.Load() || !o.out.CompareAndSwap(false, true) {
		return
	}
	o.begun.Add(1)
	if o.Logger != nil {
		o.Logger.Warn("redis is unavailable", "service", o.Service, "error", err)
	}
}

// Worked says that an operation was answered by Redis.
func (o *Outage) Worked() {
	if !o.out.Load() || !o.out.CompareAndSwap(true, false) {
		return
	}
	o.ended.Add(1)
	if o.Logger != nil {
		o.Logger.Info("redis answers again", "service", o.Service)
	}
}

// Out says whether the last operation found Redis unavailable.
func (o *Outage) Out() bool { return o.out.Load() }

// Begun counts outages, Ended those that are over, Failures the operations that failed in them.
func (o *Outage) Begun() uint64    { return o.begun.Load() }
func (o *Outage) Ended() uint64    { return o.ended.Load() }
func (o *Outage) Failures() uint64 { return o.failed.Load() }

// OtherType says whether an error is Redis's answer that a key holds another type than the command wants.
// Under a name of ours nobody put that there who knows what it is for: it is as good as nothing, and
// says nothing against Redis.
func OtherType(err error) bool { return redis.HasErrorPrefix(err, "WRONGTYPE") }
