package load

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// Report is what was played and what came of it.
type Report struct {
	Seed    uint64  `json:"seed"`
	Seconds float64 `json:"seconds"`
	Ops     uint64  `json:"ops"`
	// Operations by kind, in the order of their names.
	Operations []Operation `json:"operations"`
	// Violations by kind; a kind without any is missing.
	Violations map[Kind]uint64 `json:"violations"`
	Examples   []Example       `json:"examples,omitempty"`
	// Unavailable counts the answers 503, Broken those that did not come, where faults were injected;
	// Reordered the versions that were heard a moment late, Resyncs the times that a server said that it
	// may have missed events, Lagging reads behind what was written, where faults were injected.
	Unavailable uint64 `json:"unavailable"`
	Broken      uint64 `json:"broken"`
	Reordered   uint64 `json:"reordered"`
	Resyncs     uint64 `json:"resyncs"`
	Lagging     uint64 `json:"lagging"`
	// Logins, Classes and Joins are how many there were, Spent the limits that were spent to the end.
	Logins  uint64 `json:"logins"`
	Classes uint64 `json:"classes"`
	Joins   uint64 `json:"joins"`
	Spent   uint64 `json:"spent"`
}

// Operation is all operations of one kind.
type Operation struct {
	Kind  string `json:"kind"`
	Count uint64 `json:"count"`
	P50us int64  `json:"p50_us"`
	P99us int64  `json:"p99_us"`
}

// Violated is how many violations there are.
func (r *Report) Violated() (n uint64) {
	for _, v := range r.Violations {
		n += v
	}
	return n
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	var err error
	line := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, format+"\n", args...)
		}
	}
	line("%-22s %10s %10s %10s", "operation", "count", "p50", "p99")
	for _, o := range r.Operations {
		line("%-22s %10d %10s %10s", o.Kind, o.Count, shown(o.P50us), shown(o.P99us))
	}
	line("")
	line("%d operations in %.1f s: %d logins, %d class sessions, %d joins, %d limits spent; seed %d",
		r.Ops, r.Seconds, r.Logins, r.Classes, r.Joins, r.Spent, r.Seed)
	line("unavailable %d, broken off %d, lagging %d, reordered %d, resyncs %d", r.Unavailable, r.Broken, r.Lagging, r.Reordered, r.Resyncs)
	if r.Violated() == 0 {
		line("no violations")
		return err
	}
	line("%d violations:", r.Violated())
	for _, kind := range slices.Sorted(maps.Keys(r.Violations)) {
		line("  %-16s %d", kind, r.Violations[kind])
		for _, e := range r.Examples {
			if e.Kind == kind {
				line("    at %s: %s", e.At, e.What)
			}
		}
	}
	return err
}

func shown(us int64) string {
	return (time.Duration(us) * time.Microsecond).Round(10 * time.Microsecond).String()
}

// record is the report while it is made.
type record struct {
	mu         sync.Mutex
	began      time.Time
	ops        map[string]*histogram
	violations map[Kind]uint64
	examples   []Example
	counts     Report // its plain counts
}

func newRecord() *record {
	return &record{began: time.Now(), ops: make(map[string]*histogram), violations: make(map[Kind]uint64)}
}

// done counts an operation.
func (r *record) done(op string, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.ops[op]
	if h == nil {
		h = new(histogram)
		r.ops[op] = h
	}
	h.add(took)
}

// violate counts a violation. What says is in words only: no identifier.
func (r *record) violate(kind Kind, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := time.Since(r.began)
	if r.violations[kind]++; r.violations[kind] <= examplesPerKind {
		r.examples = append(r.examples, Example{kind, at.Round(time.Millisecond).String(), fmt.Sprintf(format, args...)})
	}
}

// begin dates the play: what was made before it is not its time.
func (r *record) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began = time.Now()
}

// count changes the plain counts.
func (r *record) count(change func(*Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.counts)
}

// report is what there is until now.
func (r *record) report(seed uint64) Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.counts
	out.Seed, out.Seconds = seed, time.Since(r.began).Seconds()
	out.Violations, out.Examples = maps.Clone(r.violations), slices.Clone(r.examples)
	for kind, h := range r.ops {
		out.Ops += h.count
		out.Operations = append(out.Operations, Operation{kind, h.count, h.quantile(0.5).Microseconds(), h.quantile(0.99).Microseconds()})
	}
	slices.SortFunc(out.Operations, func(a, b Operation) int { return cmp.Compare(a.Kind, b.Kind) })
	return out
}
