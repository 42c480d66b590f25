package sweep

import (
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
	// Resumed is how often the sweep was interrupted and went on from its checkpoint; Started is that of the first run.
	Resumed int `json:"resumed,omitempty"`
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
	return &Store{plan: p, link: newLink(client, p.Databases[0], nil)}
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
	r, err := parseRecord(string(data))
	if err != nil {
		return Verdict{}, false, fmt.Errorf("verdict of %v of rule %q: %w", kind, rule, err)
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
