package failsoft

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// outageShare is how much shorter a try is while Redis is out: everybody waits for it in vain.
const outageShare = 4

// Client is a client whose commands take no longer than about its timeout.
type Client struct {
	outage          *Outage
	up, out         redis.UniversalClient
	within, shortly time.Duration
}

// Within makes a [Client] over the connections of another one, which the caller still closes. While
// the outage lasts its timeout is a quarter of the one given.
//
// A context alone does not end a read of go-redis (ContextTimeoutEnabled is off by default), so a
// server that hangs would hold a request for its read timeout and each of its retries. A
// *redis.Client gets the timeout for its reads and writes here; any other kind of client has to be
// made with ContextTimeoutEnabled.
func Within(timeout time.Duration, c redis.UniversalClient, o *Outage) Client {
	out := Client{outage: o, up: c, out: c, within: timeout, shortly: timeout / outageShare}
	if single, ok := c.(*redis.Client); ok {
		out.up, out.out = single.WithTimeout(out.within), single.WithTimeout(out.shortly)
	}
	return out
}

// For gives the client for one command, and a context with its end.
func (c Client) For(ctx context.Context) (context.Context, redis.UniversalClient, context.CancelFunc) {
	use, within := c.up, c.within
	if c.outage.Out() {
		use, within = c.out, c.shortly
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	return ctx, use, cancel
}
