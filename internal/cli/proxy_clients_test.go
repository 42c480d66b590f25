//go:build clients

package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

const clientsPlan = `version: 1
environment: prod
control_prefix: "cw:{env}:rekey:"
server: {url: "%s"}
fleet: {lease: 5s, renew: 500ms, margin: 1s}
soak: 200ms
rules:
  - {name: mirror, legacy: "mi:{id...}", target: "cw:{env}:mi:{id...}", strategy: mirror}
  - {name: move, legacy: "mo:{id...}", target: "cw:{env}:mo:{id...}", strategy: move}
`

// foreign is a program of testdata/clients that works in rounds.
type foreign struct {
	name   string
	rounds atomic.Int64
	in     io.Closer
	cmd    *exec.Cmd
	ended  chan struct{}
	said   strings.Builder // after its end
}

// foreignPrograms are the clients by the name of their library: the interpreter and the program.
var foreignPrograms = map[string][]string{
	"ioredis":               {"node", "node/ioredis.js"},
	"node-redis":            {"node", "node/redis.js"},
	"rate-limiter-flexible": {"node", "node/limiter.js"},
	"connect-redis":         {"node", "node/session.js"},
	"bullmq":                {"node", "node/bullmq.js"},
	"python3-redis":         {"/usr/bin/python3", "round.py"},
	"ruby-redis":            {"ruby", "round.rb"},
	"php-redis":             {"php", "phpredis.php"},
	"php-predis":            {"php", "predis.php"},
	"libredis-perl":         {"perl", "round.pl"},
}

// startForeign runs a program over two proxies.
func startForeign(t *testing.T, dir, name string, addrs [2]string) *foreign {
	t.Helper()
	command := foreignPrograms[name]
	f := &foreign{name: name, ended: make(chan struct{})}
	f.cmd = exec.Command(command[0], filepath.Join(dir, command[1]), addrs[0], addrs[1], name)
	f.cmd.Stderr = &f.said
	in, err := f.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	f.in = in
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		t.Fatalf("%s: %v: make languages and make node install what it needs", name, err)
	}
	go func() {
		defer close(f.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			f.rounds.Add(1)
		}
		_ = f.cmd.Wait() // its state tells
	}()
	t.Cleanup(func() { _ = f.cmd.Process.Kill(); <-f.ended })
	return f
}

// another waits for rounds that began after the call.
func (f *foreign) another(t *testing.T, where string) {
	t.Helper()
	before := f.rounds.Load()
	redistest.WaitFor(t, 60*time.Second, func() bool {
		select {
		case <-f.ended:
			t.Fatalf("%s, %s: it ended with %v behind round %d\n%s", f.name, where, f.cmd.ProcessState, f.rounds.Load(), f.said.String())
		default:
		}
		return f.rounds.Load() >= before+2
	})
}

// finish ends the program in order.
func (f *foreign) finish(t *testing.T) {
	t.Helper()
	_ = f.in.Close() // the program may have ended
	select {
	case <-f.ended:
	case <-time.After(60 * time.Second):
		t.Fatalf("%s does not end", f.name)
	}
	if code := f.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("%s ended with %d\n%s", f.name, code, f.said.String())
	}
	t.Logf("%s: %d rounds", f.name, f.rounds.Load())
}

