package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// walkPage is SCAN's COUNT, bigKept how many of a rule's biggest keys are looked at closely.
const (
	walkPage = 1000
	bigKept  = 5
)

// nativeTypes are those that every server can copy. A module's type can be copied only if the
// module has a function for it, which nobody can ask.
var nativeTypes = []string{"string", "list", "set", "zset", "hash", "stream"}

// ruleReport is what one rule has in the databases of the plan. Counts are of what was looked at.
type ruleReport struct {
	Rule     string           `json:"rule"`
	Strategy string           `json:"strategy"`
	Legacy   int64            `json:"legacy_keys"`
	Target   int64            `json:"target_keys"`
	Types    map[string]int64 `json:"types"`
	// Bytes is what the legacy keys take, and Largest the biggest of them.
	Bytes   int64 `json:"legacy_bytes"`
	Largest int64 `json:"largest_bytes"`
	// Copies is what second copies of all will take, projected from what was looked at. Nothing with strategy move.
	Copies sweep.Need `json:"copies"`
	// Big are keys whose copy would stall the server, the biggest first; at most five.
	Big []bigReport `json:"big_keys,omitempty"`

	sample  sweep.Sampled // of the database at work
	biggest []bigKey      // the biggest first
}

// bigReport is a key that is big, without its name.
type bigReport struct {
	Database int `json:"database"`
	sweep.Weight
	Stall float64 `json:"copy_stall_seconds"`
}

// bigKey is one that may be.
type bigKey struct {
	database int
	name     string
	weight   sweep.Weight
}

// weighed keeps the biggest keys.
func (r *ruleReport) weighed(k bigKey) {
	r.Bytes += k.weight.Bytes
	r.Largest = max(r.Largest, k.weight.Bytes)
	at, _ := slices.BinarySearchFunc(r.biggest, k, func(a, b bigKey) int { return cmp.Compare(b.weight.Bytes, a.weight.Bytes) })
	if at == bigKept || slices.ContainsFunc(r.biggest, func(o bigKey) bool { return o.name == k.name && o.database == k.database }) {
		return
	}
	if r.biggest = slices.Insert(r.biggest, at, k); len(r.biggest) > bigKept {
		r.biggest = r.biggest[:bigKept]
	}
}

// keysReport is one walk over the databases of the plan.
type keysReport struct {
	Looked int64        `json:"looked_at"` // names that SCAN returned
	Keys   int64        `json:"keys"`      // names in the databases
	Whole  bool         `json:"whole"`     // all were looked at
	Rules  []ruleReport `json:"rules"`
	// Foreign are other environments whose names are in these databases, by what was found of them.
	Foreign map[string]*foreignReport `json:"other_environments"`
	// Unsized: the server does not say what a key takes.
	Unsized bool `json:"unsized,omitempty"`
}

// foreignReport is what was found of another environment.
type foreignReport struct {
	Control int64 `json:"control_keys"`
	Target  int64 `json:"target_keys"`
}

// scale is by how much the counts of a part are to be multiplied for the whole.
func (k *keysReport) scale() float64 {
	if k.Whole || k.Looked == 0 {
		return 1
	}
	return max(1, float64(k.Keys)/float64(k.Looked))
}

// keysWalk looks at names without changing anything.
type keysWalk struct {
	plan    *plan.Plan
	foreign *sweep.Foreign
	limit   int64 // names to look at, 0 all
	report  keysReport
}

// walkKeys counts the keys of each rule: with SCAN, at most limit names, 0 for all.
func walkKeys(ctx context.Context, t *target, p *plan.Plan, limit int64) (*keysReport, error) {
	w := &keysWalk{plan: p, foreign: sweep.ForeignTo(p), limit: limit}
	w.report.Whole = true
	w.report.Foreign = make(map[string]*foreignReport)
	for _, r := range p.Rules {
		w.report.Rules = append(w.report.Rules, ruleReport{Rule: r.Name, Strategy: r.Strategy.String(), Types: make(map[string]int64)})
	}
	for i, db := range p.Databases {
		// Each database gets its share of what is left.
		share := int64(0)
		if limit > 0 {
			share = max(walkPage, (limit-w.report.Looked)/int64(len(p.Databases)-i))
		}
		if err := w.database(ctx, t.client(db), db, share); err != nil {
			return nil, fmt.Errorf("database %d: %w", db, err)
		}
	}
	for i := range w.report.Rules {
		if err := w.report.Rules[i].lookClosely(ctx, t); err != nil {
			return nil, err
		}
	}
	return &w.report, nil
}

