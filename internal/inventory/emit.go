package inventory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/keyname"
	"github.com/classwaves/rekey/internal/sweep"
	"github.com/classwaves/rekey/plan"
)

// targetWords are what targets may begin with, controlWords what rekey's own records may: the first is taken that no key
// begins with. Where any word could begin a name, it is the last, which nobody has thought of.
var (
	targetWords  = []string{"app", "keys", "data", "ns", "rekey-target"}
	controlWords = []string{"rekey", "rekey-control", "rekey-control-records"}
)

// nativeTypes are those that every server can copy.
var nativeTypes = []string{"string", "list", "set", "zset", "hash", "stream"}

// Emission is what a plan is written from.
type Emission struct {
	Environment string // "": production
	URL         string // without its password; "": none
	Databases   []int
	// Prefix is what targets begin with, as a template: cw:{env}:. "": one that no key has.
	Prefix string

	control string // the control prefix
}

// Plan writes a plan to start from. It has a rule for every shape that no rule of the inventory's own plan covers. It
// loads, and every key that it was made from has a rule in it, but for the empty name. Where names begin with a variable,
// a target could be taken for such a name, and one rule for all takes the place of the rules by shape.
func (r *Report) Plan(e Emission) ([]byte, error) {
	if e.Environment == "" {
		e.Environment = "production"
	}
	shapes := slices.DeleteFunc(slices.Clone(r.Shapes), func(s Shape) bool {
		return s.Template == "" || len(s.Cover) > 0 && !slices.ContainsFunc(s.Cover, func(c Covered) bool { return c.Role == Uncovered })
	})
	if len(shapes) == 0 {
		return nil, errors.New("rekey: no key is without a rule, so there is nothing to plan")
	}
	slices.SortFunc(shapes, func(a, b Shape) int { return strings.Compare(a.Template, b.Template) })
	if e.Prefix == "" {
		e.Prefix = freePrefix(targetWords, r.Shapes)
	}
	e.control = freePrefix(controlWords, r.Shapes)
	text := e.text(shapes, e.rules(shapes, r.Biggest), "")
	err := loads(text)
	var refused *plan.Error
	if !errors.As(err, &refused) {
		return []byte(text), err
	}
	all := e.text(shapes, []rule{{name: "all", legacy: "{key...}", strategy: strategyOf(shapes, r.Biggest)}},
		"One rule for all names: with a rule for each shape, "+refused.Reason+".\nThe shapes that were found:")
	if err := loads(all); err != nil {
		return nil, fmt.Errorf("rekey: no plan can be made with targets under %q: %w; choose another prefix", e.Prefix, err)
	}
	return []byte(all), nil
}

func loads(text string) error {
	_, err := plan.Parse("the emitted plan", []byte(text), func(string) (string, bool) { return "", false })
	return err
}

// freePrefix is a prefix under which no key can be, in any environment.
func freePrefix(words []string, shapes []Shape) string {
	for _, word := range words {
		if !slices.ContainsFunc(shapes, func(s Shape) bool { return mayBegin(s.Template, word+":") }) {
			return word + ":{env}:"
		}
	}
	return words[len(words)-1] + ":{env}:"
}

// mayBegin reports whether some name of a template begins with a text.
func mayBegin(template, text string) bool {
	t, err := keyname.Parse(template, "env")
	under, err2 := keyname.Parse(strings.NewReplacer("{", "{{", "}", "}}").Replace(text)+"{rest...}", "env")
	if err != nil || err2 != nil {
		return true
	}
	_, meets := keyname.Overlap(t, under)
	return meets
}

// rule is one rule of the plan that is written.
type rule struct {
	name, legacy string
	strategy     string
	why          string
}

func (e *Emission) rules(shapes []Shape, biggest []Key) []rule {
	used := make(map[string]bool)
	var out []rule
	for _, s := range shapes {
		r := rule{name: ruleName(s.Template), legacy: s.Template, strategy: strategyOf([]Shape{s}, biggest), why: describe(s)}
		for n := 2; used[r.name]; n++ {
			r.name = ruleName(s.Template) + "_" + strconv.Itoa(n)
		}
		used[r.name] = true
		out = append(out, r)
	}
	return out
}

// strategyOf proposes move for what would stall the server, or perhaps cannot be copied at all.
func strategyOf(shapes []Shape, biggest []Key) string {
	for _, s := range shapes {
		for kind := range s.Types {
			if !slices.Contains(nativeTypes, kind) {
				return "move"
			}
		}
		if slices.ContainsFunc(biggest, func(k Key) bool {
			return k.Template == s.Template && k.CopyStall() >= sweep.DefaultBigStall
		}) {
			return "move"
		}
	}
	return "mirror"
}

// ruleName is made of a template's literals.
func ruleName(template string) string {
	var b strings.Builder
	inVariable := false
	for _, c := range strings.ToLower(template) {
		switch {
		case c == '{':
			inVariable = true
		case c == '}':
			inVariable = false
		case inVariable:
			continue
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			b.WriteRune(c)
			continue
		}
		if text := b.String(); text != "" && !strings.HasSuffix(text, "_") {
			b.WriteByte('_')
		}
	}
	name := strings.Trim(b.String()[:min(b.Len(), 40)], "_")
	if name == "" {
		return "names"
	}
	return name
}

// describe is what stands beside a rule.
func describe(s Shape) string {
	text := fmt.Sprintf("%d keys", s.Keys)
	if s.Keys == 1 {
		text = "1 key"
	}
	if len(s.Types) > 0 {
		text += ", " + strings.Join(slices.Sorted(maps.Keys(s.Types)), ", ")
	}
	if s.Sized {
		text += ", " + sweep.SizeText(s.Bytes)
	}
	if s.TTL != nil {
		text += ", TTL " + milliseconds(s.TTL.Median).Round(time.Second).String()
	}
	return text
}

func (e *Emission) text(shapes []Shape, rules []rule, note string) string {
	var b strings.Builder
	b.WriteString("# Written by rekey inventory, to start from: names and targets are proposals.\n")
	if note != "" {
		b.WriteString("#\n# " + strings.ReplaceAll(note, "\n", "\n# ") + "\n")
		for _, s := range shapes {
			fmt.Fprintf(&b, "#   %s: %s\n", quoted(s.Template), describe(s))
		}
	}
	fmt.Fprintf(&b, "version: 1\nenvironment: %s\ncontrol_prefix: %s\n", quoted(e.Environment), quoted(e.control))
	if e.URL != "" {
		fmt.Fprintf(&b, "server: {url: %s}\n", quoted(e.URL))
	}
	if len(e.Databases) > 0 {
		numbers := make([]string, 0, len(e.Databases))
		for _, db := range e.Databases {
			numbers = append(numbers, strconv.Itoa(db))
		}
		fmt.Fprintf(&b, "databases: [%s]\n", strings.Join(numbers, ", "))
	}
	b.WriteString("rules:\n")
	for _, r := range rules {
		if r.why != "" {
			fmt.Fprintf(&b, "  # %s\n", r.why)
		}
		fmt.Fprintf(&b, "  - {name: %s, legacy: %s, target: %s, strategy: %s}\n", quoted(r.name), quoted(r.legacy), quoted(e.Prefix+r.legacy), r.strategy)
	}
	return b.String()
}

// quoted is a value of YAML that a plan reads as it is: ${ is not for the environment.
func quoted(text string) string { return strconv.Quote(strings.ReplaceAll(text, "${", "$${")) }
