package session

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/classwaves/rekey/classwaves/unavailable"
)

// turns let logins of one teacher come one after the other in this process. The database has them wait for each
// other anyway, and the script that puts a session into Redis has to be sent again whenever another login
// came between: with a hundred at once that would be most of the work.
type turns struct {
	seed maphash.Seed
	busy []chan struct{} // each holds one token; teachers that share one wait without need
}

func newTurns() turns {
	t := turns{seed: maphash.MakeSeed(), busy: make([]chan struct{}, 64)}
	for i := range t.busy {
		t.busy[i] = make(chan struct{}, 1)
	}
	return t
}

// take waits for the teacher's turn, and no longer than a change of the database may take.
func (t turns) take(ctx context.Context, teacher string) (done func(), err error) {
	busy := t.busy[maphash.String(t.seed, teacher)%uint64(len(t.busy))]
	patience := time.NewTimer(writeTimeout)
	defer patience.Stop()
	select {
	case busy <- struct{}{}:
		return func() { <-busy }, nil
	case <-ctx.Done():
		return nil, &unavailable.Error{Op: "wait for other logins", Err: ctx.Err()}
	case <-patience.C:
		return nil, &unavailable.Error{Op: "wait for other logins", Err: context.DeadlineExceeded}
	}
}
