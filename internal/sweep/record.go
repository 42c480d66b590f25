package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// record is the value of the control key sweep:{kind}:{rule}: a sweep that is under way or was left, by its token, or a
// verdict.
type record struct {
	Running string `json:"running,omitempty"`
	// Until is when the lease runs out, in microseconds of the server's clock; 0: it was given up.
	Until int64  `json:"until,omitempty"`
	Owner string `json:"owner,omitempty"`
	// Conns are the ids of the sweep's connections to the server with RunID. Whoever takes over closes them.
	Conns      []int64     `json:"conns,omitempty"`
	RunID      string      `json:"run_id,omitempty"`
	Checkpoint *checkpoint `json:"checkpoint,omitempty"`
	Verdict    *Verdict    `json:"verdict,omitempty"`
}

func (r record) encode() []byte {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // its types are all plain
	}
	return data
}

// parseRecord reads a record. One that cannot be read is of another version, and there is nothing to go on from.
func parseRecord(data string) (record, error) {
	var r record
	if data == "" {
		return r, nil
	}
	if err := json.Unmarshal([]byte(data), &r); err != nil {
		return record{}, fmt.Errorf("rekey: read the record of a sweep: %w", err)
	}
	return r, nil
}

// began is the phase and the beginning of the sweep that a record is about.
func (r record) began() (phase.Phase, time.Time) {
	switch {
	case r.Verdict != nil:
		return r.Verdict.Phase, r.Verdict.Started
	case r.Checkpoint != nil:
		return r.Checkpoint.Under.Phase, r.Checkpoint.Started
	default:
		return 0, time.Time{}
	}
}

func controlKey(p *plan.Plan, kind Kind, rule string) string {
	return p.ControlPrefix() + "sweep:" + kind.String() + ":" + rule
}

// errMoved is a record that changed between its reading and its writing.
var errMoved = errors.New("rekey: the record of the sweep changed while it was written")

// rewrite replaces a record by what decide makes of it, and of the server's time, in one step: if the record changes between
// the two, nothing is written and the error is errMoved. decide may refuse.
func rewrite(ctx context.Context, conn *redis.Conn, name string, decide func(was record, now time.Time) (record, error)) error {
	read := []command{{"WATCH", name}, {"GET", name}, {"TIME"}}
	replies, err := pipeline(ctx, conn, read)
	if err != nil {
		return err
	}
	for i, reply := range replies {
		if err := serverError(read[i].name(), reply.Err()); err != nil {
			return errors.Join(err, unwatch(ctx, conn))
		}
	}
	text, _ := replies[1].Text() // nil: there is none
	now, err := clockOf(replies[2])
	if err != nil {
		return errors.Join(err, unwatch(ctx, conn))
	}
	was, _ := parseRecord(text) // one of another version is nobody's: it is replaced
	next, err := decide(was, now)
	if err != nil {
		return errors.Join(err, unwatch(ctx, conn))
	}
	_, done, err := transaction(ctx, conn, []command{{"SET", name, next.encode()}})
	if err != nil {
		_ = conn.Do(ctx, "UNWATCH").Err() // the connection goes back to the pool; err is what counts
		return err
	}
	if !done {
		return errMoved
	}
	return nil
}

// LeaseError is a sweep of a kind over a rule that somebody else runs.
type LeaseError struct {
	Kind  Kind
	Rule  string
	Owner string
}

func (e *LeaseError) Error() string {
	return fmt.Sprintf("rekey: %v of rule %q is under way: %s runs it; wait until it has ended, or stop it there", e.Kind, e.Rule, e.Owner)
}

// owner is who runs a sweep, for others to see.
func owner() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s@%s (pid %d)", name, host, os.Getpid())
}
