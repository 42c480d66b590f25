package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/inventory"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/plan"
)

// inventoryJSON is the report with the names of keys where they were asked for.
type inventoryJSON struct {
	Type string `json:"type"`
	*inventory.Report
	Shapes  []shapeJSON  `json:"shapes"`
	Biggest []bigKeyJSON `json:"biggest"`
}

type shapeJSON struct {
	inventory.Shape
	Example string `json:"example,omitempty"` // quoted: a name may hold any byte
}

type bigKeyJSON struct {
	inventory.Key
	Name string `json:"name,omitempty"` // quoted
}

func inventoryObject(r *inventory.Report, names bool) inventoryJSON {
	out := inventoryJSON{Type: "inventory", Report: r, Shapes: []shapeJSON{}, Biggest: []bigKeyJSON{}}
	for _, s := range r.Shapes {
		j := shapeJSON{Shape: s}
		if names {
			j.Example = strconv.Quote(s.Example)
		}
		out.Shapes = append(out.Shapes, j)
	}
	for _, k := range r.Biggest {
		j := bigKeyJSON{Key: k}
		if names {
			j.Name = strconv.Quote(k.Name)
		}
		out.Biggest = append(out.Biggest, j)
	}
	return out
}

// printInventory prints the report for a person.
func (a *app) printInventory(r *inventory.Report, p *plan.Plan, databases []int, names bool) {
	a.printf("keys      %s, %s\n\n", inventoryKeysText(r), databasesText(databases))
	heads := []string{"shape", ">keys", "types", ">bytes", ">ttl", ">idle"}
	if p != nil {
		heads = append(heads, "rule")
	}
	if names {
		heads = append(heads, "example")
	}
	rows := [][]string{heads}
	for _, s := range r.Shapes {
		row := []string{shapeText(s.Template), strconv.FormatInt(s.Keys, 10), kindsText(s), sizesText(s), ttlText(s), idleText(s)}
		if p != nil {
			row = append(row, coverText(s))
		}
		if names {
			row = append(row, strconv.Quote(s.Example))
		}
		rows = append(rows, row)
	}
	if len(r.Shapes) > 0 {
		for _, line := range columns(rows) {
			a.printf("  %s\n", line)
		}
	}
	a.printLives(r)
	a.printBiggest(r, names)
	if p != nil {
		a.printCovers(r)
	}
	for _, db := range slices.Sorted(maps.Keys(r.Elsewhere)) {
		a.printf("\nDatabase %d has %s that were not looked at.", db, plural(int(r.Elsewhere[db]), "key"))
	}
	if len(r.Elsewhere) > 0 {
		a.printf("\n")
	}
	if len(r.Unknown) > 0 {
		a.printf("\nNot found out:\n")
	}
	for _, text := range r.Unknown {
		a.printf("  %s\n", text)
	}
}

func inventoryKeysText(r *inventory.Report) string {
	text := fmt.Sprintf("%d, all looked at", r.Looked)
	switch {
	case !r.Whole && r.Keys > 0:
		text = fmt.Sprintf("%d, of which %d were looked at: counts and bytes are of these", r.Keys, r.Looked)
	case !r.Whole:
		text = fmt.Sprintf("%d looked at, of how many is not known", r.Looked)
	}
	if r.Sample < 1 {
		text += fmt.Sprintf("; %.3g%% of them were asked about, and what is not counted is projected (± 95%%)", r.Sample*100)
	}
	return text
}

func shapeText(template string) string {
	if template == "" {
		return "(the empty name)"
	}
	return template
}

// kindsText are the types, the most frequent first.
func kindsText(s inventory.Shape) string {
	kinds := slices.SortedFunc(maps.Keys(s.Types), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.Types[b], s.Types[a]), cmp.Compare(a, b))
	})
	if len(kinds) == 0 {
		return "-"
	}
	return strings.Join(kinds, " ")
}

func sizesText(s inventory.Shape) string {
	switch {
	case !s.Sized:
		return "-"
	case s.BytesError > 0:
		return "~" + bytesText(s.Bytes) + " ± " + bytesText(s.BytesError)
	default:
		return bytesText(s.Bytes)
	}
}

// ttlText is the times to live: none, or from the shortest over the median to the longest, and how many have none.
func ttlText(s inventory.Shape) string {
	switch {
	case s.TTL == nil && s.Forever == 0:
		return "-"
	case s.TTL == nil:
		return "none"
	}
	text := rangeText(s.TTL, time.Millisecond)
	if s.Forever > 0 {
		text += fmt.Sprintf(", %d%% none", s.Forever*100/(s.Forever+s.TTL.Keys))
	}
	return text
}