// foreignFolder is a folder with the programs, and with the packages that they want.
func foreignFolder(t *testing.T) string {
	t.Helper()
	fetch := exec.Command("../../scripts/get-node-clients")
	fetch.Stderr = t.Output()
	folders, err := fetch.Output()
	if err != nil {
		t.Fatalf("scripts/get-node-clients: %v", err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../proxy/testdata/clients")); err != nil {
		t.Fatal(err)
	}
	for folder := range strings.Lines(string(folders)) {
		if folder = strings.TrimSpace(folder); filepath.Base(folder) == "proxy" {
			if err := os.Symlink(filepath.Join(folder, "node_modules"), filepath.Join(dir, "node", "node_modules")); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// TestForeignClients: every client works through two proxies in every phase of both strategies, through each
// step there and back, and every one of its replies is what it must be. It is a client of its own library, and
// knows of nothing.
func TestForeignClients(t *testing.T) {
	server := redistest.Start(t)
	text := fmt.Sprintf(clientsPlan, server.URL())
	b := &bench{t, server, server.Client(), planFile(t, text)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.c.Close()) // whoever is not in the fleet's records is a stranger
	var proxies [2]*proxyProcess
	var addrs [2]string
	for i := range proxies {
		proxies[i] = startProxy(t, "-f", b.path, "--name", fmt.Sprintf("proxy-%d", i+1))
		addrs[i] = proxies[i].addr
	}
	dir := foreignFolder(t)
	var programs []*foreign
	for name := range foreignPrograms {
		programs = append(programs, startForeign(t, dir, name, addrs))
	}
	work := func(where string) {
		t.Helper()
		for _, f := range programs {
			f.another(t, where)
		}
	}
	work("legacy")
	for _, rule := range []struct {
		name     string
		strategy phase.Strategy
	}{{"mirror", phase.Mirror}, {"move", phase.Relocate}} {
		walk := phase.Walk(rule.strategy)
		for _, p := range walk[1:] {
			b.run(exitDone, "run", rule.name, "--until", p.String(), "--yes")
			work(p.String())
		}
		for i := len(walk) - 2; i >= 0; i-- {
			b.run(exitDone, "rollback", rule.name, "--to", walk[i].String())
			work("back in " + walk[i].String())
		}
	}
	for _, f := range programs {
		f.finish(t)
	}
	for _, p := range proxies {
		p.signal(syscall.SIGTERM)
		if code := p.ends(); code != exitDone {
			t.Errorf("exit code %d: %s", code, p.said())
		}
	}
}

// TestForeignClientsNotice: the programs can fail. Two proxies in phases that may not stand side by side make
// each of them end with an error.
func TestForeignClientsNotice(t *testing.T) {
	server := redistest.Start(t)
	file := planFile(t, fmt.Sprintf(clientsPlan, server.URL()))
	var addrs [2]string
	for i, p := range []string{"legacy", "prefixed"} {
		addrs[i] = startProxy(t, "-f", file, "--phases", p).addr
	}
	dir := foreignFolder(t)
	for name := range foreignPrograms {
		if name == "bullmq" { // its keys belong to no rule
			continue
		}
		f := startForeign(t, dir, name, addrs)
		select {
		case <-f.ended:
		case <-time.After(60 * time.Second):
			t.Fatalf("%s goes on", name)
		}
		if f.cmd.ProcessState.ExitCode() == 0 || f.rounds.Load() > 0 {
			t.Errorf("%s noticed nothing", name)
		}
	}
}

// TestRedisTools: redis-cli and redis-benchmark through the proxy, in every phase, with a rule that catches
// all keys.
func TestRedisTools(t *testing.T) {
	server := redistest.Start(t)
	for _, s := range []phase.Strategy{phase.Mirror, phase.Relocate} {
		for _, p := range phase.Of(s) {
			t.Run(fmt.Sprintf("%v/%v", s, p), func(t *testing.T) {
				server.Conn().Do("FLUSHALL")
				file := planFile(t, fmt.Sprintf(`version: 1
environment: prod
server: {url: "%s", evicts: false}
rules:
  - {name: all, legacy: "{key...}", target: "cw:{env}:{key...}", strategy: %v}
`, server.URL(), s))
				addr := startProxy(t, "-f", file, "--phases", p.String()).addr
				_, port, _ := strings.Cut(addr, ":")
				tool := func(stdin, name string, args ...string) string {
					t.Helper()
					cmd := exec.Command(name, append([]string{"-h", "127.0.0.1", "-p", port}, args...)...)
					cmd.Stdin = strings.NewReader(stdin)
					out, err := cmd.CombinedOutput()
					if err != nil || strings.Contains(strings.ToLower(string(out)), "err") && !strings.Contains(string(out), "errors: 0") {
						t.Errorf("%s %v: %v\n%s", name, args, err, out)
					}
					return string(out)
				}
				for _, c := range []struct{ stdin, args, want string }{
					{"", "SET k v", "OK"},
					{"SET k2 v2\nGET k2\nMULTI\nINCR n\nGET n\nEXEC\n", "", "OK\nv2\nOK\nQUEUED\nQUEUED\n1\n1"},
					{"", "-3 HSET h a 1 b 2", "2"},
					{"", "-3 HGETALL h", "a 1\nb 2"},
					{"SET p1 1\r\nSET p2 2\r\nSET p3 3\r\n", "--pipe", "All data transferred. Waiting for the last reply...\nLast reply received from server.\nerrors: 0, replies: 3"},
					{"", "MGET k k2 p1 p2 p3", "v\nv2\n1\n2\n3"},
					{"", "-r 3 INCR r", "1\n2\n3"},
					{"", "DEL k k2 n h p1 p2 p3 r", "8"},
					{"", "--scan", ""},
				} {
					if got := strings.TrimSpace(tool(c.stdin, "redis-cli", strings.Fields(c.args)...)); got != c.want {
						t.Errorf("redis-cli %s %q: got %q, want %q", c.args, c.stdin, got, c.want)
					}
				}
				for _, pipeline := range []string{"1", "16"} {
					out := tool("", "redis-benchmark", "-n", "2000", "-c", "20", "-r", "100", "-P", pipeline, "-q", "-t",
						"ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,mset")
					if n := strings.Count(out, "requests per second"); n < 15 {
						t.Errorf("redis-benchmark -P %s: %d results\n%s", pipeline, n, out)
					}
				}
			})
		}
	}
}
