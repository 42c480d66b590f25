package inventory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/internal/sweep"
)

// Report is what was found.
type Report struct {
	Looked int64   `json:"looked_at"` // names that SCAN returned; one may come twice
	Keys   int64   `json:"keys"`      // in the databases, 0 if not known
	Whole  bool    `json:"whole"`     // all names were looked at
	Sample float64 `json:"sample"`    // the share of the keys that were asked about
	// Refused is how many keys the user may not read.
	Refused int64   `json:"refused"`
	Shapes  []Shape `json:"shapes"`  // the most keys first
	Biggest []Key   `json:"biggest"` // the biggest first
	// Elsewhere are keys in databases that were not looked at.
	Elsewhere map[int]int64 `json:"other_databases,omitempty"`
	// Unknown is what could not be found out, and why.
	Unknown []string `json:"unknown"`
}

// Shape is what is known of the keys of one template.
type Shape struct {
	Template string `json:"template"` // "": the empty name, which no template has
	Keys     int64  `json:"keys"`
	// Types, and what follows it, are of the keys that were asked about.
	Described int64            `json:"described"`
	Refused   int64            `json:"refused,omitempty"`
	Types     map[string]int64 `json:"types"`
	// Bytes is what all keys of the shape take, and BytesError how far that may be off because it is of a sample (in 95 of 100
	// cases; 0: it is none). Beside it, the server knows big values by five of their elements.
	Bytes      int64 `json:"bytes"`
	BytesError int64 `json:"bytes_error"`
	Largest    int64 `json:"largest_bytes"`
	Sized      bool  `json:"sized"` // the server tells sizes
	// Forever is how many keys have no time to live.
	Forever int64   `json:"no_ttl"`
	TTL     *Spread `json:"ttl_ms,omitempty"`
	// Lives are the keys with a time to live, counted between the borders of [Lives]; those without keys are left out.
	Lives   []Life    `json:"ttl_buckets,omitempty"`
	Idle    *Spread   `json:"idle_seconds,omitempty"`
	Cover   []Covered `json:"covered_by,omitempty"` // the most keys first; nothing without a plan
	Example string    `json:"-"`                    // the beginning of one name
}

// Spread is how values are spread; the median is right within a fifth.
type Spread struct {
	Keys   int64 `json:"keys"`
	Min    int64 `json:"min"`
	Median int64 `json:"median"`
	Max    int64 `json:"max"`
}

// Life is how many keys have a time to live up to so many seconds, and more than the border below.
type Life struct {
	UpTo int64 `json:"up_to_seconds,omitempty"` // 0: no border
	Keys int64 `json:"keys"`
}

// Covered is how many keys somebody has.
type Covered struct {
	Cover
	Keys int64 `json:"keys"`
}

// Key is one of the biggest keys.
type Key struct {
	Database int    `json:"database"`
	Name     string `json:"-"` // an identifier: for the operator's eyes only
	Template string `json:"template"`
	sweep.Weight
	// Stall is how long a copy of it would stall the server, about; see [sweep.StallError].
	Stall float64 `json:"copy_stall_seconds"`
}

// ranking keeps the biggest keys.
type ranking struct {
	most int
	keys []Key // the biggest first
}

func bigger(a, b Key) int {
	return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(b.Elements, a.Elements), cmp.Compare(a.Database, b.Database), cmp.Compare(a.Name, b.Name))
}

func (r *ranking) add(k Key) {
	if r.most == 0 || len(r.keys) == r.most && bigger(k, r.keys[r.most-1]) >= 0 {
		return
	}
	if slices.ContainsFunc(r.keys, func(o Key) bool { return o.Database == k.Database && o.Name == k.Name }) {
		return // SCAN gave it twice
	}
	at, _ := slices.BinarySearchFunc(r.keys, k, bigger)
	k.Name = strings.Clone(k.Name)
	if r.keys = slices.Insert(r.keys, at, k); len(r.keys) > r.most {
		r.keys = r.keys[:r.most]
	}
}

