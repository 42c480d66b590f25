package sweep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// term is how long a lease is held after its last renewal, and renewEvery how often it is renewed where nothing else is
	// to be written.
	term, renewEvery = 10 * time.Second, 2 * time.Second
	// margin is how long before its end a lease is no longer trusted by its holder.
	margin = 2 * time.Second
	// saveEvery is how much work is done again at most after a kill -9.
	saveEvery = 200 * time.Millisecond
	// leasePoll is how often somebody else's lease is looked at while it runs out.
	leasePoll = 200 * time.Millisecond
	// writeTries is how often a record is written that others write too: connections that open note themselves in it.
	writeTries = 20
)

// fenced is a sweep that its record is closed to, and why.
type fenced string

func (f fenced) Error() string { return string(f) }

func isFenced(err error) bool { return errors.As(err, new(fenced)) }

const (
	// errTaken is a sweep whose record is another one's.
	errTaken fenced = "rekey: another sweep of the kind has taken over; start it again when nobody else does"
	// errGone is a sweep whose record is not there. Nothing tells a step, which removes it, from a FLUSHALL.
	errGone fenced = "rekey: the sweep's record is gone: a step removed it, or the database was emptied (FLUSHALL, FLUSHDB), and the fleet's " +
		"records with it; see with rekey status whether they are there, then start the sweep again"
)

// errForgotten is a sweep whose record was gone after a restart, or a failover. A step may have removed it just the same.
var errForgotten = errors.New("rekey: the server was restarted, or is another one, and has not kept the sweep's record; " +
	"see with rekey status whether it has kept the fleet's, then start the sweep again")

// lease is the right to be the only sweep of a kind over a rule, and the keeper of the sweep's checkpoint. Both are in one
// record, which nobody writes who is not in it: a sweep that lost its lease, because its host hung or its network was cut,
// stores neither checkpoint nor verdict however late it wakes. It sends no page either: it looks at its own clock before each
// one, and its connections, whose ids are in the record, were closed by whoever took over.
type lease struct {
	name  string
	token string
	link  *link // of the control keys

	mu    sync.Mutex // guards what follows
	next  record     // as it is to be
	taken bool
	dirty bool
	until time.Time // by our clock: before it nobody can have taken over
	lost  error

	stop chan struct{}
	work sync.WaitGroup
}

func newLease(name, token, owner string) *lease {
	return &lease{name: name, token: token, next: record{Running: token, Owner: owner}, stop: make(chan struct{})}
}

// take acquires the lease, or again what was ours: then it is fenced off where that is another's. resume decides, from the checkpoint that is there or nil, which one the sweep begins with. What it
// returns besides are the connections of the sweep before, which may still have something under way.
func (l *lease) take(ctx context.Context, runID string, again, led bool, resume func(was *checkpoint, now time.Time) *checkpoint) (before []int64, err error) {
	var holder record // as it was first seen
	for {
		var held bool
		err := l.write(ctx, func(was record, now time.Time) error {
			if again {
				if err := l.mine(was, now); err != nil {
					return err
				}
			}
			free := was.Running == "" || was.Running == l.token || was.Until <= now.UnixMicro() ||
				// Who may run a sweep with a mark holds the controller's lock, which no two can.
				led && was.Checkpoint != nil && was.Checkpoint.Under.Mark != ""
			if !free {
				held, holder = holder.Until == 0 || holder.Running == was.Running && holder.Until == was.Until, was
				return &LeaseError{Owner: was.Owner}
			}
			before = nil
			if was.RunID == runID {
				before = was.Conns
			}
			l.next.RunID, l.next.Checkpoint = runID, resume(was.Checkpoint, now)
			return nil
		})
		var other *LeaseError
		if !errors.As(err, &other) || !held {
			return before, err // a lease that is renewed is one of a living sweep
		}
		if err := pause(ctx, leasePoll); err != nil {
			return nil, err
		}
	}
}

// write replaces the record, if check allows it, by what it is to be. Everything that the sweep writes there goes through it.
func (l *lease) write(ctx context.Context, check func(was record, now time.Time) error) error {
	conn := l.link.client.Conn()
	defer conn.Close() // back to the pool; rewrite leaves no WATCH behind
	return l.writeOn(ctx, conn, check)
}

