package cli

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	documentedLine   = regexp.MustCompile(`(?m)^    (rekey [a-z][^#\n]*)`)
	documentedInline = regexp.MustCompile("`(rekey [a-z][^`\n]*)`")
)

// Every command of the guides exists, with its flags.
func TestDocumentedCommands(t *testing.T) {
	for _, file := range []string{"../../docs/fleet.md", "../../README.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all := documentedLine.FindAllStringSubmatch(string(text), -1)
		all = append(all, documentedInline.FindAllStringSubmatch(string(text), -1)...)
		if len(all) < 5 {
			t.Errorf("%s: %d commands found", file, len(all))
		}
		for _, m := range all {
			words := strings.Fields(m[1])[1:]
			root := newRoot(&app{})
			cmd, rest, err := root.Find(words)
			if err == nil && cmd == root {
				t.Errorf("%s: no such command: %s", file, m[1])
				continue
			}
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err != nil {
				t.Errorf("%s: %s: %v", file, m[1], err)
			}
		}
	}
}
