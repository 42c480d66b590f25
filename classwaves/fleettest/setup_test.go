package fleettest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// built is where the programs are; see programs.
var built string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "fleettest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintf(os.Stderr, "after all tests: %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

// programs builds both programs, once.
var programs = sync.OnceValue(func() error {
	for _, name := range []string{"classwaves", "rekey"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(built, name), "./cmd/"+name)
		cmd.Dir = filepath.Join("..", "..")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return nil
})

func program(t *testing.T, name string) string {
	t.Helper()
	if err := programs(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(built, name)
}

// bareEnvironment is that of the programs: nothing of the test's own chooses a phase.
func bareEnvironment(more ...string) []string {
	out := []string{"GOMAXPROCS=2"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+v)
		}
	}
	return append(out, more...)
}

const (
	email    = "load-%d@example.org"
	password = "correct horse battery"
)

// addTeachers makes the accounts of the load, with the program.
func addTeachers(t *testing.T, database string, count int) {
	t.Helper()
	cmd := exec.Command(program(t, "classwaves"), "teacher", "add", "--database", database, "--count", fmt.Sprint(count), "--email", email)
	cmd.Env = bareEnvironment()
	cmd.Stdin = bytes.NewReader([]byte(password + "\n"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("add teachers: %v\n%s", err, out)
	}
}

// poll waits until cond holds; what says what is waited for.
func poll(within time.Duration, what string, cond func() (bool, error)) error {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := cond()
		switch {
		case ok:
			return nil
		case time.Now().After(deadline):
			return errors.Join(fmt.Errorf("%s: not within %v", what, within), err)
		}
		<-tick.C
	}
}
