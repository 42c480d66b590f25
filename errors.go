package rekey

import (
	"errors"
	"fmt"
	"strings"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/phase"
)

// Errors of this package. Every error of rekey begins with "rekey:", also those that a client of
// the application reads from a connection as the server's reply; such a one is a text and nothing that
// [errors.Is] could know.
var (
	// ErrClosed says that the instance was closed.
	ErrClosed = errors.New("rekey: closed")
	// ErrOptions says that Open did not get exactly one source of phases.
	ErrOptions = errors.New("rekey: give Open exactly one of WithPhases, WithFlags, WithSource and WithFleet")
	// ErrNotFlags says that ReloadFlags was called on an instance whose phases are not chosen by
	// flags.
	ErrNotFlags = errors.New("rekey: phases are not chosen by flags")
	// ErrNotFollowed says that a [Source] failed, or gave phases that cannot be; the error that it wraps says why.
	ErrNotFollowed = errors.New("rekey: the source's phases are followed no longer; close the instance and open another one")
	// ErrNoServer says that the plan names no server, in which the fleet's records could be.
	ErrNoServer = fleet.ErrNoServer
	// ErrRestore says that the fleet's records are gone or turned back, so that nobody joins before an operator has
	// set them.
	ErrRestore = fleet.ErrRestore
	// ErrLeaseLost says that a connection was cut because the fleet may have gone on without this instance, or without
	// the connection; open it again. A command that is refused for it is answered with a text that begins like it.
	ErrLeaseLost = fleet.ErrLeaseLost
	// ErrHeldUp says that a connection was cut because it held a change of phase of the fleet up.
	ErrHeldUp = errors.New("rekey: the phase of a rule changed, and a command of the phase before was not answered in time, so its connection was cut")
)

// RecordsError says why Open could not use the fleet's records: the server that the plan names is not there or lets nobody
// in, its URL or its certificates cannot be used, the fleet has another plan than this process, or [ErrNoServer] or
// [ErrRestore].
type RecordsError struct {
	Err error
}

func (e *RecordsError) Error() string {
	return "rekey: the fleet's records: " + strings.TrimPrefix(e.Err.Error(), "rekey: ")
}

// Unwrap is what went wrong.
func (e *RecordsError) Unwrap() error { return e.Err }

// PhaseError is a phase that a rule cannot be in, or a rule without a phase.
type PhaseError struct {
	Rule  string
	Phase phase.Phase // 0 where none was given
	// Reason is what is wrong, for a person.
	Reason string
}

func (e *PhaseError) Error() string {
	if e.Phase == 0 {
		return fmt.Sprintf("rekey: rule %s: %s", e.Rule, e.Reason)
	}
	return fmt.Sprintf("rekey: rule %s, phase %s: %s", e.Rule, e.Phase, e.Reason)
}

// FlagsError is an environment that chooses no phase for a rule. It unwraps to a
// [phase.FlagError].
type FlagsError struct {
	Rule string
	Err  error
}

func (e *FlagsError) Error() string { return fmt.Sprintf("rekey: rule %s: %v", e.Rule, e.Err) }

// Unwrap is the flags' own error.
func (e *FlagsError) Unwrap() error { return e.Err }

// ReachError says which connections still have commands of an earlier phase under way.
type ReachError struct {
	// Conns is how many open connections hold the instance up, Closed how many closed ones whose
	// last bytes may still be on their way to the server.
	Conns, Closed int
	// Err is why the wait ended, or why a closed connection could not be cut off on the server.
	Err error
}

func (e *ReachError) Error() string {
	return fmt.Sprintf("rekey: commands of an earlier phase are under way on %d open and %d closed connections: %v",
		e.Conns, e.Closed, e.Err)
}

// Unwrap is why the wait ended.
func (e *ReachError) Unwrap() error { return e.Err }
