package rekey_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/plan"
)

const version = "1.4.2"

// serve is a service of a fleet, from its start to its end.
func serve(ctx context.Context, addr string) error {
	p, err := plan.Load("rekey.yaml")
	if err != nil {
		return err
	}
	r, err := rekey.Open(ctx, p, rekey.WithFleet(rekey.FleetConfig{Name: "classroom", Version: version}))
	if err != nil {
		return err // it is not in the fleet, and has sent nothing
	}
	defer func() { _ = r.Close() }()
	rdb := redis.NewClient(&redis.Options{Addr: addr, Dialer: r.Dialer(nil)})
	defer func() { _ = rdb.Close() }()

	fmt.Println(rdb.Set(ctx, "secure_session:a", "alice", 0).Val(), rdb.Get(ctx, "secure_session:a").Val(), r.Phases()["sessions"])
	return nil
}

// The lines that a Go service adds: they are those of serve.
func ExampleWithFleet_service() {
	server := exampleServer()
	defer server.Close()
	text := `
version: 1
environment: prod
server: {url: "redis://` + server.Addr() + `"}
rules:
  - {name: sessions, legacy: "secure_session:{id}", target: "cw:{env}:secure_session:{id}"}
`
	leave := inTemporaryDirectory(text)
	defer leave()
	if err := serve(context.Background(), server.Addr()); err != nil {
		panic(err)
	}
	// Output: OK alice legacy
}

// inTemporaryDirectory goes to a directory with a plan in it.
func inTemporaryDirectory(text string) (leave func()) {
	before, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "rekey")
	if err != nil {
		panic(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rekey.yaml"), []byte(text), 0o600); err != nil {
		panic(err)
	}
	if err := os.Chdir(dir); err != nil {
		panic(err)
	}
	return func() {
		_ = os.Chdir(before)  // it was there a moment ago
		_ = os.RemoveAll(dir) // the system's temporary files are not ours to worry about
	}
}

// The lines of docs/fleet.md are those that are run here.
func TestDocumentedService(t *testing.T) {
	text, err := os.ReadFile("docs/fleet.md")
	must(t, err)
	_, rest, _ := strings.Cut(string(text), "```go\n")
	block, _, found := strings.Cut(rest, "```\n")
	source, err := os.ReadFile("example_fleet_test.go")
	must(t, err)
	if !found || !strings.Contains(string(source), "error {\n"+block) {
		t.Errorf("docs/fleet.md says what is not run:\n%s", block)
	}
}
