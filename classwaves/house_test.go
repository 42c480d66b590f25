package classwaves_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/classwaves/rekey/classwaves"
)

// keyFiles may hold key literals; all other code asks package keys for a name.
var keyFiles = map[string]string{
	"classwaves/keys":                "the one place that builds names",
	"classwaves/internal/oldrelease": "a model of the release before, which prefixed names itself",
}

// wireTests compare names byte for byte: with what the old release has in production, or with what the
// server holds behind rekey.
var wireTests = map[string]string{
	"classwaves/accesscode/accesscode_test.go": "the old release's names and values",
	"classwaves/csrf/csrf_test.go":             "the old release's names and values",
	"classwaves/querycache/rekey_test.go":      "looks at the server behind rekey",
	"classwaves/ratelimit/node_test.go":        "the Node library adds its own prefix",
	"classwaves/ratelimit/take_test.go":        "the old release's names and values",
	"classwaves/session/phase_test.go":         "looks at the server behind rekey",
	"cmd/classwaves/serve_test.go":             "looks at the fleet's records",
	"classwaves/house_test.go":                 "shows that the test finds them",
}

// environmentFiles may read the environment beside cmd.
var environmentFiles = map[string]string{
	"classwaves/database/databasetest": "for tests: a server that it starts inherits the environment",
}

// TestNamesAreBuiltInOnePlace finds key literals outside package keys: in strings that begin as a name
// of the plan does.
func TestNamesAreBuiltInOnePlace(t *testing.T) {
	prefixes := literalPrefixes(t)
	eachFile(t, func(path string, file *ast.File, at func(ast.Node) string) {
		if keyFiles[folder(path)] != "" || wireTests[filepath.ToSlash(path)] != "" {
			return
		}
		for _, lit := range literals(file) {
			if p := isName(lit.text, prefixes); p != "" {
				t.Errorf("%s: %q begins as a key's name does (%s): ask package keys for it", at(lit.node), lit.text, p)
			}
		}
	})
	for _, c := range []struct {
		text string
		name bool
	}{
		{"secure_session:", true}, {"secure_session:%s", true}, {"cw:%s:events:", true}, {"analytics:session:x", true},
		{"session: no such thing", false}, {"sessions", false}, {"csrf token", false},
	} {
		if got := isName(c.text, prefixes) != ""; got != c.name {
			t.Errorf("isName(%q): got %v, want %v", c.text, got, c.name)
		}
	}
}

// TestEnvironmentIsReadInCmdOnly finds reads of the environment outside cmd.
func TestEnvironmentIsReadInCmdOnly(t *testing.T) {
	reads := []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}
	inCmd := 0
	eachFile(t, func(path string, file *ast.File, at func(ast.Node) string) {
		if strings.HasSuffix(path, "_test.go") || environmentFiles[folder(path)] != "" {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || !slices.Contains(reads, sel.Sel.Name) {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); !ok || pkg.Name != "os" {
				return true
			}
			if strings.HasPrefix(filepath.ToSlash(path), "cmd/") {
				inCmd++
			} else {
				t.Errorf("%s: os.%s outside cmd", at(n), sel.Sel.Name)
			}
			return true
		})
	})
	if inCmd == 0 {
		t.Error("cmd/classwaves reads no environment: the test looks for the wrong thing")
	}
}

// TestDocumentedTests: each test that docs/classwaves.md names is in the package that it names before.
func TestDocumentedTests(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "classwaves.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(page)) {
		in := ""
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1) {
			name := m[1]
			if info, err := os.Stat(filepath.Join("..", name)); err == nil && info.IsDir() {
				in = name
			}
			if !strings.HasPrefix(name, "Test") {
				continue
			}
			found++
			if !hasTest(t, in, name) {
				t.Errorf("there is no %s in ./%s", name, in)
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d tests are named: the test looks for the wrong thing", found)
	}
	if hasTest(t, "classwaves", "TestNoSuchTest") {
		t.Error("hasTest finds what is not there")
	}
}

// hasTest says whether a folder has a test, whatever its build tag.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}

// literalPrefixes is what the names of the plan begin with, on both sides, up to the first variable.
func literalPrefixes(t *testing.T) (prefixes []string) {
	t.Helper()
	p, err := classwaves.Plan("test")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range p.Rules {
		for _, text := range []string{r.LegacyText, r.TargetText} {
			literal, _, _ := strings.Cut(text, "{")
			if !slices.Contains(prefixes, literal) {
				prefixes = append(prefixes, literal)
			}
		}
	}
	return prefixes
}

// isName gives the prefix with which a text begins as a key's name. A message such as "session: not
// found" has a space where a name has its variable.
func isName(text string, prefixes []string) string {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(text, p); ok && !strings.HasPrefix(rest, " ") {
			return p
		}
	}
	return ""
}

func folder(path string) string { return filepath.ToSlash(filepath.Dir(path)) }

type literal struct {
	node ast.Node
	text string
}

// literals are the string literals of a file, but for imports and the tags of fields.
func literals(file *ast.File) (out []literal) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			return n.Tag == nil
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				if text, err := strconv.Unquote(n.Value); err == nil {
					out = append(out, literal{n, text})
				}
			}
		}
		return true
	})
	return out
}

// eachFile parses every Go file of the application.
func eachFile(t *testing.T, do func(path string, file *ast.File, at func(ast.Node) string)) {
	t.Helper()
	files := 0
	for _, tree := range []string{"classwaves", "cmd/classwaves"} {
		err := filepath.WalkDir(filepath.Join("..", tree), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			files++
			rel, err := filepath.Rel("..", path)
			if err != nil {
				return err
			}
			do(rel, file, func(n ast.Node) string { return rel + ":" + strconv.Itoa(set.Position(n.Pos()).Line) })
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 50 {
		t.Fatalf("only %d files", files)
	}
}