// conclude makes the report of the sums.
func (w *walk) conclude() {
	r := &w.report
	r.Shapes = []Shape{}
	var templates []*keyname.Template
	for _, s := range w.tree.Shapes(w.Shapes, w.Words) {
		r.Shapes = append(r.Shapes, shapeOf(s.Template, &s.Sum))
	}
	slices.SortStableFunc(r.Shapes, func(a, b Shape) int { return cmp.Compare(b.Keys, a.Keys) })
	for _, s := range r.Shapes {
		// A template that shape proposes is one; without it a key is only shown without its shape.
		t, _ := keyname.Parse(s.Template, "env")
		templates = append(templates, t)
	}
	r.Biggest = w.biggest.keys
	for i := range r.Biggest {
		k := &r.Biggest[i]
		k.Stall = k.CopyStall().Seconds()
		for j, t := range templates {
			if t != nil && t.Match([]byte(k.Name)) {
				k.Template = r.Shapes[j].Template
			}
		}
	}
	if r.Biggest == nil {
		r.Biggest = []Key{}
	}
	if r.Sample < 1 && len(r.Biggest) > 0 {
		w.unknown("whether there are bigger keys is not known: only a sample was asked about")
	}
	if r.Refused > 0 {
		w.unknown(fmt.Sprintf("%d keys were counted by their names alone: the user may not read them", r.Refused))
	}
}

func shapeOf(template string, s *sums) Shape {
	out := Shape{
		Template: template, Keys: s.names, Described: s.described, Refused: s.refused, Types: s.types, Largest: s.largest,
		Sized: s.bytes.n > 0, Forever: s.forever, TTL: spreadOf(&s.ttl), Lives: livesOf(&s.lives), Idle: spreadOf(&s.idle), Example: s.example,
	}
	if out.Types == nil {
		out.Types = map[string]int64{}
	}
	out.Bytes, out.BytesError = s.bytes.total(s.names)
	for c, n := range s.cover {
		out.Cover = append(out.Cover, Covered{c, n})
	}
	slices.SortFunc(out.Cover, func(a, b Covered) int {
		return cmp.Or(cmp.Compare(b.Keys, a.Keys), cmp.Compare(a.String(), b.String()))
	})
	return out
}

func spreadOf(s *spread) *Spread {
	if s.n == 0 {
		return nil
	}
	return &Spread{Keys: s.n, Min: s.min, Median: s.median(), Max: s.max}
}

// Covers returns how many keys each has, over all shapes.
func (r *Report) Covers() map[Cover]int64 {
	out := make(map[Cover]int64)
	for _, s := range r.Shapes {
		for _, c := range s.Cover {
			out[c.Cover] += c.Keys
		}
	}
	return out
}

// aboutServer reads INFO for what a walk over some databases does not see.
func (w *walk) aboutServer(ctx context.Context) error {
	text, err := w.Client(w.Databases[0]).Info(ctx).Result()
	if code(err) != "" {
		w.unknown("whether there are keys in other databases is not known: the user may not run INFO, or the server has none")
		return nil
	}
	if err != nil {
		return &ServerError{Command: "INFO", Err: err}
	}
	elsewhere := make(map[int]int64)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "cluster_enabled" && value == "1" {
			w.unknown("what the other nodes of this cluster hold is not known: an inventory looks at one server")
		}
		n, ok := strings.CutPrefix(name, "db")
		db, err := strconv.Atoi(n)
		if !ok || err != nil || slices.Contains(w.Databases, db) {
			continue
		}
		keys, _, _ := strings.Cut(strings.TrimPrefix(value, "keys="), ",")
		if elsewhere[db], err = strconv.ParseInt(keys, 10, 64); err != nil {
			delete(elsewhere, db)
		}
	}
	if len(elsewhere) > 0 {
		w.report.Elsewhere = maps.Clone(elsewhere)
	}
	return nil
}

func livesOf(l *lives) (out []Life) {
	for i, n := range l {
		life := Life{Keys: n}
		if i < len(Lives) {
			life.UpTo = int64(Lives[i] / time.Second)
		}
		if n > 0 {
			out = append(out, life)
		}
	}
	return out
}