func (l *lease) writeOn(ctx context.Context, conn *redis.Conn, check func(was record, now time.Time) error) error {
	for try := 1; ; try++ {
		begun := time.Now()
		err := rewrite(ctx, conn, l.name, func(was record, now time.Time) (record, error) {
			if err := check(was, now); err != nil {
				return record{}, err
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.dirty = false
			return l.dated(now, now.Add(term).UnixMicro()), nil
		})
		l.mu.Lock()
		switch {
		case err == nil:
			l.taken, l.until = true, begun.Add(term-margin)
		case isFenced(err):
			l.lost = err
		default:
			l.dirty = true
		}
		l.mu.Unlock()
		if !errors.Is(err, errMoved) || try == writeTries {
			return err
		}
	}
}

// dated is the record that is written at a time. The lock is held.
func (l *lease) dated(now time.Time, until int64) record {
	out := l.next
	out.Until = until
	if out.Checkpoint != nil {
		at := *out.Checkpoint
		at.Saved = now
		out.Checkpoint = &at
	}
	return out
}

// mine is the fence.
func (l *lease) mine(was record, _ time.Time) error {
	switch {
	case was.Running == l.token:
		return nil
	case was.Running == "" && was.Verdict == nil:
		return errGone
	default:
		return errTaken
	}
}

// keep renews the lease and writes checkpoints down until end. The walk does not wait for that: it only says how far it is.
func (l *lease) keep(ctx context.Context) {
	l.work.Go(func() {
		ticker := time.NewTicker(saveEvery)
		defer ticker.Stop()
		for renewed := time.Now(); ; {
			select {
			case <-l.stop:
				return
			case <-ticker.C:
			}
			l.mu.Lock()
			due := l.dirty || time.Since(renewed) >= renewEvery
			l.mu.Unlock()
			if !due {
				continue
			}
			// An error is met again before the next page, when the lease is about to end.
			if err := l.write(ctx, l.mine); isFenced(err) {
				return
			} else if err == nil {
				renewed = time.Now()
			}
		}
	})
}

// save notes a checkpoint, which the keeper writes down.
func (l *lease) save(c checkpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next.Checkpoint, l.dirty = &c, true
}

// check says before a page whether the lease is still ours. Where our clock does not vouch for it the server is asked.
func (l *lease) check(ctx context.Context) error {
	l.mu.Lock()
	lost, until := l.lost, l.until
	l.mu.Unlock()
	if lost != nil || time.Now().Before(until) {
		return lost
	}
	err := l.write(ctx, l.mine)
	if code(err) == "OOM" {
		// Nobody else can have taken over either, and some sweeps are what frees a full server. Reading is allowed.
		return l.still(ctx)
	}
	return err
}

// still asks the server whether the record is ours, without writing it.
func (l *lease) still(ctx context.Context) error {
	text, err := l.link.client.Get(ctx, l.name).Result()
	if err := serverError("GET", err); err != nil {
		return err
	}
	was, _ := parseRecord(text) // one that cannot be read is not ours
	return l.mine(was, time.Time{})
}

// enter notes a connection to a database in the record before it carries a page. It is called while the connection is made.
func (l *lease) enter(ctx context.Context, conn *redis.Conn, database int) error {
	id, err := conn.ClientID(ctx).Result()
	if err != nil {
		if code(err) == "" {
			return err
		}
		return nil // an embedded server, or a user without the right: then nothing closes it but its own end
	}
	l.mu.Lock()
	l.next.Conns = append(slices.Clone(l.next.Conns), id)
	taken := l.taken
	l.mu.Unlock()
	switch {
	case !taken:
		return nil // it is written with the lease
	case database != l.link.database:
		return l.write(ctx, l.mine)
	}
	return l.writeOn(ctx, conn, l.mine)
}

// conns are the connections that were noted.
func (l *lease) conns() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.next.Conns)
}

// end stops the keeper. The lease itself is given up by the record that is written last.
func (l *lease) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.work.Wait()
}

func (l *lease) isTaken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken && l.lost == nil
}

// release gives the lease up and leaves the checkpoint for whoever goes on. clean says that no command is under way.
func (l *lease) release(ctx context.Context, clean bool) error {
	conn := l.link.client.Conn()
	defer conn.Close() // as in write
	for range writeTries {
		err := rewrite(ctx, conn, l.name, func(was record, now time.Time) (record, error) {
			if err := l.mine(was, now); err != nil {
				return record{}, err
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if clean {
				l.next.Conns = nil
			}
			return l.dated(now, 0), nil
		})
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return errMoved
}

// finish puts the verdict in the place of all that.
func (l *lease) finish(ctx context.Context, conn *redis.Conn, v *Verdict) error {
	for range writeTries {
		err := rewrite(ctx, conn, l.name, func(was record, now time.Time) (record, error) {
			if err := l.mine(was, now); err != nil {
				return record{}, err
			}
			v.Ended = now
			return record{Verdict: v}, nil
		})
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return errMoved
}

// closeConnections closes connections of a sweep that was killed or lost its lease: what it sent last may be on its way. A server that
// knows no such connection answers 0.
func closeConnections(ctx context.Context, on *link, ids []int64) error {
	var commands []command
	for _, id := range ids {
		commands = append(commands, command{"CLIENT", "KILL", "ID", id})
	}
	replies, err := pipeline(ctx, on.client, commands)
	if err != nil {
		return err
	}
	for _, reply := range replies {
		if err := reply.Err(); err != nil && !unknownCommand(err) {
			return fmt.Errorf("rekey: close the connections of the sweep before: %w", serverError("CLIENT KILL", err))
		}
	}
	return nil
}
