package cli

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// line is one line of a screen, and what it is: the terminal program gives each its colour.
type line struct {
	kind lineKind
	text string
}

type lineKind uint8

const (
	plainLine lineKind = iota
	headLine           // the heads of a table
	badLine            // something is unsafe, or an instance is lost
	waitLine           // something is waited for
	goodLine
	boldLine // a step
)

// statusText is the screen of `rekey status`. At most so many instances are listed, those with
// something to say first; 0: all.
func statusText(r *statusReport, most int) []line {
	var out []line
	add := func(kind lineKind, format string, args ...any) {
		out = append(out, line{kind, fmt.Sprintf(format, args...)})
	}
	add(plainLine, "plan      %s, environment %s, %s", r.Plan, r.Environment, plural(len(r.Rules), "rule"))
	add(plainLine, "server    %s, %s %s, %s", r.Server.URL, r.Server.Flavor, orUnknown(r.Server.Version), roleText(&serverReport{Role: r.Server.Role, Replicas: r.Server.Replicas}))
	add(plainLine, "fleet     %s", fleetText(r))
	add(plainLine, "control   %s", controlText(&r.Control))
	out = append(out, line{})
	out = append(out, ruleLines(r)...)
	if len(r.Instances) > 0 {
		out = append(out, line{})
		out = append(out, instanceLines(r, most)...)
	}
	if waits := waitLines(r); len(waits) > 0 {
		out = append(out, line{})
		out = append(out, waits...)
	}
	if len(r.Findings) > 0 {
		out = append(out, line{})
	}
	for _, f := range r.Findings {
		kind := waitLine
		if f.Level == levelUnsafe {
			kind = badLine
		}
		add(kind, "%-9s %s", f.Level, f.Text)
		if f.Try != "" {
			add(plainLine, "%-9s Try: %s", "", f.Try)
		}
	}
	if r.Next != "" {
		out = append(out, line{})
		add(plainLine, "Next: %s", r.Next)
	}
	return out
}

// The levels of findings.
const (
	levelWarning = "warning"
	levelUnsafe  = "unsafe"
)

func fleetText(r *statusReport) string {
	if len(r.Instances) == 0 {
		return "no instance has joined"
	}
	var words []string
	for _, state := range []string{stateLive, stateLost, stateObserver, stateUnreadable} {
		n := 0
		for i := range r.Instances {
			if r.Instances[i].State == state {
				n++
			}
		}
		switch {
		case n == 0:
		case state == stateObserver:
			words = append(words, plural(n, "observer"))
		default:
			words = append(words, fmt.Sprintf("%d %s", n, state))
		}
	}
	return plural(len(r.Instances), "instance") + ": " + strings.Join(words, ", ")
}

func controlText(c *statusControl) string {
	switch {
	case c.Owner != "":
		return fmt.Sprintf("%s walks the fleet (generation %d, for %s more unless renewed)", c.Owner, c.Generation, spanText(seconds(c.SecondsLeft)))
	case c.Generation > 0:
		return fmt.Sprintf("free; %s so far", plural(int(c.Generation), "controller"))
	}
	return "free; nobody has walked this fleet yet"
}

func ruleLines(r *statusReport) []line {
	rows := [][]string{{"rule", "strategy", "phase", ">since", ">reached", ">reads", ">fallbacks", "next"}}
	for i := range r.Rules {
		rule := &r.Rules[i]
		phase, since, next := rule.Phase, "-", cmp.Or(rule.Next, "-")
		if phase == "" {
			phase = "-"
		} else if !rule.Since.IsZero() {
			since = spanText(r.At.Sub(rule.Since))
		}
		if rule.Frozen {
			phase += " (frozen)"
		}
		reached := fmt.Sprintf("%d of %d", rule.Reached, rule.Live)
		if rule.Live == 0 {
			reached = "-"
		}
		rows = append(rows, []string{rule.Rule, rule.Strategy, phase, since, reached, thousands(rule.Reads), thousands(rule.Fallbacks), next})
	}
	var out []line
	for i, text := range columns(rows) {
		kind := plainLine
		if i == 0 {
			kind = headLine
		}
		out = append(out, line{kind, text})
	}
	return out
}

