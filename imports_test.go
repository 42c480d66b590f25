package rekey_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/classwaves/rekey"

// testOnly is the rank of a package that only tests may import.
const testOnly = -1

// ranks is the house: every package of the module, and an import may only go to a lower rank. The
// path is relative to the module; "" is package rekey.
//
// Packages of one rank do not know each other on purpose: rewrite never sees a plan, an
// application that links rekey can link no sweep, who obeys (fleet) is not who decides (control).
var ranks = map[string]int{
	"internal/keyname": 0,
	"phase":            0,
	"internal/command": 0,
	"internal/resp":    0,
	"internal/shape":   0,

	"plan":             1,
	"internal/rewrite": 1,

	"internal/intercept": 2,
	"internal/fleet":     2,

	"internal/sweep": 3,
	"":               3,

	"internal/control":   4,
	"internal/inventory": 4,
	"rekeyprom":          4,

	"internal/proxy": 5,
	"internal/demo":  5,

	"internal/cli": 6,

	"cmd/rekey":            7,
	"internal/command/gen": 7, // a program: writes internal/command's table

	"internal/redistest":  testOnly,
	"internal/history":    testOnly,
	"internal/bench":      testOnly,
	"internal/clienttest": testOnly,
	"internal/faulttest":  testOnly,
	"internal/difftest":   testOnly,
	"internal/walktest":   testOnly,
	"internal/chaostest":  testOnly,

	"classwaves/internal/beside":     testOnly,
	"classwaves/internal/oldrelease": testOnly,
	"classwaves/internal/phasefleet": testOnly,
}

// pure packages decide what is right. They see no network, file, clock, lock or deadline, so that
// everything about correctness can be tested on them alone.
var (
	pure   = []string{"internal/keyname", "phase", "internal/command", "internal/resp", "internal/rewrite", "internal/shape"}
	impure = []string{"net", "os", "time", "sync", "context"}
)

// classwaves is the reference application. It imports what any user imports: it is the proof of
// the API.
var forClasswaves = []string{"", "plan", "phase", "rekeyprom"}

// notInRekey is what an application must not get with package rekey, at any distance.
var notInRekey = []string{
	module + "/internal/sweep", module + "/internal/control",
	"github.com/spf13/cobra", "charm.land/bubbletea", "github.com/prometheus", "modernc.org/sqlite", "github.com/mattn/go-sqlite3",
}

// goPackage is what go list says of a package.
type goPackage struct {
	ImportPath string
	Imports    []string // direct, not of tests
	Deps       []string // at any distance
}

func TestImportsFollowTheHouse(t *testing.T) {
	for _, v := range violations(listPackages(t)) {
		t.Error(v)
	}
}

// make runs the tests of the pure packages without the race detector, because nothing is shared
// there, and those of all others with it.
func TestTheMakefileKnowsThePurePackages(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(makefile)) {
		if names, ok := strings.CutPrefix(line, "PURE := "); ok {
			got := slices.Sorted(slices.Values(strings.Fields(names)))
			if want := slices.Sorted(slices.Values(pure)); !slices.Equal(got, want) {
				t.Errorf("PURE in the Makefile is %v, the pure packages are %v", got, want)
			}
			return
		}
	}
	t.Error("the Makefile has no line PURE := ...")
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-tags=postgres,browser,clients", "-json=ImportPath,Imports,Deps", "./...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		t.Fatal("go list lists no packages")
	}
	return packages
}

// violations names every import that the house does not allow.
func violations(packages []goPackage) []string {
	var found []string
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for _, p := range packages {
		from := relative(p.ImportPath)
		rank, known := ranks[from]
		if !known && !isClasswaves(from) {
			add("package %q has no rank: give it one in the table of imports_test.go", from)
			continue
		}
		for _, path := range p.Imports {
			if slices.Contains(pure, from) && within(path, impure) {
				add("%s is pure and imports %s", from, path)
			}
			if path != module && !strings.HasPrefix(path, module+"/") {
				continue
			}
			to := relative(path)
			switch toRank, toKnown := ranks[to]; {
			case rank == testOnly && known:
				// For tests, and with what they need.
			case isClasswaves(from) && toKnown && toRank == testOnly:
				add("%s imports %s, which is for tests only", from, to)
			case isClasswaves(from):
				if !isClasswaves(to) && !slices.Contains(forClasswaves, to) {
					add("%s imports %q, which no other application can import", from, to)
				}
			case isClasswaves(to):
				add("%s imports the reference application, %s", from, to)
			case toKnown && toRank == testOnly:
				add("%s imports %s, which is for tests only", from, to)
			case toKnown && toRank >= rank:
				add("%q (rank %d) imports %q (rank %d)", from, rank, to, toRank)
			}
		}
		if from == "" {
			for _, dep := range p.Deps {
				if within(dep, notInRekey) {
					add("package rekey links %s", dep)
				}
			}
		}
	}
	return found
}

func relative(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

func isClasswaves(path string) bool {
	return path == "cmd/classwaves" || within(path, []string{"classwaves"})
}

// within tells whether path is one of the trees or a package in one; a major version belongs to
// its tree.
func within(path string, trees []string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool {
		return path == tree || strings.HasPrefix(path, tree+"/")
	})
}

// The test above is shown to fail: each row is a house with one thing wrong.
func TestViolationsAreFound(t *testing.T) {
	for _, c := range []struct {
		from, imports, want string
	}{
		{"/internal/resp", "bytes", ""},
		{"/internal/rewrite", module + "/internal/keyname", ""},
		{"/internal/cli", module + "/internal/demo", ""},
		{"/internal/history", module + "/internal/redistest", ""},
		{"/classwaves/session", module + "/classwaves/csrf", ""},
		{"/classwaves/session", module, ""},
		{"/internal/resp", "net/http", "is pure and imports net/http"},
		{"/phase", "time", "is pure and imports time"},
		{"/internal/keyname", "sync/atomic", "is pure and imports sync/atomic"},
		{"/internal/rewrite", module + "/plan", `(rank 1) imports "plan" (rank 1)`},
		{"/internal/fleet", module + "/internal/control", "(rank 4)"},
		{"", module + "/internal/sweep", "(rank 3)"},
		{"/internal/sweep", module + "/internal/redistest", "for tests only"},
		{"/classwaves/session", module + "/internal/keyname", "no other application"},
		{"/classwaves/session", module + "/classwaves/internal/oldrelease", "for tests only"},
		{"/classwaves/internal/phasefleet", module + "/internal/sweep", ""},
		{"/rekeyprom", module + "/classwaves/session", "the reference application"},
		{"/internal/util", "fmt", "has no rank"},
	} {
		got := violations([]goPackage{{ImportPath: module + c.from, Imports: []string{c.imports}}})
		if c.want == "" && len(got) == 0 || c.want != "" && len(got) == 1 && strings.Contains(got[0], c.want) {
			continue
		}
		t.Errorf("%s imports %s: got %q, want %q", c.from, c.imports, got, c.want)
	}
	for _, dep := range []string{"github.com/spf13/cobra", "charm.land/bubbletea/v2", "github.com/prometheus/client_golang/prometheus", "modernc.org/sqlite"} {
		if got := violations([]goPackage{{ImportPath: module, Deps: []string{dep}}}); len(got) != 1 {
			t.Errorf("rekey links %s: got %q, want one violation", dep, got)
		}
	}
}
