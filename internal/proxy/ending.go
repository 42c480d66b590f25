package proxy

import (
	"errors"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/resp"
)

// ending is why a client was closed.
type ending uint32

const (
	endClient      ending = iota + 1 // it closed its connection
	endServer                        // the server closed the upstream connection
	endProtocol                      // it sent what is no command
	endCut                           // the engine ended it: it is not admitted, or held a phase up
	endBroken                        // its connection broke
	endUnreachable                   // there was no upstream connection to be had
	endHandshake                     // TLS or PROXY protocol did not come about
	endMoved                         // another server is the primary
	endDrained                       // the proxy ends, and its commands were answered
	endDeadline                      // commands were under way at the end of the time for them
	endIdle                          // Limits.Idle
	endBegun                         // Limits.Begun
	endSlow                          // Limits.Slow
	endMemory                        // Limits.Memory or Limits.Request
	endings
)

var endingNames = [endings]string{
	endClient: "client", endServer: "server", endProtocol: "protocol", endCut: "cut", endBroken: "broken",
	endUnreachable: "unreachable", endHandshake: "handshake", endMoved: "moved", endDrained: "drained",
	endDeadline: "deadline", endIdle: "idle", endBegun: "unfinished", endSlow: "slow", endMemory: "memory",
}

func (e ending) String() string {
	if e == 0 || e >= endings {
		return "unknown"
	}
	return endingNames[e]
}

// endingOf tells why an upstream connection ended.
func endingOf(err error) ending {
	switch {
	case errors.Is(err, resp.ErrProtocol):
		return endProtocol
	case errors.Is(err, errUnreachable):
		return endUnreachable
	case errors.Is(err, errMoved):
		return endMoved
	case errors.Is(err, errFarBehind):
		return endSlow
	case errors.Is(err, errMemory):
		return endMemory
	case errors.Is(err, intercept.ErrQuit):
		return endServer
	case intercept.IsEnded(err):
		return endCut
	}
	return endServer
}
