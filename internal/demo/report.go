package demo

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/classwaves/rekey/phase"
)

// Report is the result of a demo. Its JSON is a contract: names may be added to it by a major
// version only.
type Report struct {
	Ops       int64         `json:"ops"` // commands of the application
	Lost      int64         `json:"lost"`
	Stale     int64         `json:"stale"`
	Revived   int64         `json:"revived"`
	Fallbacks int64         `json:"fallbacks"`
	KeysMoved int64         `json:"keys_moved"` // copied or renamed by sweeps, there and back
	Strategy  string        `json:"strategy"`   // mirror, move, or naive
	Seconds   float64       `json:"seconds"`
	Phases    []PhaseReport `json:"phases"` // in the order of the way
	Seed      uint64        `json:"seed"`

	// Violations are the first few of each fault.
	Violations []Violation `json:"-"`
}

// PhaseReport is what instances did in one phase.
type PhaseReport struct {
	Phase string  `json:"phase"`
	Ops   int64   `json:"ops"`
	P50   float64 `json:"p50_us"` // of a round trip: one command, a pipeline or a transaction
	P99   float64 `json:"p99_us"`
}

// Violated reports whether anything was lost, stale or revived.
func (r *Report) Violated() bool { return r.Lost+r.Stale+r.Revived > 0 }

// reportOrder is the order of the phases in a report. The move strategy's stand after the mirror's.
var reportOrder = []phase.Phase{
	phase.Legacy, phase.Guard, phase.Dual, phase.Settled, phase.Drain, phase.Sealed, phase.Hold, phase.Move, phase.Prefixed,
}

func (d *demo) report() Report {
	r := Report{
		Ops: d.counts.ops.Load(), Fallbacks: d.fallbacks(phase.Mirror, phase.Relocate), KeysMoved: d.moved,
		Lost: d.counts.faults[lost].Load(), Stale: d.counts.faults[stale].Load(), Revived: d.counts.faults[revived].Load(),
		Strategy: d.strategy(), Seconds: math.Round(d.since().Seconds()*1000) / 1000, Seed: d.Seed,
		Phases: []PhaseReport{},
	}
	for _, p := range reportOrder {
		var all histogram
		var ops int64
		for _, s := range slices.Concat(d.workers, d.checkers) {
			all.merge(&s.latency[p])
			ops += s.ops[p]
		}
		if ops > 0 {
			r.Phases = append(r.Phases, PhaseReport{p.String(), ops, micros(all.quantile(0.5)), micros(all.quantile(0.99))})
		}
	}
	for _, v := range d.counts.violations {
		r.Violations = append(r.Violations, v...)
	}
	return r
}

func micros(d time.Duration) float64 { return math.Round(float64(d)/100) / 10 }

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n  %-10s %12s %10s %10s   %s\n", "phase", "operations", "p50", "p99", "beside legacy")
	for _, p := range r.Phases {
		fmt.Fprintf(&b, "  %-10s %12s %10s %10s   %s\n", p.Phase, thousands(p.Ops), shortTime(p.P50), shortTime(p.P99), r.beside(p))
	}
	if r.Strategy == phase.Mirror.String() {
		b.WriteString("  (hold and move: the rate limiter's keys, which are moved while the others are mirrored)\n")
	}
	fmt.Fprintf(&b, "\n  %s operations in %.1f s · %s fallbacks · %s keys moved by sweeps · seed %d\n",
		thousands(r.Ops), r.Seconds, thousands(r.Fallbacks), thousands(r.KeysMoved), r.Seed)
	fmt.Fprintf(&b, "  lost %s · stale %s · revived %s\n", thousands(r.Lost), thousands(r.Stale), thousands(r.Revived))
	if r.Violated() {
		b.WriteString("\n  Among them:\n")
		for _, v := range r.examples() {
			fmt.Fprintf(&b, "    %s\n", v)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// examplesPerFault is how many violations a person is shown of each fault.
const examplesPerFault = 3

// examples are a few violations of each fault. Those come first that need no explanation: a value
// that was read, of a key with one user at a time.
func (r *Report) examples() []Violation {
	plain := func(v Violation) bool {
		return (v.Command == "GET" || v.Command == "SMEMBERS" || v.Command == "INCR") && v.Rule != "tag_versions"
	}
	sorted := slices.Clone(r.Violations)
	slices.SortStableFunc(sorted, func(a, b Violation) int {
		switch {
		case plain(a) == plain(b):
			return 0
		case plain(a):
			return -1
		default:
			return 1
		}
	})
	var out []Violation
	for _, f := range []fault{lost, stale, revived} {
		left := examplesPerFault
		for _, v := range sorted {
			if v.Fault == f.String() && left > 0 {
				out = append(out, v)
				left--
			}
		}
	}
	return out
}

// beside compares a phase with legacy, in the same run.
func (r *Report) beside(p PhaseReport) string {
	if len(r.Phases) == 0 || r.Phases[0].Phase != phase.Legacy.String() || p.Phase == r.Phases[0].Phase || r.Phases[0].P50 == 0 {
		return ""
	}
	return fmt.Sprintf("p50 ×%.2f  p99 ×%.2f", p.P50/r.Phases[0].P50, p.P99/r.Phases[0].P99)
}

func shortTime(us float64) string {
	if us >= 10_000 {
		return fmt.Sprintf("%.1f ms", us/1000)
	}
	return fmt.Sprintf("%.0f µs", us)
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}
