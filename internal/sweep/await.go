package sweep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

// awaitPoll is how often a server that is not ready is asked.
const awaitPoll = 200 * time.Millisecond

// passing are the first words of errors of a server that will take the same command again.
var passing = []string{"LOADING", "BUSY", "MASTERDOWN", "READONLY", "TRYAGAIN"}

// passes says whether an error is one that goes away by itself: of a server that starts, is busy with a script, or fails
// over, or of a network that was cut. Full memory and missing rights are for the operator.
func passes(err error) bool {
	if slices.Contains(passing, code(err)) {
		return true
	}
	var network net.Error
	return code(err) == "" && (errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF))
}

// await waits until the server takes commands again. The error says that it did not in time.
//
// The next attempt takes the sweep's own lease again and closes the connections of this one on the server, so that nothing
// of it outlives the sweep. On the same run of the server it goes on; on another one it begins anew, for the cursor is void.
func (r *run) await(ctx context.Context, why error) error {
	if r.awaiting.IsZero() || r.lastPage.After(r.awaiting) {
		r.awaiting = time.Now() // there was progress in between: this is another trouble
	}
	for {
		r.progress.Reason = "waits for the server: " + reasonOf(why)
		r.report()
		left := r.Patience - time.Since(r.awaiting)
		if left <= 0 {
			return fmt.Errorf("rekey: the server was not ready within %v", r.Patience)
		}
		if err := pause(ctx, awaitPoll); err != nil {
			return err
		}
		probe := newLink(r.Client, r.Plan.Databases[0], nil).watched(&r.waits)
		within, cancel := context.WithTimeout(ctx, left) // a server that hangs takes the question and says nothing
		unhook := context.AfterFunc(within, func() { _ = probe.close() })
		err := probe.client.Exists(ctx, controlKey(r.Plan, r.Kind, r.Rule)).Err()
		late := within.Err() != nil
		unhook()
		cancel()
		_ = probe.close() // it was asked once
		switch {
		case err == nil:
			r.progress.Reason = ""
			return nil
		case late:
			continue
		case !passes(err):
			return err
		}
		why = err
	}
}

// reasonOf is an error's first word, or that there was none.
func reasonOf(err error) string {
	if word := code(err); word != "" {
		return word
	}
	return "no answer"
}
