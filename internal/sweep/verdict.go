package sweep

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// Verdict is what a sweep proved. It is stored as JSON in the control key sweep:{kind}:{rule}, and holds no key's name.
type Verdict struct {
	Kind     Kind        `json:"kind"`
	Rule     string      `json:"rule"`
	RuleHash string      `json:"rule_hash"` // of the plan that the sweep was run with
	Strategy string      `json:"strategy"`
	Phase    phase.Phase `json:"phase"` // of the whole fleet
	// Gates are those that the sweep could prove in its phase; none if it proves nothing there.
	Gates     []GateVerdict   `json:"gates"`
	Counts                    // in all databases
	Problems  map[Class]int64 `json:"problems,omitempty"`
	Execute   bool            `json:"execute"`
	Databases []int           `json:"databases"`
	// Claimed are other environments with names in the databases, in spite of which the operator claimed the legacy names.
	Claimed []string `json:"claimed,omitempty"`
	// Started and Ended are by the server's clock. A verdict proves something only if the whole fleet was in the phase
	// when the sweep started.
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	// RunID and ReplicationID tell which server, and which history of its data, the verdict is about. They are empty where
	// the server does not say.
	RunID         string `json:"run_id,omitempty"`
	ReplicationID string `json:"replication_id,omitempty"`
	// Replicas is how many replicas were connected at the end; all of them have acknowledged, or no gate holds.
	Replicas int `json:"replicas"`
}

// GateVerdict is one gate in a verdict.
type GateVerdict struct {
	Gate   phase.Gate
	Holds  bool
	Reason string // why it does not hold, and what to do
}

type gateJSON struct {
	Gate   string `json:"gate"`
	Holds  bool   `json:"holds"`
	Reason string `json:"reason,omitempty"`
}

// MarshalJSON writes the gate by its name.
func (g GateVerdict) MarshalJSON() ([]byte, error) {
	return json.Marshal(gateJSON{g.Gate.String(), g.Holds, g.Reason})
}

// UnmarshalJSON reads the gate by its name.
func (g *GateVerdict) UnmarshalJSON(data []byte) error {
	var raw gateJSON
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	gate, err := phase.ParseGate(raw.Gate)
	*g = GateVerdict{gate, raw.Holds, raw.Reason}
	return err
}

// Holds reports whether the verdict proves a gate, and if not, why.
func (v *Verdict) Holds(g phase.Gate) (holds bool, reason string) {
	for _, gate := range v.Gates {
		if gate.Gate == g {
			return gate.Holds, gate.Reason
		}
	}
	return false, fmt.Sprintf("%v in phase %v does not prove %q", v.Kind, v.Phase, g.Proves())
}

// deny makes no gate hold.
func (v *Verdict) deny(reason string) {
	for i := range v.Gates {
		if v.Gates[i].Holds {
			v.Gates[i].Holds, v.Gates[i].Reason = false, reason
		}
	}
}

// Store reads and removes verdicts.
type Store struct {
	plan *plan.Plan
	link *link
}

// OpenStore returns the verdicts of a plan. The client's options are used for a connection to the plan's first database,
// where the control keys live.
func OpenStore(client *redis.Client, p *plan.Plan) *Store {
	return &Store{plan: p, link: newLink(client, p.Databases[0])}
}

// Close closes the store's connections.
func (s *Store) Close() error { return s.link.close() }

// Load returns the verdict of the last sweep of a kind over a rule. It is false while there is none: no sweep was run, one
// is running or was killed, or the verdict was removed. Whether it is of this plan and new enough is the caller's to
// judge, by its RuleHash, Started and ReplicationID.
func (s *Store) Load(ctx context.Context, rule string, kind Kind) (Verdict, bool, error) {
	data, err := s.link.client.Get(ctx, controlKey(s.plan, kind, rule)).Bytes()
	if errors.Is(err, redis.Nil) {
		return Verdict{}, false, nil
	}
	if err != nil {
		return Verdict{}, false, serverError("GET", err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return Verdict{}, false, fmt.Errorf("rekey: verdict of %v of rule %q: %w", kind, rule, err)
	}
	if r.Running != "" || r.Verdict == nil {
		return Verdict{}, false, nil
	}
	return *r.Verdict, true, nil
}

// Remove takes the verdicts on some gates of a rule back. A step that undoes what they prove calls it first. A sweep that
// runs at that moment will store none.
func (s *Store) Remove(ctx context.Context, rule string, gates ...phase.Gate) error {
	for _, g := range gates {
		if g.Sweep() == "" {
			continue // counted by the instances, proven by no sweep
		}
		kind, err := ParseKind(g.Sweep())
		if err != nil {
			return err
		}
		if err := s.link.client.Del(ctx, controlKey(s.plan, kind, rule)).Err(); err != nil {
			return serverError("DEL", err)
		}
	}
	return nil
}

func controlKey(p *plan.Plan, kind Kind, rule string) string {
	return p.ControlPrefix() + "sweep:" + kind.String() + ":" + rule
}

// record is the value of the control key: a sweep under way, by its token, or a verdict.
type record struct {
	Running string   `json:"running,omitempty"`
	Verdict *Verdict `json:"verdict,omitempty"`
}

func (r record) encode() []byte {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err) // its types are all plain
	}
	return data
}

