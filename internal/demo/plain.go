package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Plain writes a line for each thing that has happened: for pipes, logs and terminals that are none.
type Plain struct {
	w     io.Writer
	setup Setup
	mixed time.Duration // since when the fleet is in two phases
}

// NewPlain returns an observer that writes to w. What cannot be written is dropped.
func NewPlain(w io.Writer) *Plain { return &Plain{w: w} }

func (p *Plain) printf(format string, args ...any) { _, _ = fmt.Fprintf(p.w, format, args...) }

func (p *Plain) line(at time.Duration, what, text string) {
	p.printf("  %5.1f s  %-9s  %s\n", at.Seconds(), what, text)
}

// Started implements [Observer].
func (p *Plain) Started(s Setup) {
	p.setup = s
	p.printf("%s\n\n", s.headline())
	p.printf("  %s\n\n", s.wayText())
	p.line(0, s.Phases[0], "everybody reads and writes the legacy names")
}

// headline is the first line for people.
func (s *Setup) headline() string {
	how := "strategy " + s.Strategy
	if s.Strategy == "naive" {
		how = "without rekey: the plain flag flip"
	}
	return fmt.Sprintf("rekey demo · %s\n\n  %s keys of %d kinds · %d instances (%s) · server %s · seed %d",
		how, thousands(int64(s.Keys)), s.Kinds, len(s.Instances), strings.Join(unique(s.Libraries), ", "), s.Server, s.Seed)
}

// wayText is the walk in a line.
func (s *Setup) wayText() string {
	back := "and back"
	if s.Strategy == "naive" {
		back = "and, as its rollback says, back to " + s.Phases[1]
	}
	return fmt.Sprintf("%s, %s, in about %.0f s", strings.Join(s.Phases, " → "), back, s.Seconds)
}

func unique(words []string) []string {
	var out []string
	for _, w := range words {
		if len(out) < 2 && (len(out) == 0 || out[0] != w) {
			out = append(out, w)
		}
	}
	return out
}

// Stepped implements [Observer].
func (p *Plain) Stepped(s Step) {
	if s.Instance == 0 {
		p.mixed = s.At
	}
	if s.Last {
		p.line(s.At, s.To, fmt.Sprintf("all %d instances, one after the other; some in %s, some in %s for %.1f s",
			len(p.setup.Instances), s.From, s.To, (s.At-p.mixed).Seconds()))
	}
}

// Swept implements [Observer].
func (p *Plain) Swept(s Sweep) {
	if s.Done {
		p.line(s.At, s.Kind, s.text())
	}
}

// text says what a sweep did and what holds now.
func (s *Sweep) text() string {
	did := map[string]string{"purge": "removed", "cleanup": "removed", "backfill": "copied", "reverse": "copied back", "relocate": "moved", "verify": "mended"}
	done := ""
	if s.Changed > 0 {
		done = fmt.Sprintf(", %s %s", thousands(s.Changed), did[s.Kind])
	}
	rules := plural(int64(len(s.Rules)), "rule")
	if len(s.Rules) == 1 {
		rules = "rule " + s.Rules[0]
	}
	return fmt.Sprintf("%s, %s seen%s: %s", rules, plural(s.Matched, "key"), done, s.Proves)
}

func plural(n int64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return thousands(n) + " " + word + "s"
}

// Checked implements [Observer].
func (p *Plain) Checked(c Check) { p.line(c.At, "check", c.text()) }

func (c *Check) text() string {
	found := "all as they must be"
	if c.Wrong > 0 {
		found = thousands(c.Wrong) + " wrong"
	}
	return fmt.Sprintf("%s read and compared %s: %s", plural(int64(c.Keys), "key"), c.Where, found)
}

// Ticked implements [Observer].
func (p *Plain) Ticked(Tick) {}

var _ Observer = (*Plain)(nil)
