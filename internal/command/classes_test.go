package command

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/classes.txt from the calls in it")

const classesFile = "testdata/classes.txt"

const classesHead = `# What is done with each call, for a reviewer to read: go test ./internal/command -run TestClasses -update
# rewrites the verdicts from the calls in the last column.
#
# class    | keys: argument and access | ttl: relative; null: *-1 in RESP2; block: argument of the timeout | call
`

// TestClasses compares the verdict on each call with the reviewed one, and
// wants a call of every command that takes keys or is not simply passed on.
func TestClasses(t *testing.T) {
	want, err := os.ReadFile(classesFile)
	if err != nil {
		t.Fatal(err)
	}
	got := verdicts(t, calls(t))
	if *update {
		if err := os.WriteFile(classesFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-want +got):\n%s", classesFile, lineDiff(string(want), string(got)))
	}
	called := make(map[*Command]bool)
	calledRule := make(map[*rule]bool)
	for _, call := range calls(t) {
		c, _ := Lookup(words(call))
		called[c] = true
		calledRule[c.rule] = true
	}
	for _, c := range All() {
		switch {
		case c.rule == nil:
			t.Errorf("%s is in no family of families.go", c.Name)
		case c.TakesKeys() && c.Use(words(c.Name)).Class != ClassSession && !called[c]:
			t.Errorf("%s takes keys and has no call in %s", c.Name, classesFile)
		case c.rule.class != ClassNone && !calledRule[c.rule]:
			t.Errorf("%s has no call in %s", c.Name, classesFile)
		}
	}
}

// TestFamilies: a name that is misspelt, or in two families, judges nothing.
func TestFamilies(t *testing.T) {
	known := make(map[string]bool)
	for _, c := range All() {
		known[c.Name] = true
	}
	seen := make(map[string]bool)
	for _, f := range families {
		if f.why == "" {
			t.Errorf("the family of %s has no reason", strings.TrimSpace(f.names))
		}
		for _, name := range fields(f.names) {
			if !known[name] {
				t.Errorf("%q is in a family and not in the table", name)
			}
			if seen[name] {
				t.Errorf("%q is in two families", name)
			}
			seen[name] = true
		}
	}
}

// TestReadsDoNotWrite holds the judgement against the facts: what is read, or
// passed on, is not described as a write by its server, but for the listed.
func TestReadsDoNotWrite(t *testing.T) {
	allowed := map[string]string{
		"flushall": "goes to every name alike",
		"flushdb":  "goes to every name alike",
	}
	for _, c := range All() {
		class := c.rule.class
		if class != ClassRead && class != ClassNone || allowed[c.Name] != "" {
			continue
		}
		if c.Flags&Write != 0 && !strings.HasPrefix(c.Name, "function ") || c.writesKeys() {
			t.Errorf("%s is %v and its server says that it writes", c.Name, class)
		}
	}
	for _, c := range All() {
		writes := c.rule.class == ClassReplay || c.rule.class == ClassRecopy || c.rule.class == ClassEffect
		if writes && c.Flags&ReadOnly != 0 && c.Name != "pfcount" {
			t.Errorf("%s is %v and its server says that it reads", c.Name, c.rule.class)
		}
	}
}

// calls are the last columns of the reviewed file.
func calls(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(classesFile)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		list = append(list, strings.TrimSpace(line[strings.LastIndex(line, "|")+1:]))
	}
	return list
}

// verdicts writes the file: the calls by family, in the families' order.
func verdicts(t *testing.T, calls []string) []byte {
	t.Helper()
	byRule := make(map[string][]string)
	for _, call := range calls {
		args := words(call)
		c, ok := Lookup(args)
		if !ok || c.rule == nil {
			t.Errorf("%s: in no family", call)
			continue
		}
		key := c.rule.class.String() + ": " + c.rule.why
		byRule[key] = append(byRule[key], verdict(c, args)+call)
	}
	var b bytes.Buffer
	b.WriteString(classesHead)
	var done []string
	for _, f := range families {
		key := f.class.String() + ": " + f.why
		if len(byRule[key]) == 0 || slices.Contains(done, key) {
			continue
		}
		done = append(done, key)
		fmt.Fprintf(&b, "\n# %s\n%s\n", key, strings.Join(byRule[key], "\n"))
	}
	return b.Bytes()
}

func verdict(c *Command, args [][]byte) string {
	u := c.Use(args)
	var notes []string
	if u.RelativeTTL {
		notes = append(notes, "ttl")
	}
	if u.Block > 0 {
		unit := "s"
		if u.BlockMillis {
			unit = "ms"
		}
		notes = append(notes, fmt.Sprintf("block=%d%s", u.Block, unit))
	}
	if u.Names != NamesNone {
		notes = append(notes, "names="+u.Names.String())
	}
	if c.NullArray(args) {
		notes = append(notes, "null")
	}
	for _, p := range u.Patterns {
		notes = append(notes, "pattern="+string(p))
	}
	return fmt.Sprintf("%-9s | %-11s | %-24s | ", u.Class, keysText(c, args), strings.Join(notes, " "))
}

func lineDiff(want, got string) string {
	var b strings.Builder
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range w {
		if !slices.Contains(g, line) {
			fmt.Fprintf(&b, "-%s\n", line)
		}
	}
	for _, line := range g {
		if !slices.Contains(w, line) {
			fmt.Fprintf(&b, "+%s\n", line)
		}
	}
	if b.Len() == 0 {
		return "the same lines in another order\n"
	}
	return b.String()
}
