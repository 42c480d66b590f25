package control

import (
	"context"
	"encoding/json"
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

// takeSnapshot reads the records in one transaction.
func takeSnapshot(ctx context.Context, store *fleet.Store, p *plan.Plan) (*snapshot, error) {
	keys := store.Keys()
	s := &snapshot{read: time.Now(), evidence: make(map[string]string)}
	var names []string
	for _, r := range p.Rules {
		names = append(names, evidenceKeys(keys, r.Name)...)
	}
	var at *redis.TimeCmd
	var instances, targets *redis.MapStringStringCmd
	var lock, gen, server, replication *redis.StringCmd
	var unburied *redis.IntCmd
	var evidence *redis.SliceCmd
	_, err := store.Client().TxPipelined(ctx, func(t redis.Pipeliner) error {
		at = t.Time(ctx)
		instances, targets = t.HGetAll(ctx, keys.Fleet()), t.HGetAll(ctx, keys.Phase())
		lock, gen = t.Get(ctx, keys.Lock()), t.Get(ctx, keys.Gen())
		unburied = t.SCard(ctx, keys.Conns(unburiedID))
		evidence = t.MGet(ctx, names...)
		server, replication = t.Info(ctx, "server"), t.Info(ctx, "replication")
		return nil
	})
	if err != nil && err != redis.Nil { //nolint:errorlint // a transaction gives its first error as it is
		return nil, fmt.Errorf("rekey: read the control records: %w", err)
	}
	s.now = at.Val().UnixMicro()
	s.server = parseIdentity(server.Val() + replication.Val())
	s.lock, s.gen, s.unburied = lock.Val(), gen.Val(), unburied.Val()
	s.parseInstances(instances.Val())
	s.parseTargets(targets.Val())
	for i, value := range evidence.Val() {
		if text, ok := value.(string); ok {
			s.evidence[names[i]] = text
		}
	}
	return s, nil
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
