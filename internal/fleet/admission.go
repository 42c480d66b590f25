package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/classwaves/rekey/phase"
)

func newID() string { return rand.Text() }

// Admit enters a connection, by its CLIENT ID, into the instance's record before it carries a command.
// conn is how it stands there, "" for one that may go on without, because nothing moves. Such a one must be closed before a rule
// leaves its parking, and nobody can do so for an instance that is lost: an audit holds the fleet up as long as
// there is one. So none is opened any more when the lease has run out, unless the server itself says that
// nothing has moved.
func (a *Agent) Admit(client int64) (conn string, err error) {
	a.mu.Lock()
	id, parked, shut := a.self.ID, a.parked(), a.shut
	a.mu.Unlock()
	if shut && !parked {
		return "", errNotRenewed
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.Plan.Fleet.Renew)
	defer cancel()
	if client == 0 {
		if parked && a.unmoved(ctx) {
			return "", nil
		}
		return "", fmt.Errorf("%w: the server does not tell the CLIENT ID of this connection, by which it could be closed if this instance were lost; its user needs +client|id", ErrLeaseLost)
	}
	conn, err = a.store.Admit(ctx, id, client, !parked)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, ErrLeaseLost):
		return "", errNotRenewed
	case errors.Is(err, ErrNoRecord):
		a.wakeUp() // it joins again, or finds that the records are lost
		if parked && a.lost(ctx) {
			return "", nil
		}
		return "", fmt.Errorf("%w: this instance was taken for dead and joins the fleet again; try again", ErrLeaseLost)
	case parked && a.unmoved(ctx):
		return "", nil
	}
	return "", fmt.Errorf("%w: this connection could not be admitted: %w", ErrLeaseLost, err)
}

var errNotRenewed = fmt.Errorf("%w: this connection is not admitted before the lease is renewed", ErrLeaseLost)

// unmoved says whether the fleet is for certain where this instance is: nobody goes past it while its lease
// lasts and its record is there, and behind that the targets say so. A server without memory for a record still
// tells them.
func (a *Agent) unmoved(ctx context.Context) bool {
	a.mu.Lock()
	held := !a.shut && a.lease.Remaining(a.Now()) > 0
	a.mu.Unlock()
	if held {
		return true
	}
	targets, err := a.store.Targets(ctx)
	if err != nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, r := range a.Plan.Rules {
		if t, ok := targets[r.Name]; ok && (t.Mark != a.followed[i].Mark || t.Epoch != a.followed[i].Epoch) {
			return false
		}
	}
	return true
}

// parked says whether every rule is parked. The lock is held.
func (a *Agent) parked() bool {
	for i := range a.followed {
		if !a.followed[i].Phase.Parked() || !a.reached[i].Phase.Parked() {
			return false
		}
	}
	return true
}

// lost says that there are no control records at all.
func (a *Agent) lost(ctx context.Context) bool {
	targets, err := a.store.Targets(ctx)
	return err == nil && len(targets) == 0
}

// Closed tells that a connection which was admitted is gone.
func (a *Agent) Closed(conn string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = append(a.gone, conn)
}

// LeaseAge is how long ago the renewal in force was begun.
func (a *Agent) LeaseAge() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lease.Age(a.Now())
}

// Acknowledged is the phase of each rule that was reported as reached.
func (a *Agent) Acknowledged() []phase.Phase {
	a.mu.Lock()
	defer a.mu.Unlock()
	return phasesOf(a.reached)
}

// listen wakes the agent when a change is announced, and once a second while nobody could announce it.
func (a *Agent) listen(ctx context.Context) {
	sub := a.store.client.Subscribe(ctx, a.store.keys.Events())
	// A receive ends with its connection, not with the context.
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	defer func() { _ = sub.Close() }() // nothing is left to read
	for ctx.Err() == nil {
		_, err := sub.Receive(ctx) // a subscription's confirmation is news as well: something may have been missed
		if err == nil {
			a.wakeUp()
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pollPause):
			a.wakeUp()
		}
	}
}
