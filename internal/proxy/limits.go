package proxy

import (
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/resp"
)

// Limits bounds what clients may take. A field that is zero has its default.
type Limits struct {
	// Clients is how many may be connected. Default 10,000; fewer where there are not two file descriptors for each.
	Clients int
	// Request is the bytes of one command. Default 512 MiB, which is also the server's own bound of a
	// word.
	Request int
	// Memory is the bytes of the buffers of all clients together, as far as a client's are more than
	// freeMemory. Default 1 GiB.
	Memory int
	// Idle is how long a client may send nothing while nothing of it is under way and it listens to
	// no channel. Default: for ever, as the server's own timeout.
	Idle time.Duration
	// Begun is how long the rest of a command may take that was begun. Default 5m.
	Begun time.Duration
	// Slow is how long a client may take no byte of its replies, or hold more commands unanswered
	// than are read of it without any reply. Default 1m.
	Slow time.Duration
}

const (
	defaultClients = 10_000
	defaultRequest = 512 << 20
	defaultMemory  = 1 << 30
	defaultBegun   = 5 * time.Minute
	defaultSlow    = time.Minute
)

func (l Limits) withDefaults() Limits {
	or := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	or(&l.Clients, defaultClients)
	or(&l.Request, defaultRequest)
	or(&l.Memory, defaultMemory)
	if l.Begun <= 0 {
		l.Begun = defaultBegun
	}
	if l.Slow <= 0 {
		l.Slow = defaultSlow
	}
	return l
}

// resp are the limits of framing. The server's own hold for what is not given.
func (l Limits) resp() resp.Limits {
	return resp.Limits{Request: l.Request, Bulk: min(l.Request, resp.DefaultBulk)}
}

// What is read of a client in advance.
const (
	maxCommands = 4096     // whose replies are outstanding
	maxWaiting  = 64 << 10 // bytes behind a command whose answer comes without delay
	maxToServer = 1 << 20  // bytes that the server does not take
	maxToClient = 1 << 20  // bytes that the client does not take
	freeMemory  = 64 << 10 // of each client, beside Limits.Memory
)

// full says that nothing more is to be read of a client for now. What an incomplete command needs
// is never full: only the client can complete it.
func full(b intercept.Backlog) bool {
	return b.Commands >= maxCommands || b.Halted && b.Unread > maxWaiting || b.ToServer > maxToServer || b.ToClient > maxToClient
}
