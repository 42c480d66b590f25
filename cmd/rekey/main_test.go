package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
)

// asProgram makes the test's binary the program itself.
const asProgram = "REKEY_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	redistest.Main(m)
}

const testPlan = `version: 1
environment: prod
rules:
  - {name: sessions, legacy: "secure_session:{id}", target: "cw:{env}:secure_session:{id}"}
`

// unread runs the program with a standard output that nobody reads any more, as in `rekey run | head`.
func unread(t *testing.T, server *redistest.Server, args ...string) (stderr string, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rekey.yaml")
	if err := os.WriteFile(path, []byte(testPlan), 0o600); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }() // the program has its own
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0], append(args, "-f", path, "--redis", server.URL())...)
	c.Env = append(os.Environ(), asProgram+"=1", "GOCOVERDIR="+t.TempDir())
	c.Stdout, c.Stderr = w, &said
	err = c.Run()
	return said.String(), err
}

// What a command does to the server is done whether or not anybody reads of it.
func TestNobodyReads(t *testing.T) {
	for _, args := range [][]string{{"backfill", "sessions", "--assume-phase", "dual"}, {"backfill", "sessions", "--assume-phase", "dual", "--json"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			server := redistest.Shared(t)
			c := server.Client()
			for i := range 100 {
				if err := c.Set(t.Context(), fmt.Sprintf("secure_session:%d", i), i, 0).Err(); err != nil {
					t.Fatal(err)
				}
			}
			if stderr, err := unread(t, server, args...); err != nil || strings.Contains(stderr, "rekey: ") {
				t.Errorf("it ended with %v\n%s", err, stderr)
			}
			if got := c.Get(t.Context(), "cw:prod:secure_session:99").Val(); got != "99" {
				t.Errorf("the last copy is %q", got)
			}
			if record := c.Get(t.Context(), "rekey:prod:sweep:backfill:sessions").Val(); !strings.Contains(record, `"verdict"`) {
				t.Errorf("no verdict in %q", record)
			}
		})
	}
}

// What does nothing but tell ends when nobody reads.
func TestNobodyWatches(t *testing.T) {
	for _, args := range [][]string{{"status", "--watch", "--every", "100ms"}, {"status", "--watch", "--every", "100ms", "--json"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			if stderr, err := unread(t, redistest.Shared(t), args...); err != nil {
				t.Errorf("it ended with %v\n%s", err, stderr)
			}
		})
	}
}
