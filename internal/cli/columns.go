package cli

import (
	"strings"
	"unicode/utf8"
)

// columns aligns the cells of rows, of which the first is the heads. A head that begins with ">" is of
// a column of numbers, which stand at the right.
func columns(rows [][]string) []string {
	if len(rows) == 0 {
		return nil
	}
	heads := make([]string, len(rows[0]))
	widths := make([]int, len(rows[0]))
	for i, head := range rows[0] {
		heads[i] = strings.TrimPrefix(head, ">")
	}
	out := make([]string, 0, len(rows))
	for n, row := range rows {
		if n == 0 {
			row = heads
		}
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, row := range rows {
		if n == 0 {
			row = heads
		}
		var b strings.Builder
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if strings.HasPrefix(rows[0][i], ">") {
				b.WriteString(space + cell)
			} else {
				b.WriteString(cell + space)
			}
			b.WriteString("  ")
		}
		out = append(out, strings.TrimRight(b.String(), " "))
	}
	return out
}