// instanceLines is a line for each instance; those with something to say come first.
func instanceLines(r *statusReport, most int) []line {
	all := slices.Clone(r.Instances)
	slices.SortFunc(all, func(a, b statusInstance) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	rest := 0
	if most > 0 && len(all) > most {
		rest = len(all) - most
		all = all[:most]
	}
	rows := [][]string{{"instance", "id", "host", ">pid", "version", ">heard of", "reached"}}
	for i := range all {
		in := &all[i]
		rows = append(rows, []string{
			cmp.Or(in.Name, "-"), shortID(in.ID), in.Host, fmt.Sprint(in.PID), cmp.Or(in.Version, "-"),
			spanText(seconds(in.RenewedSeconds)) + " ago", in.reachedText(r),
		})
	}
	var out []line
	for i, text := range columns(rows) {
		kind := plainLine
		switch {
		case i == 0:
			kind = headLine
		case all[i-1].State != stateLive:
			kind = badLine
		case all[i-1].rank() < rankQuiet:
			kind = waitLine
		}
		out = append(out, line{kind, text})
	}
	if rest > 0 {
		word := "with nothing to say"
		if len(all) > 0 && all[len(all)-1].rank() < rankQuiet {
			word = "more"
		}
		out = append(out, line{headLine, fmt.Sprintf("and %d %s; --instances 0 lists all", rest, word)})
	}
	return out
}

// rankQuiet is the rank of an instance that is where it should be.
const rankQuiet = 3

// rank is the place of an instance in the list.
func (i *statusInstance) rank() int {
	switch {
	case i.State == stateLost, i.State == stateUnreadable:
		return 0
	case i.State == stateObserver:
		return 1
	case slices.ContainsFunc(i.Rules, func(s statusReached) bool { return !s.Reached }):
		return 2
	}
	return rankQuiet
}

func (i *statusInstance) reachedText(r *statusReport) string {
	switch i.State {
	case stateUnreadable:
		return i.Note
	case stateLost:
		return "lost: its lease ran out " + spanText(seconds(i.RenewedSeconds-i.LeaseSeconds)) + " ago"
	case stateObserver:
		return "observer, obeys flags: " + i.phasesText()
	}
	reached := 0
	var behind []string
	for _, s := range i.Rules {
		if s.Reached {
			reached++
			continue
		}
		text := s.Rule
		switch {
		case s.Phase == "":
		case s.Phase == r.phaseOf(s.Rule), r.phaseOf(s.Rule) == "":
			text += " in " + s.Phase
		default:
			text += " still in " + s.Phase
		}
		if s.Why != "" {
			text += ": " + s.Why
		}
		behind = append(behind, text)
	}
	switch {
	case len(behind) > 2:
		return fmt.Sprintf("%d of %d: %s; and %d more", reached, len(i.Rules), strings.Join(behind[:2], "; "), len(behind)-2)
	case len(behind) > 0:
		return fmt.Sprintf("%d of %d: %s", reached, len(i.Rules), strings.Join(behind, "; "))
	}
	return "all"
}

// phasesText is the phases of an observer, those that are alike together.
func (i *statusInstance) phasesText() string {
	var order []string
	rules := make(map[string][]string)
	for _, s := range i.Rules {
		phase := cmp.Or(s.Phase, "unknown")
		if rules[phase] == nil {
			order = append(order, phase)
		}
		rules[phase] = append(rules[phase], s.Rule)
	}
	var out []string
	for _, phase := range order {
		if names := rules[phase]; len(names) <= 2 {
			out = append(out, strings.Join(names, ", ")+" at "+phase)
		} else {
			out = append(out, plural(len(names), "rule")+" at "+phase)
		}
	}
	return strings.Join(out, ", ")
}

// waitLines is what the next step of each rule waits for. Rules that wait for the same are one.
func waitLines(r *statusReport) []line {
	type group struct {
		rules []string
		step  string
		waits []statusWait
	}
	var groups []group
	for i := range r.Rules {
		rule := &r.Rules[i]
		if rule.Next == "" || len(rule.WaitsFor) == 0 {
			continue
		}
		step := rule.Phase + " to " + rule.Next
		at := slices.IndexFunc(groups, func(g group) bool { return g.step == step && slices.Equal(g.waits, rule.WaitsFor) })
		if at < 0 {
			groups = append(groups, group{nil, step, rule.WaitsFor})
			at = len(groups) - 1
		}
		groups[at].rules = append(groups[at].rules, rule.Rule)
	}
	var out []line
	for _, g := range groups {
		out = append(out, line{headLine, namesText(g.rules) + ", " + g.step})
		for _, w := range shortWaits(g.waits) {
			if w.Work {
				out = append(out, line{plainLine, "  first    " + w.Text})
			} else {
				out = append(out, line{waitLine, "  held up  " + w.Text})
			}
		}
	}
	return out
}

// mostAlike is how many waits of one kind are said: a thousand instances may be behind.
const mostAlike = 4

// shortWaits leaves out what there is too much of.
func shortWaits(all []statusWait) []statusWait {
	count, said := make(map[string]int), make(map[string]int)
	for _, w := range all {
		count[w.What]++
	}
	var out []statusWait
	for _, w := range all {
		said[w.What]++
		switch more := count[w.What] - mostAlike; {
		case said[w.What] <= mostAlike || more == 1:
			out = append(out, w)
		case said[w.What] == mostAlike+1:
			w.Text = fmt.Sprintf("and %d more like these", more)
			out = append(out, w)
		}
	}
	return out
}

// namesText is some rules in a line.
func namesText(rules []string) string {
	const most = 4
	if len(rules) > most {
		return plural(len(rules), "rule")
	}
	return strings.Join(rules, ", ")
}

// phaseOf is where a rule is to be.
func (r *statusReport) phaseOf(rule string) string {
	for i := range r.Rules {
		if r.Rules[i].Rule == rule {
			return r.Rules[i].Phase
		}
	}
	return ""
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// idShown is as much of an id as is needed to name an instance.
const idShown = 6

func shortID(id string) string {
	if len(id) > idShown {
		return id[:idShown]
	}
	return id
}

// spanText is a time span in its two largest units.
func spanText(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	s := int64(math.Round(d.Seconds()))
	const minute, hour, day = 60, 3600, 86400
	pair := func(big, small int64, b, c string) string {
		if s%big/small == 0 {
			return fmt.Sprintf("%d%s", s/big, b)
		}
		return fmt.Sprintf("%d%s%d%s", s/big, b, s%big/small, c)
	}
	switch {
	case s < minute:
		return fmt.Sprintf("%ds", s)
	case s < hour:
		return pair(minute, 1, "m", "s")
	case s < day:
		return pair(hour, minute, "h", "m")
	default:
		return pair(day, hour, "d", "h")
	}
}

// thousands writes a number with commas.
func thousands(n uint64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