func (w *keysWalk) database(ctx context.Context, c *redis.Client, db int, share int64) error {
	size, err := c.DBSize(ctx).Result()
	if err != nil {
		return fmt.Errorf("DBSIZE: %w", err)
	}
	w.report.Keys += size
	cursor, looked := uint64(0), int64(0)
	for {
		names, next, err := c.Scan(ctx, cursor, "", walkPage).Result()
		if err != nil {
			return fmt.Errorf("SCAN: %w", err)
		}
		looked += int64(len(names))
		if err := w.page(ctx, c, db, names); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			break
		}
		if share > 0 && looked >= share {
			w.report.Whole = false
			break
		}
	}
	w.report.Looked += looked
	for i := range w.report.Rules {
		r := &w.report.Rules[i]
		r.sample.Visited = looked
		r.Copies = r.Copies.Plus(r.sample.Need(size, cursor == 0))
		r.sample = sweep.Sampled{}
	}
	return nil
}

// lookClosely finds out which of the rule's biggest keys would stall the server.
func (r *ruleReport) lookClosely(ctx context.Context, t *target) error {
	for _, k := range r.biggest {
		word, ok := sweep.LengthCommand(k.weight.Type)
		if k.weight.CopyStall() < sweep.DefaultBigStall/sweep.StallError {
			return nil
		}
		if ok {
			n, err := t.client(k.database).Do(ctx, word, k.name).Int64()
			if err != nil && !errors.As(err, new(redis.Error)) {
				return fmt.Errorf("%s: %w", word, err)
			}
			k.weight.Elements = n // 0 where it is another type by now, or the user may not
		}
		if stall := k.weight.CopyStall(); stall >= sweep.DefaultBigStall {
			r.Big = append(r.Big, bigReport{Database: k.database, Weight: k.weight, Stall: stall.Seconds()})
		}
	}
	return nil
}

// page counts one page of names, and asks for the types and sizes of those that match.
func (w *keysWalk) page(ctx context.Context, c *redis.Client, db int, names []string) error {
	type asked struct {
		name string
		rule int
		kind *redis.StatusCmd
		size *redis.IntCmd
	}
	var all []asked
	pipe := c.Pipeline()
	for _, name := range names {
		rule, isTarget := w.plan.Names().Find([]byte(name))
		switch {
		case rule < 0:
			w.stranger([]byte(name))
			continue
		case isTarget:
			w.report.Rules[rule].Target++
			continue
		}
		w.report.Rules[rule].Legacy++
		q := asked{name: name, rule: rule, kind: pipe.Type(ctx, name)}
		if !w.report.Unsized {
			q.size = pipe.MemoryUsage(ctx, name)
		}
		all = append(all, q)
	}
	if len(all) == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.As(err, new(redis.Error)) {
		return fmt.Errorf("TYPE: %w", err)
	}
	for _, q := range all {
		r := &w.report.Rules[q.rule]
		kind, err := q.kind.Result()
		if err != nil {
			return fmt.Errorf("TYPE: %w", err)
		}
		if kind != "none" { // it was deleted or has expired since
			r.Types[kind]++
		}
		if q.size == nil {
			continue
		}
		switch size, err := q.size.Result(); {
		case err == nil:
			r.weighed(bigKey{db, q.name, sweep.Weight{Type: kind, Bytes: size}})
			if r.Strategy == phase.Mirror.String() {
				target, _ := w.plan.Names().Pair(q.rule).AppendTarget(nil, []byte(q.name))
				r.sample.Add(size + int64(len(target)-len(q.name)))
			}
		case !errors.Is(err, redis.Nil):
			w.report.Unsized = true // not allowed, or an embedded server
		}
	}
	return nil
}

// stranger looks whether a name that belongs to no rule is another environment's.
func (w *keysWalk) stranger(name []byte) {
	env, control, ok := w.foreign.Environment(name)
	if !ok {
		return
	}
	found := w.report.Foreign[env]
	if found == nil {
		found = new(foreignReport)
		w.report.Foreign[env] = found
	}
	if control {
		found.Control++
	} else {
		found.Target++
	}
}

// uncopyable are the types of a rule that may have no copy.
func (r *ruleReport) uncopyable() []string {
	if r.Strategy != phase.Mirror.String() {
		return nil
	}
	var out []string
	for _, kind := range slices.Sorted(maps.Keys(r.Types)) {
		if !slices.Contains(nativeTypes, kind) {
			out = append(out, kind)
		}
	}
	return out
}