// begin removes the verdict that the sweep would renew, puts the sweep's mark in its place, and notes when and on which
// server the sweep starts. It returns the mark.
//
// A server that is full refuses the mark, and purge and cleanup are what would free it. They run without, and store no
// verdict: without a mark they could not notice that one was to be removed.
func (r *run) begin(ctx context.Context, l *link, token string) ([]byte, error) {
	name := controlKey(r.Plan, r.Kind, r.Rule)
	if err := l.client.Del(ctx, name).Err(); err != nil {
		return nil, serverError("DEL", err)
	}
	mark := record{Running: token}.encode()
	switch err := l.client.Set(ctx, name, mark, 0).Err(); {
	case code(err) == "OOM" && (r.Kind == Purge || r.Kind == Cleanup):
		mark = nil
	case err != nil:
		return nil, serverError("SET", err)
	}
	v := &r.result.Verdict
	*v = Verdict{
		Kind: r.Kind, Rule: r.Rule, RuleHash: r.Plan.Hash(r.rule), Strategy: r.strategy.String(), Phase: r.Phase,
		Execute: r.Execute, Databases: r.Plan.Databases,
	}
	server, err := identify(ctx, l.client)
	if err != nil {
		return nil, err
	}
	v.RunID, v.ReplicationID = server.runID, server.replicationID
	v.Started, err = l.client.Time(ctx).Result()
	return mark, serverError("TIME", err)
}

// finish waits for the replicas and stores the verdict in the place of the mark.
func (r *run) finish(ctx context.Context, l *link, mark []byte) error {
	v := &r.result.Verdict
	v.Counts, v.Problems = r.result.Counts, r.result.Problems
	if mark == nil {
		v.deny("the server was full when the sweep began, so no verdict could be kept; run it again")
		return nil
	}
	conn := l.client.Conn()
	defer conn.Close() // back to the pool; what was sent was answered
	name := controlKey(r.Plan, r.Kind, r.Rule)

	// WAIT speaks of the writes of its own connection. This one comes after all that the sweep has sent, on whatever
	// connection, for the sweep has seen their replies.
	ending := record{Running: string(mark)}.encode()
	if ok, err := replace(ctx, conn, name, mark, ending); err != nil || !ok {
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
	if v.Ended, err = conn.Time(ctx).Result(); err != nil {
		return serverError("TIME", err)
	}
	ok, err := replace(ctx, conn, name, ending, record{Verdict: v}.encode())
	if err != nil || !ok {
		return r.removed(err)
	}
	r.result.Stored = true
	return nil
}

// removed is a sweep whose mark is gone: another one began, or a step was made that undoes what this one would prove.
func (r *run) removed(err error) error {
	if err == nil {
		r.result.Verdict.deny("while the sweep ran its verdict was removed: by a step, or because another sweep of the kind began; run it again")
	}
	return err
}

// replace sets a key only if it has a certain value.
func replace(ctx context.Context, conn *redis.Conn, name string, from, to []byte) (bool, error) {
	replies, err := pipeline(ctx, conn, []command{{"WATCH", name}, {"GET", name}})
	if err != nil {
		return false, err
	}
	for i, words := range []string{"WATCH", "GET"} {
		if err := serverError(words, replies[i].Err()); err != nil {
			return false, err
		}
	}
	if now, _ := replies[1].Text(); !bytes.Equal([]byte(now), from) { // nil: the key is gone
		return false, serverError("UNWATCH", conn.Do(ctx, "UNWATCH").Err())
	}
	_, done, err := transaction(ctx, conn, []command{{"SET", name, to}})
	if err != nil {
		_ = conn.Do(ctx, "UNWATCH").Err() // the connection goes back to the pool; err is what counts
	}
	return done, err
}