// printLives prints how the times to live are distributed, of the shapes that have some.
func (a *app) printLives(r *inventory.Report) {
	heads := []string{"shape"}
	for _, border := range inventory.Lives {
		heads = append(heads, ">to "+ageText(border))
	}
	rows := [][]string{append(heads, ">longer", ">none")}
	for _, s := range r.Shapes {
		if s.TTL == nil {
			continue
		}
		row := []string{shapeText(s.Template)}
		counted := make(map[int64]int64)
		for _, l := range s.Lives {
			counted[l.UpTo] = l.Keys
		}
		for _, border := range inventory.Lives {
			row = append(row, countText(counted[int64(border/time.Second)]))
		}
		rows = append(rows, append(row, countText(counted[0]), countText(s.Forever)))
	}
	if len(rows) == 1 {
		return
	}
	a.printf("\ntimes to live, by keys\n")
	for _, line := range columns(rows) {
		a.printf("  %s\n", line)
	}
}

// countText is a count in a table, where 0 is in the way.
func countText(n int64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

func idleText(s inventory.Shape) string {
	if s.Idle == nil {
		return "-"
	}
	return rangeText(s.Idle, time.Second)
}

// rangeText is a spread of times. They are given in milliseconds, or in seconds, and stay numbers: an expiry time may be further
// away than a [time.Duration] can say.
func rangeText(s *inventory.Spread, unit time.Duration) string {
	each := unit.Milliseconds()
	low, mid, high := millisecondsText(s.Min*each), millisecondsText(s.Median*each), millisecondsText(s.Max*each)
	if low == high {
		return low
	}
	return low + ".." + mid + ".." + high
}

// ageText is a time with one unit.
func ageText(d time.Duration) string { return millisecondsText(d.Milliseconds()) }

func millisecondsText(ms int64) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if unit := u.unit.Milliseconds(); ms >= 2*unit {
			return fmt.Sprintf("%d%s", (ms+unit/2)/unit, u.name)
		}
	}
	return fmt.Sprintf("%ds", (ms+500)/1000)
}

// coverText is who has the keys of a shape.
func coverText(s inventory.Shape) string {
	var parts []string
	for _, c := range s.Cover {
		text := c.String()
		if len(s.Cover) > 1 {
			text += fmt.Sprintf(" %d%%", c.Keys*100/s.Keys)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// printBiggest lists the biggest keys, and what copying them would cost.
func (a *app) printBiggest(r *inventory.Report, names bool) {
	if len(r.Biggest) == 0 {
		return
	}
	rows := [][]string{{"biggest keys", ">bytes", ">elements", ">stall", "type"}}
	stalls := false
	for _, k := range r.Biggest {
		name := shapeText(k.Template)
		if names {
			name = strconv.Quote(k.Name)
		}
		size, elements := "-", "-"
		if k.Bytes > 0 {
			size = bytesText(k.Bytes)
		}
		if k.Elements > 0 {
			elements = strconv.FormatInt(k.Elements, 10)
		}
		stall := k.CopyStall()
		stalls = stalls || stall >= sweep.DefaultBigStall
		rows = append(rows, []string{name, size, elements, sweep.StallText(stall), k.Type})
	}
	a.printf("\n")
	for _, line := range columns(rows) {
		a.printf("  %s\n", line)
	}
	if stalls {
		a.printf("\nA copy of a big key stalls the server for about so long (half to twice of it on an idle core).\n")
		a.printf("For such keys give their rule strategy: move, which never copies.\n")
	}
}

// printCovers sums up who has the keys.
func (a *app) printCovers(r *inventory.Report) {
	covers := r.Covers()
	a.printf("\n")
	if n := covers[inventory.Cover{Role: inventory.Uncovered}]; n > 0 {
		a.printf("%s covered by no rule. rekey inventory --emit-plan FILE writes rules for them.\n", sentence(n, "key is", "keys are"))
	} else {
		a.printf("Every key is covered by a rule.\n")
	}
	for _, c := range slices.SortedFunc(maps.Keys(covers), func(a, b inventory.Cover) int { return cmp.Compare(a.String(), b.String()) }) {
		if c.Role == inventory.Foreign {
			a.printf("%s of %s.\n", sentence(covers[c], "name is", "names are"), c)
		}
	}
}

func sentence(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
