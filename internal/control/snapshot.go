package control

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/plan"
)

// unburiedID stands where an instance's id does in the name of the set of connections that are to be closed
// before anything else is done; sweepsID in that of the connections of the controller's own sweeps.
const (
	unburiedID = "@unburied"
	sweepsID   = "@control"
)

// evidenceKinds are the records beside the verdicts that a step depends on, and that it removes.
const (
	reachedKind = "reached"
	quietKind   = "quiet"
)

var sweepKinds = []string{"purge", "backfill", "verify", "reverse", "cleanup", "relocate"}

// evidenceKeys are all keys that hold evidence on a rule.
func evidenceKeys(k fleet.Keys, rule string) []string {
	var out []string
	for _, kind := range slices.Concat(sweepKinds, []string{reachedKind, quietKind}) {
		out = append(out, k.Sweep(kind, rule))
	}
	return out
}

var (
	//go:embed lua/snapshot.lua
	snapshotText   string
	snapshotScript = redis.NewScript(snapshotText)
)

// snapshot is all records at one moment of the server.
type snapshot struct {
	read       time.Time // when it was begun, by the clock of this process
	now        int64     // the server's clock in microseconds
	server     identity
	instances  []fleet.Instance // ordered by name and id
	broken     []brokenInstance
	targets    map[string]fleet.Target
	texts      map[string]string // the targets as they are written
	badTargets map[string]error
	lock, gen  string // "" where there is none
	unburied   int64
	met        bool              // there was an instance, now or when this controller looked before
	evidence   map[string]string // by key
}

// brokenInstance is a record that cannot be read.
type brokenInstance struct {
	id, name string
	err      error
}

// identity is which server this is, and which history of its data.
type identity struct {
	runID, replicationID string
	replicas             int
	uptime               time.Duration
}

func parseIdentity(info string) (s identity) {
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "run_id":
			s.runID = value
		case "master_replid":
			s.replicationID = value
		case "connected_slaves":
			s.replicas, _ = strconv.Atoi(value) // a server writes a number
		case "uptime_in_seconds":
			n, _ := strconv.Atoi(value) // as above
			s.uptime = time.Duration(n) * time.Second
		}
	}
	return s
}

// takeSnapshot reads the records in one script.
func takeSnapshot(ctx context.Context, store *fleet.Store, p *plan.Plan) (*snapshot, error) {
	keys := store.Keys()
	s := &snapshot{read: time.Now(), evidence: make(map[string]string)}
	names := []string{keys.Fleet(), keys.Phase(), keys.Lock(), keys.Gen(), keys.Conns(unburiedID)}
	for _, r := range p.Rules {
		names = append(names, evidenceKeys(keys, r.Name)...)
	}
	reply, err := snapshotScript.Run(ctx, store.Client(), names).Slice()
	if err != nil {
		return nil, fmt.Errorf("rekey: read the control records: %w", err)
	}
	return s, s.parse(reply, names[5:])
}

// parse reads the script's reply.
func (s *snapshot) parse(reply []any, evidence []string) error {
	if len(reply) != 9 {
		return errReply
	}
	var isTime, isCount bool
	s.now, isTime = reply[0].(int64)
	s.unburied, isCount = reply[5].(int64)
	values, isList := reply[6].([]any)
	instances, err := flatMap(reply[1])
	targets, err2 := flatMap(reply[2])
	if err := errors.Join(err, err2); err != nil || !isTime || !isCount || !isList || len(values) != len(evidence) {
		return errReply
	}
	var texts [4]string
	for i, at := range []int{3, 4, 7, 8} {
		var isText bool
		if texts[i], isText = reply[at].(string); !isText {
			return errReply
		}
	}
	s.lock, s.gen, s.server = texts[0], texts[1], parseIdentity(texts[2]+texts[3])
	s.parseInstances(instances)
	s.parseTargets(targets)
	for i, value := range values {
		if text, ok := value.(string); ok && text != "" {
			s.evidence[evidence[i]] = text
		}
	}
	return nil
}

// flatMap reads a hash as HGETALL has it.
func flatMap(reply any) (map[string]string, error) {
	flat, ok := reply.([]any)
	if !ok {
		return nil, errReply
	}
	out := make(map[string]string, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		field, isField := flat[i].(string)
		value, isValue := flat[i+1].(string)
		if !isField || !isValue {
			return nil, errReply
		}
		out[field] = value
	}
	return out, nil
}

func (s *snapshot) parseInstances(all map[string]string) {
	for id, text := range all {
		one, err := fleet.ParseInstance(text)
		if err != nil {
			b := brokenInstance{id: id, name: id, err: err}
			var word struct {
				Name string `json:"name"`
				Host string `json:"host"`
			}
			if json.Unmarshal([]byte(text), &word) == nil && word.Name != "" {
				b.name = fmt.Sprintf("%s (%s)", word.Name, word.Host)
			}
			s.broken = append(s.broken, b)
			continue
		}
		one.ID = id
		s.instances = append(s.instances, one)
	}
	slices.SortFunc(s.instances, func(a, b fleet.Instance) int { return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID) })
	slices.SortFunc(s.broken, func(a, b brokenInstance) int { return strings.Compare(a.id, b.id) })
}

func (s *snapshot) parseTargets(all map[string]string) {
	s.texts = all
	s.targets, s.badTargets = make(map[string]fleet.Target, len(all)), make(map[string]error)
	for rule, text := range all {
		t, err := fleet.ParseTarget(rule, text)
		if err != nil {
			s.badTargets[rule] = err
			continue
		}
		s.targets[rule] = t
	}
}

// ids are all instances that have a record, readable or not.
func (s *snapshot) ids() []string {
	var out []string
	for i := range s.instances {
		out = append(out, s.instances[i].ID)
	}
	for _, b := range s.broken {
		out = append(out, b.id)
	}
	return out
}

// verdict is the last verdict of a sweep that is not under way.
func (s *snapshot) verdict(k fleet.Keys, kind, rule string) (sweep.Verdict, bool) {
	var record struct {
		Running string         `json:"running"`
		Verdict *sweep.Verdict `json:"verdict"`
	}
	text := s.evidence[k.Sweep(kind, rule)]
	if text == "" || json.Unmarshal([]byte(text), &record) != nil || record.Running != "" || record.Verdict == nil {
		return sweep.Verdict{}, false
	}
	return *record.Verdict, true
}
