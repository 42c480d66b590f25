package failsoft

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Client is a client whose commands take no longer than about its timeout.
type Client struct {
	redis.UniversalClient
	timeout time.Duration
}

// Within makes a [Client] over the connections of another one, which the caller still closes.
//
// A context alone does not end a read of go-redis (ContextTimeoutEnabled is off by default), so a
// server that hangs would hold a request for its read timeout and each of its retries. A
// *redis.Client gets the timeout for its reads and writes here; any other kind of client has to be
// made with ContextTimeoutEnabled.
func Within(timeout time.Duration, c redis.UniversalClient) Client {
	if single, ok := c.(*redis.Client); ok {
		c = single.WithTimeout(timeout)
	}
	return Client{c, timeout}
}

// Context bounds one operation of one or more commands. It keeps the values of the caller's context
// and the sooner of the two ends.
func (c Client) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}
