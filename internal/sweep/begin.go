package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/phase"
)

// begin takes the lease, which removes the verdict that the sweep would renew, and notes when and on which server the sweep
// begins, or where it goes on.
//
// A server that is full refuses the record, and purge and cleanup are what would free it. They run without a lease, and store
// no verdict: without a record they could not notice that the verdict was to be removed.
func (r *run) begin(ctx context.Context, l *link) error {
	server, err := identify(ctx, l.client)
	if err != nil {
		return err
	}
	under, err := r.conditions(ctx, l, server)
	if err != nil {
		return err
	}
	others, cut, err := r.awaitOthers(ctx, l, server.runID, func(at phase.Phase) bool { return at == r.Phase })
	if err != nil {
		return err
	}
	r.lease.link = l
	far := r.at
	before, err := r.lease.take(ctx, server.runID, r.leased, r.Mark != "", func(was *checkpoint, now time.Time) *checkpoint {
		if was != nil && r.leased {
			far.Saved, was = was.Saved, &far // it may be ahead of what was written down
		}
		next := r.resume(was, under, others, now)
		return &next
	})
	var held *LeaseError
	switch {
	case errors.As(err, &held):
		held.Kind, held.Rule = r.Kind, r.Rule
		return err
	case code(err) == "OOM" && (r.Kind == Purge || r.Kind == Cleanup):
		r.lease, r.leased = nil, false
		if err := l.client.Del(ctx, controlKey(r.Plan, r.Kind, r.Rule)).Err(); err != nil {
			return serverError("DEL", err)
		}
		now, err := l.client.Time(ctx).Result()
		if err != nil {
			return serverError("TIME", err)
		}
		var was *checkpoint // of an attempt before, which this one goes on from: it proves nothing either way
		if r.attempt > 1 {
			far.Saved, was = now, &far
		}
		r.resume(was, under, others, now)
	case isFenced(err) && server.runID != r.result.Verdict.RunID:
		return errForgotten
	case err != nil:
		return err
	default:
		r.leased = true
	}
	r.result.Counts, r.result.Problems, r.strays = r.at.Counts, r.at.tally.clone().Problems, r.at.Strays
	if r.result.Problems == nil {
		r.result.Problems = make(map[Class]int64)
	}
	clear(r.reported) // what was found after the checkpoint is found again
	r.result.Verdict = Verdict{
		Kind: r.Kind, Rule: r.Rule, RuleHash: under.RuleHash, Strategy: r.strategy.String(), Phase: r.Phase,
		Execute: r.Execute, Databases: r.Plan.Databases, Started: r.at.Started, Resumed: r.at.Resumed,
		RunID: server.runID, ReplicationID: server.replicationID,
	}
	if err := closeConnections(ctx, l, slices.Concat(before, cut, r.unrecorded)); err != nil {
		if r.attempt > 1 {
			return err // what our own connection has under way would outlive the sweep
		}
		r.note("connections of the sweep that was interrupted could not be closed; give the sweep's user +client|kill")
	}
	return nil
}

// conditions are what a proof of this run depends on.
func (r *run) conditions(ctx context.Context, l *link, s server) (conditions, error) {
	c := conditions{
		RuleHash: r.Plan.Hash(r.rule), Databases: r.Plan.Databases, Phase: r.Phase, Mark: r.Mark, Words: r.words(),
		RunID: s.runID, ReplicationID: s.replicationID,
	}
	if r.Mark != "" {
		return c, nil
	}
	entered, err := l.client.HGetAll(ctx, r.Plan.ControlPrefix()+"flags:"+r.Rule).Result()
	if err != nil {
		return c, serverError("HGETALL", err)
	}
	if len(entered) > 0 {
		text, err := json.Marshal(entered) // in the order of the phases' names
		if err != nil {
			return c, fmt.Errorf("rekey: note when processes entered phases: %w", err)
		}
		c.Entered = string(text)
	}
	return c, nil
}

// awaitOthers gives the records of the other kinds of sweeps over the rule, and the connections of those that were cut: what they
// sent last may still be on its way. It would come behind the proof of this sweep, as a RENAMENX of relocate behind the reverse
// that has brought every key home, and behind the step that hangs on it.
//
// One that lives may run beside this one where beside says so of its phase. Else somebody's word is wrong, or it was killed a
// moment ago: it is waited for until its lease has run out, and where it is renewed the error is a *[LeaseError]. A verify
// looks on.
func (r *run) awaitOthers(ctx context.Context, l *link, runID string, beside func(phase.Phase) bool) (others []record, cut []int64, err error) {
	first := make(map[Kind]record)
	for {
		all, now, err := r.otherRecords(ctx, l)
		if err != nil {
			return nil, nil, err
		}
		others, cut = others[:0], cut[:0]
		waits := false
		for kind, other := range all {
			others = append(others, other)
			at, _ := other.began()
			lives := other.Running != "" && other.Until > now.UnixMicro() &&
				!(r.Mark != "" && other.Checkpoint != nil && other.Checkpoint.Under.Mark != "") // as in take
			switch {
			case !lives && other.RunID == runID:
				cut = append(cut, other.Conns...)
			case lives && !beside(at) && kind != Verify:
				was, met := first[kind]
				if met && (was.Running != other.Running || was.Until != other.Until) {
					return nil, nil, &LeaseError{Kind: kind, Rule: r.Rule, Owner: other.Owner}
				}
				first[kind], waits = other, true
			}
		}
		if !waits {
			return others, cut, nil
		}
		if err := pause(ctx, leasePoll); err != nil {
			return nil, nil, err
		}
	}
}

