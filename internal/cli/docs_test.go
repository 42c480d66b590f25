package cli

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	documentedLine   = regexp.MustCompile(`(?m)^    (rekey [a-z][^#\n]*)`)
	documentedInline = regexp.MustCompile("`(rekey [a-z][^`\n]*)`")
	// A message that begins with a command may go on with words about it, or with what it is called with.
	advised = regexp.MustCompile(`^(rekey [a-z]+[^,;:|()]*)`)
	// verb is where a message puts a name in.
	verb = regexp.MustCompile(`%(\[\d\])?[sqvd]`)
)

// noCommands are texts that begin as a command does: the program's own description, and a rule's part of a hash.
var noCommands = regexp.MustCompile(`^rekey (moves live|rule 1$)`)

// exists says what is wrong with a command line; nil where the program takes it. A flag at its end may be without its value.
func exists(line string) error {
	words := strings.Fields(line)[1:]
	root := newRoot(&app{})
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if cmd == root {
		return fmt.Errorf("no such command")
	}
	err = cmd.ParseFlags(rest)
	if err != nil && (strings.HasPrefix(err.Error(), "flag needs an argument") || strings.HasSuffix(err.Error(), "help requested")) {
		return nil
	}
	return err
}

// Every command of the guides exists, with its flags.
func TestDocumentedCommands(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all := documentedLine.FindAllStringSubmatch(string(text), -1)
		all = append(all, documentedInline.FindAllStringSubmatch(string(text), -1)...)
		seen += len(all)
		for _, m := range all {
			if err := exists(m[1]); err != nil {
				t.Errorf("%s: %s: %v", file, m[1], err)
			}
		}
	}
	if seen < 50 {
		t.Errorf("%d commands found", seen)
	}
}

// Every command that a message advises exists, with its flags.
func TestAdvisedCommands(t *testing.T) {
	seen := 0
	files := token.NewFileSet()
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && path != "../.." && strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return fs.SkipDir // what make has built of others
			}
			return nil
		}
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			all := documentedInline.FindAllStringSubmatch(text, -1)
			all = append(all, advised.FindAllStringSubmatch(text, -1)...)
			for _, m := range all {
				if noCommands.MatchString(m[1]) {
					continue
				}
				seen++
				if err := exists(verb.ReplaceAllString(m[1], "1")); err != nil {
					t.Errorf("%s: %s: %v", files.Position(literal.Pos()), m[1], err)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Errorf("%d commands found", seen)
	}
}
