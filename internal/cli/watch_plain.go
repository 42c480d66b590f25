package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// watchPlain prints a line for each thing that has changed: for pipes, logs and terminals that are
// none. With --json it prints the whole status each time.
func (a *app) watchPlain(ctx context.Context, every time.Duration, look func() watchedStatus) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	said := make(map[string]string)
	for {
		now := look()
		switch {
		case ctx.Err() != nil:
			return nil // a signal is how one ends it
		case now.err != nil && len(said) == 0:
			return now.err // nothing was ever seen
		case now.err != nil:
			a.sayChange(said, time.Now(), "status", strings.TrimPrefix(now.err.Error(), "rekey: "))
		case a.json:
			said["status"] = "" // something was seen
			if err := a.printJSON(now.report); err != nil {
				return err
			}
		default:
			delete(said, "status")
			for _, c := range changesOf(now.report) {
				a.sayChange(said, now.report.At, c.name, c.text)
			}
		}
		if a.unread.Load() {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// sayChange prints what is not known yet.
func (a *app) sayChange(said map[string]string, at time.Time, name, text string) {
	if before, ok := said[name]; ok && before == text {
		return
	}
	said[name] = text
	if a.json {
		// A standard output that takes nothing ends it at the next status.
		_ = a.printJSON(struct {
			Type  string `json:"type"`
			Error string `json:"error"`
		}{"error", text})
		return
	}
	a.printf("%s  %-10s %s\n", at.Local().Format(time.TimeOnly), name, text)
}

type change struct{ name, text string }

// changesOf is what a watcher wants to hear of. It holds no ages: they change by themselves.
func changesOf(r *statusReport) []change {
	out := []change{{"fleet", fleetText(r)}, {"control", "free"}}
	if c := &r.Control; c.Owner != "" {
		out[1].text = fmt.Sprintf("%s, generation %d", c.Owner, c.Generation)
	}
	for i := range r.Rules {
		rule := &r.Rules[i]
		text := cmp.Or(rule.Phase, "no record")
		if rule.Frozen {
			text += " (frozen)"
		}
		if rule.Live > 0 {
			text += fmt.Sprintf(", reached by %d of %d", rule.Reached, rule.Live)
		}
		var blocked []string
		for _, w := range rule.WaitsFor {
			if !w.Work && !slices.Contains(blocked, cmp.Or(w.Name, w.What)) {
				blocked = append(blocked, cmp.Or(w.Name, w.What))
			}
		}
		if len(blocked) > 0 {
			text += "; held up by " + strings.Join(blocked, ", ")
		}
		out = append(out, change{rule.Rule, text})
	}
	for _, f := range r.Findings {
		if f.Level == levelUnsafe {
			out = append(out, change{f.Level, f.Text})
		}
	}
	return out
}