// otherRecords are the records of the other kinds of sweeps over the rule, and the server's time.
func (r *run) otherRecords(ctx context.Context, l *link) (map[Kind]record, time.Time, error) {
	var kinds []Kind
	read := []command{{"TIME"}}
	for kind := Purge; kind.known(); kind++ {
		if kind != r.Kind {
			kinds = append(kinds, kind)
			read = append(read, command{"GET", controlKey(r.Plan, kind, r.Rule)})
		}
	}
	replies, err := pipeline(ctx, l.client, read)
	if err != nil {
		return nil, time.Time{}, err
	}
	now, err := clockOf(replies[0])
	if err != nil {
		return nil, time.Time{}, err
	}
	out := make(map[Kind]record)
	for i, reply := range replies[1:] {
		text, err := reply.Text()
		if err := serverError("GET", err); err != nil && !errors.Is(err, redis.Nil) {
			return nil, time.Time{}, err
		}
		if one, err := parseRecord(text); err == nil { // one of another version is of another phase, for all we know
			out[kinds[i]] = one
		}
	}
	return out, now, nil
}

// resume decides whether the run goes on from a checkpoint, and says so.
func (r *run) resume(was *checkpoint, under conditions, others []record, now time.Time) checkpoint {
	r.at = checkpoint{Under: under, Started: now}
	if was == nil {
		return r.at
	}
	doubt := was.doubt(under, now)
	for _, other := range others {
		if phase, started := other.began(); doubt == "" && phase != r.Phase && started.After(was.Started) {
			doubt = fmt.Sprintf("a sweep ran in phase %v since", phase)
		}
	}
	switch {
	case r.Anew && r.attempt == 1, r.Sample != 0: // every run takes a sample of its own
	case doubt != "":
		r.note(fmt.Sprintf("the sweep was interrupted before and begins anew: %s", doubt))
	default:
		r.at = *was
		r.at.tally = was.tally.clone()
		r.at.Resumed++
		r.note(fmt.Sprintf("it goes on from where it was interrupted, after %d keys of %s", was.Matched, was.Started.Local().Format(time.DateTime)))
		if n := was.found(); n > 0 {
			r.note(fmt.Sprintf("%d problems were found before the interruption; they are counted, and their keys are not named again", n))
		}
	}
	return r.at
}

// found is how many problems were counted.
func (t tally) found() (n int64) {
	for _, count := range t.Problems {
		n += count
	}
	return n
}

// finish waits for the replicas and stores the verdict in the place of the record of the run.
func (r *run) finish(ctx context.Context, l *link) error {
	v := &r.result.Verdict
	v.Counts, v.Problems = r.result.Counts, r.result.Problems
	if r.lease == nil {
		v.deny("the server was full when the sweep began, so no verdict could be kept; run it again")
		return nil
	}
	r.lease.end()
	conn := l.client.Conn()
	defer conn.Close() // back to the pool; what was sent was answered

	// WAIT speaks of the writes of its own connection. This one comes after all that the sweep has sent, on whatever
	// connection, for the sweep has seen their replies.
	if err := r.lease.writeOn(ctx, conn, r.lease.mine); err != nil {
		return r.removed(err)
	}
	server, err := identify(ctx, conn)
	if err != nil {
		return err
	}
	if v.Replicas = server.replicas; v.Replicas > 0 {
		n, err := conn.Do(ctx, "WAIT", v.Replicas, r.ReplicaTimeout.Milliseconds()).Int()
		if err != nil {
			return serverError("WAIT", err)
		}
		if n < v.Replicas {
			v.deny(fmt.Sprintf("%d of %d connected replicas acknowledged the sweep within %v; wait until they have caught up, then run it again",
				n, v.Replicas, r.ReplicaTimeout))
		}
	}
	if server.runID != v.RunID || server.replicationID != v.ReplicationID {
		v.deny("the server, or its history, is another than when the sweep began: there was a restart or a failover; run it again")
	}
	if err := r.lease.finish(ctx, conn, v); err != nil {
		return r.removed(err)
	}
	r.result.Stored = true
	return nil
}

// removed is a sweep that comes to its end without its record: another one began, a step was made that undoes what this one
// would prove, or there is nothing left that it could be about. Nothing is proven then; other errors stay what they are.
func (r *run) removed(err error) error {
	if !isFenced(err) {
		return err
	}
	r.result.Verdict.deny(strings.TrimPrefix(err.Error(), "rekey: "))
	return nil
}
