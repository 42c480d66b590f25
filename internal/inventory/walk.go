package inventory

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/shape"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/plan"
)

// Defaults for what [Options] leaves zero.
const (
	DefaultPage   = 500
	DefaultShapes = 100
)

// ErrOptions is an inventory that was asked for in a way that makes no sense.
var ErrOptions = errors.New("rekey: inventory options")

// Options say what is looked at, and how closely.
type Options struct {
	// Client gives a client of a database. It is not closed.
	Client    func(database int) *redis.Client
	Databases []int
	// Plan tells which rule has a name; nil: no plan.
	Plan *plan.Plan
	// Match is a pattern as SCAN takes it; "": all names.
	Match string
	// Limit is how many names are looked at, about; 0: all.
	Limit int64
	// Sample is the share of the keys that are asked about; all names are counted. 0: 1, all of them.
	Sample float64
	// Rate is how many names are looked at in a second; 0: as many as the server gives.
	Rate int
	// Biggest is how many of the biggest keys are named; 0: none.
	Biggest int
	// Shapes is how many shapes are told apart at most; 0: [DefaultShapes].
	Shapes int
	// Words is how many words that go on alike stay literals at one place; 0: [shape.DefaultWords].
	Words int
	// Page is SCAN's COUNT; 0: [DefaultPage].
	Page int
	// OnProgress is called after every page; nil: not called.
	OnProgress func(Progress)
}

// Progress is how far the walk has come.
type Progress struct {
	Looked int64 // names
	Keys   int64 // in the databases, 0 if not known
}

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Client == nil || len(o.Databases) == 0:
		return o, fmt.Errorf("%w: no client or no database", ErrOptions)
	case !(o.Sample >= 0 && o.Sample <= 1): // NaN is none either
		return o, fmt.Errorf("%w: a sample is a share from 0 to 1", ErrOptions)
	case o.Limit < 0 || o.Rate < 0 || o.Biggest < 0 || o.Shapes < 0 || o.Words < 0 || o.Page < 0:
		return o, fmt.Errorf("%w: a number is less than 0", ErrOptions)
	}
	if o.Sample == 0 {
		o.Sample = 1
	}
	if o.Shapes == 0 {
		o.Shapes = DefaultShapes
	}
	if o.Page == 0 {
		o.Page = DefaultPage
	}
	return o, nil
}

// walk is an inventory under way.
type walk struct {
	Options
	judge   *judge
	tree    *shape.Tree[sums]
	biggest ranking
	report  Report
	began   time.Time
}

// Take takes the inventory.
func Take(ctx context.Context, o Options) (*Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	w := &walk{Options: o, judge: newJudge(o.Plan), tree: shape.NewTree(merge), biggest: ranking{most: o.Biggest}, began: time.Now()}
	w.report.Whole, w.report.Sample = true, o.Sample
	w.report.Unknown = []string{}
	if err := w.aboutServer(ctx); err != nil {
		return nil, err
	}
	for i, db := range o.Databases {
		share := int64(0)
		if o.Limit > 0 {
			share = max(1, (o.Limit-w.report.Looked)/int64(len(o.Databases)-i))
		}
		if err := w.database(ctx, db, share); err != nil {
			return nil, err
		}
	}
	w.conclude()
	return &w.report, nil
}

// unknown keeps what could not be found out, once.
func (w *walk) unknown(text string) {
	if !slices.Contains(w.report.Unknown, text) {
		w.report.Unknown = append(w.report.Unknown, text)
	}
}

func (w *walk) database(ctx context.Context, db int, share int64) (err error) {
	a := newAsker(ctx, w.Client(db), w.unknown)
	defer a.close(context.WithoutCancel(ctx))
	size, err := a.conn.DBSize(ctx).Result()
	switch {
	case code(err) != "":
		w.unknown("how many keys there are is not known: the user may not run DBSIZE")
	case err != nil:
		return &ServerError{Command: "DBSIZE", Err: err}
	}
	w.report.Keys += size
	looked := int64(0)
	var names []string // of the page at work, whose questions go out with the SCAN for the next one
	for cursor, more := uint64(0), true; more || len(names) > 0; {
		var scan func(redis.Pipeliner) *redis.ScanCmd
		if more {
			scan = func(pipe redis.Pipeliner) *redis.ScanCmd { return pipe.Scan(ctx, cursor, w.Match, int64(w.Page)) }
		}
		asked, rest := w.pick(names)
		answers, next, err := a.describe(ctx, asked, scan)
		if err != nil {
			return err
		}
		if err := w.weighBlind(ctx, a, asked, answers); err != nil {
			return err
		}
		for i, name := range asked {
			w.count(db, name, &answers[i])
		}
		for _, name := range rest {
			w.count(db, name, nil)
		}
		w.report.Looked += int64(len(names))
		looked += int64(len(names))
		if w.OnProgress != nil {
			w.OnProgress(Progress{Looked: w.report.Looked, Keys: w.report.Keys})
		}
		names, cursor = next.names, next.cursor
		more = more && cursor != 0
		if more && share > 0 && looked+int64(len(names)) >= share {
			more, w.report.Whole = false, false
		}
		if err := w.pace(ctx); err != nil {
			return err
		}
	}
	return w.countBiggest(ctx, a, db)
}

