package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// printPlan prints what `rekey plan` has found, for one screen.
func (a *app) printPlan(p *plan.Plan, r *planReport) {
	s := r.Server
	a.printf("plan      %s, environment %s, %s, %s\n", r.Plan, r.Environment, plural(len(p.Rules), "rule"), databasesText(r.Databases))
	a.printf("server    %s, %s %s, %s\n", s.URL, s.Flavor, orUnknown(s.Version), roleText(s))
	a.printf("memory    %s\n", memoryText(s))
	if len(s.Modules) > 0 {
		a.printf("modules   %s\n", strings.Join(s.Modules, ", "))
	}
	if k := r.Keys; k != nil {
		a.printf("keys      %s\n\n", lookedText(k))
		a.printKeys(k)
		a.printf("\nmirror    second copies will take %s\n", mirrorText(r))
	}
	if r.Rights != nil && r.Rights.Checked && len(r.Rights.Missing) == 0 {
		a.printf("rights    user %s has all that every phase needs\n", r.Rights.User)
	}
	if r.Rights == nil && r.Keys != nil {
		a.printf("rights    not checked: name the application's user with --user\n")
	}
	if len(r.Findings) == 0 {
		a.printf("\nNothing stands in the way.\n")
	} else {
		a.printf("\n")
	}
	for i, f := range r.Findings {
		a.printf("%-9s %s\n", f.Level, f.Text)
		if f.Try != "" && (i == len(r.Findings)-1 || r.Findings[i+1].Try != f.Try) {
			a.printf("%-9s Try: %s\n", "", f.Try)
		}
	}
	a.printf("\nNext: %s\n", r.Next)
}

// printKeys prints a line for each rule.
func (a *app) printKeys(k *keysReport) {
	about := ""
	if !k.Whole {
		about = "~"
	}
	rows := [][]string{{"rule", "strategy", "legacy", "target", "bytes", "largest", "types"}}
	for i := range k.Rules {
		r := &k.Rules[i]
		size, largest := "~"+bytesText(int64(float64(r.Bytes)*k.scale())), bytesText(r.Largest)
		if r.Largest == 0 {
			size, largest = "-", "-"
		}
		rows = append(rows, []string{r.Rule, r.Strategy, about + scaled(r.Legacy, k), about + scaled(r.Target, k), size, largest, typesText(r)})
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			if i >= 2 && i <= 5 { // numbers stand at the right
				fmt.Fprintf(&b, "%*s  ", widths[i], cell)
			} else {
				fmt.Fprintf(&b, "%-*s  ", widths[i], cell)
			}
		}
		a.printf("  %s\n", strings.TrimRight(b.String(), " "))
	}
}

func scaled(n int64, k *keysReport) string { return fmt.Sprint(int64(float64(n) * k.scale())) }

func typesText(r *ruleReport) string {
	if len(r.Types) == 0 {
		return "-"
	}
	return strings.Join(slices.Sorted(maps.Keys(r.Types)), " ")
}

func roleText(s *serverReport) string {
	role := "primary with " + plural(s.Replicas, "replica")
	if s.Role == "slave" {
		role = "replica"
	}
	if s.Cluster {
		role += ", cluster"
	}
	return role
}

func memoryText(s *serverReport) string {
	limit := "no limit"
	if s.MaxMemory > 0 {
		limit = "of " + bytesText(s.MaxMemory)
	}
	return fmt.Sprintf("%s used, %s, eviction %s", bytesText(s.UsedMemory), limit, orUnknown(s.Eviction))
}

func lookedText(k *keysReport) string {
	if k.Whole {
		return fmt.Sprintf("%d, all looked at", k.Looked)
	}
	return fmt.Sprintf("%d, of which %d were looked at: counts with ~ are projected; --full looks at all", k.Keys, k.Looked)
}

func mirrorText(r *planReport) string {
	text := sweep.Need{Bytes: r.MirrorBytes, Error: r.MirrorError}.String()
	switch room, limited := r.Server.room(); {
	case r.Keys.Unsized:
		return "what the server does not tell: it has no MEMORY USAGE for this user"
	case !slices.ContainsFunc(r.Keys.Rules, func(k ruleReport) bool { return k.Strategy == phase.Mirror.String() }):
		return "nothing: no rule has strategy mirror"
	case limited:
		return text + " of " + bytesText(max(0, room)) + " left"
	default:
		return text
	}
}

func databasesText(dbs []int) string {
	var out []string
	for _, db := range dbs {
		out = append(out, fmt.Sprint(db))
	}
	if len(out) == 1 {
		return "database " + out[0]
	}
	return "databases " + strings.Join(out, ", ")
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// bytesText is a size for a person.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/unit, 0
	for f >= unit && i < 4 {
		f /= unit
		i++
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[i])
}
