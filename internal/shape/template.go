package shape

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Shape is one template and the sum of the names that were counted for it.
type Shape[S any] struct {
	// Template is in the language of a plan's templates; "" for the empty name, which has none.
	Template string
	// Literal: it has no variable, so it is the name of one key.
	Literal bool
	Sum     S
}

// DefaultWords is how many words that go on alike stay literals at one place.
const DefaultWords = 8

// Shapes proposes at most so many templates (eight at least), in the order of their text. Words that go on alike at one
// place, but for the first one, are values of a variable if there are more than words (0: [DefaultWords]). It is the
// tree's end: no name can be added afterwards.
func (t *Tree[S]) Shapes(most, words int) []Shape[S] {
	var out []Shape[S]
	if t.empty != nil {
		out = append(out, Shape[S]{Sum: *t.empty})
	}
	l := start
	if words > 0 {
		l.alike = words
	}
	for ; ; l = l.halved() {
		settler[S]{t, l}.node(t.root, 0, false)
		tails := tailsOf(t.root)
		if len(tails) > max(8, most) && l != (limits{}) {
			continue
		}
		for _, x := range tails {
			text, literal := x.template()
			out = append(out, Shape[S]{Template: text, Literal: literal, Sum: *x.sum})
		}
		slices.SortFunc(out, func(a, b Shape[S]) int { return cmp.Compare(a.Template, b.Template) })
		return out
	}
}

// template writes a tail as a template. Variables are called by what they hold.
func (x tail[S]) template() (text string, literal bool) {
	used := make(map[string]int)
	variable := func(name string) string {
		if used[name]++; used[name] > 1 {
			name += strconv.Itoa(used[name])
		}
		return name
	}
	escape := strings.NewReplacer("{", "{{", "}", "}}").Replace
	parts := make([]string, 0, len(x.segments)+1)
	literal = !x.rest
	for _, s := range x.segments {
		part := escape(s.prefix)
		if s.open {
			part += "{" + variable(s.kinds.String()) + "}" + escape(s.suffix)
			literal = false
		}
		parts = append(parts, part)
	}
	if x.rest {
		parts = append(parts, "{rest...}")
	}
	return strings.Join(parts, ":"), literal
}