// pace waits until the next page is due.
func (w *walk) pace(ctx context.Context) error {
	if w.Rate == 0 {
		return ctx.Err()
	}
	due := time.Duration(float64(w.report.Looked) / float64(w.Rate) * float64(time.Second))
	timer := time.NewTimer(time.Until(w.began.Add(due)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// pick is the sample: each key by its own chance.
func (w *walk) pick(names []string) (asked, rest []string) {
	if w.Sample == 1 {
		return names, nil
	}
	for _, name := range names {
		if rand.Float64() < w.Sample {
			asked = append(asked, name)
		} else {
			rest = append(rest, name)
		}
	}
	return asked, rest
}

// weighBlind finds out how big keys are where the server does not tell: by their elements. It does not where that would
// reset idle times.
func (w *walk) weighBlind(ctx context.Context, a *asker, names []string, answers []answer) error {
	if !a.closed[askBytes] || a.closed[askType] || w.Biggest == 0 {
		return nil
	}
	if !a.untouched && !a.closed[askIdle] {
		w.unknown("the biggest keys are not known: counting their elements would reset all idle times (the server has no CLIENT NO-TOUCH, or the user no right to it)")
		return nil
	}
	lengths, err := a.lengths(ctx, names, func(i int) (string, bool) {
		if answers[i].kind == "string" {
			return "STRLEN", true
		}
		return sweep.LengthCommand(answers[i].kind)
	})
	if err != nil {
		return err
	}
	for i := range answers {
		answers[i].elements = lengths[i]
	}
	return nil
}

// exampleBytes is how much of a shape's example is kept.
const exampleBytes = 100

// count adds a key to the sums of its shape.
func (w *walk) count(db int, name string, a *answer) {
	s := w.tree.Add([]byte(name))
	s.names++
	if s.example == "" {
		s.example = strings.Clone(name[:min(len(name), exampleBytes)])
	}
	if w.judge != nil {
		bump(&s.cover, w.judge.cover([]byte(name)))
	}
	if a == nil {
		return
	}
	switch a.verdict {
	case gone:
		return
	case refused:
		s.refused++
		w.report.Refused++
		return
	}
	s.described++
	if a.kind != "" {
		bump(&s.types, a.kind)
	}
	switch {
	case a.ttl == -1:
		s.forever++
	case a.ttl >= 0:
		s.ttl.add(a.ttl)
		s.lives.add(a.ttl)
	}
	if a.idle >= 0 {
		s.idle.add(a.idle)
	}
	if a.size >= 0 {
		s.bytes.add(a.size)
		s.largest = max(s.largest, a.size)
	}
	if a.size > 0 || a.elements > 0 {
		weight := sweep.Weight{Type: a.kind, Bytes: max(0, a.size), Elements: a.elements}
		if a.kind == "string" && a.size < 0 {
			weight.Bytes, weight.Elements = a.elements, 0
		}
		w.biggest.add(Key{Database: db, Name: name, Weight: weight})
	}
}

// countedFrom is the size from which on the elements of a big key are worth its idle time.
const countedFrom = 64 << 10

// countBiggest asks for the elements of the biggest keys of a database, which are a few.
func (w *walk) countBiggest(ctx context.Context, a *asker, db int) error {
	var keys []*Key
	var names []string
	for i := range w.biggest.keys {
		k := &w.biggest.keys[i]
		if k.Database == db && k.Elements == 0 && (a.untouched || a.closed[askIdle] || k.Bytes >= countedFrom) {
			if _, ok := sweep.LengthCommand(k.Type); ok {
				keys, names = append(keys, k), append(names, k.Name)
			}
		}
	}
	lengths, err := a.lengths(ctx, names, func(i int) (string, bool) { return sweep.LengthCommand(keys[i].Type) })
	if err != nil {
		return err
	}
	for i, k := range keys {
		k.Elements = lengths[i]
	}
	if len(keys) > 0 && !a.untouched && !a.closed[askIdle] {
		w.unknown("the elements of the biggest keys were counted, which has reset their idle times: the server has no CLIENT NO-TOUCH, or the user no right to it; --biggest 0 counts none")
	}
	return nil
}
