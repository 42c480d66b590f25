package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// proxyProcess is a `rekey proxy` in a process of its own.
type proxyProcess struct {
	t      testing.TB
	cmd    *exec.Cmd
	addr   string
	exited chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

// startProxy starts one on a free port and waits until it listens.
func startProxy(t testing.TB, args ...string) *proxyProcess {
	t.Helper()
	return startProxyOf(t, os.Args[0], args...)
}

// startProxyOf starts one of a program: the test's binary, or one that was built as it is delivered.
func startProxyOf(t testing.TB, program string, args ...string) *proxyProcess {
	t.Helper()
	p := &proxyProcess{t: t, exited: make(chan struct{})}
	p.cmd = exec.Command(program, append([]string{"proxy", "--listen", "127.0.0.1:0"}, args...)...)
	p.cmd.Env = append(os.Environ(), asProgram+"=1", "GOCOVERDIR="+t.TempDir())
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listening := make(chan string, 1)
	go func() {
		defer close(p.exited)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.mu.Lock()
			p.log.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
			var line struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
				listening <- line.Address
			}
		}
		_ = p.cmd.Wait() // its state tells
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); <-p.exited })
	select {
	case p.addr = <-listening:
	case <-p.exited:
		t.Fatalf("the proxy ended: %s", p.said())
	case <-time.After(20 * time.Second):
		t.Fatalf("the proxy does not listen: %s", p.said())
	}
	return p
}

func (p *proxyProcess) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *proxyProcess) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// ends waits for the end and gives the exit code, -1 after a signal.
func (p *proxyProcess) ends() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(40 * time.Second):
		p.t.Fatalf("the proxy does not end: %s", p.said())
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *proxyProcess) client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: p.addr, MaxRetries: -1, ContextTimeoutEnabled: true})
	p.t.Cleanup(func() { _ = c.Close() }) // a test may have closed it
	return c
}

// TestProxyInTheFleet walks two proxies under the traffic of clients that know nothing of it, there and
// back, unattended, with every reply checked.
func TestProxyInTheFleet(t *testing.T) {
	w := newWalked(t, 0)
	w.count = make([]int64, 2)
	ctx, stop := context.WithCancel(t.Context())
	for n := range w.count {
		p := startProxy(t, "-f", w.path, "--name", fmt.Sprintf("proxy-%d", n+1))
		c := p.client()
		w.work.Go(func() {
			if err := errors.Join(w.traffic(ctx, c, n), c.Close()); err != nil {
				t.Errorf("proxy-%d: %v", n+1, err)
			}
			p.signal(syscall.SIGTERM)
			if code := p.ends(); code != exitDone {
				t.Errorf("proxy-%d: exit code %d: %s", n+1, code, p.said())
			}
		})
	}
	t.Cleanup(func() { stop(); w.work.Wait() })
	w.run(exitDone, "run", "--yes")
	if got := w.run(exitDone, "status").stdout; !strings.Contains(got, "proxy-1") || !strings.Contains(got, "proxy-2") {
		t.Errorf("the proxies are not in the fleet:\n%s", got)
	}
	w.run(exitDone, "rollback")
	stop()
	w.work.Wait()
	w.keysAre("", "nowhere:") // target names are left for a purge
}

// TestProxySignals: SIGHUP reads certificates, flags and the access log's name again; SIGTERM answers
// what was read and ends with exit code 0.
func TestProxySignals(t *testing.T) {
	server := redistest.Start(t)
	dir := t.TempDir()
	flags, access := filepath.Join(dir, "flags"), filepath.Join(dir, "access.log")
	write := func(text string) {
		if err := os.WriteFile(flags, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("CW_CACHE_DUAL_WRITE=0\n")
	file := planFile(t, fmt.Sprintf(walkPlan, server.URL()))
	p := startProxy(t, "-f", file, "--phases", "flags", "--flags-file", flags, "--access-log", access)
	c := p.client()
	if err := c.Set(t.Context(), "secure_session:1", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	bare := server.Client()
	bare.Set(t.Context(), "cw:prod:secure_session:1", "stale", 0)
	write("CW_CACHE_DUAL_WRITE=1\n") // guard
	if err := os.Rename(access, access+".1"); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	redistest.WaitFor(t, 20*time.Second, func() bool { return strings.Contains(p.said(), `"msg":"reloaded"`) })
	if err := c.Set(t.Context(), "secure_session:1", "y", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n := bare.Exists(t.Context(), "cw:prod:secure_session:1").Val(); n != 0 {
		t.Error("the flags were not read again")
	}
	if err := os.WriteFile(file, []byte(strings.Replace(fmt.Sprintf(walkPlan, server.URL()), "rl:{name}", "rate:{name}", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	redistest.WaitFor(t, 20*time.Second, func() bool { return strings.Contains(p.said(), "takes a restart of the proxy: rules") })

	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	const n = 5000
	if _, err := io.WriteString(conn, strings.Repeat("INCR secure_session:n\r\n", n)); err != nil {
		t.Fatal(err)
	}
	redistest.WaitFor(t, 20*time.Second, func() bool { return bare.Exists(t.Context(), "secure_session:n").Val() == 1 })
	p.signal(syscall.SIGTERM)
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Error(err)
	}
	if err := errors.Join(conn.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	if ran := bare.Get(t.Context(), "secure_session:n").Val(); ran != fmt.Sprint(bytes.Count(got, []byte("\r\n"))) {
		t.Errorf("%s commands ran, %d were answered", ran, bytes.Count(got, []byte("\r\n")))
	}
	if code := p.ends(); code != exitDone {
		t.Errorf("exit code %d: %s", code, p.said())
	}
	if text, err := os.ReadFile(access); err != nil || !strings.Contains(string(text), `"msg":"client left"`) {
		t.Errorf("the access log of now: %q, %v", text, err)
	}
}

// TestProxyCheck: what is wrong is found before anything listens, with the exit code of its kind.
func TestProxyCheck(t *testing.T) {
	server := redistest.Shared(t)
	file := planFile(t, fmt.Sprintf(walkPlan, server.URL()))
	secure := planFile(t, strings.Replace(fmt.Sprintf(walkPlan, "rediss://127.0.0.1:1"), "}\n", ", tls: {ca: /nowhere}}\n", 1))
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--check", exitDone, "The server answers. Clients would be served on 127.0.0.1:6380, with shared connections to the server."},
		{"--check --upstreams own", exitDone, "with own connections to the server."},
		{"--check --upstreams some", exitUsage, "--upstreams shared or --upstreams own"},
		{"--check --listen 0.0.0.0:6380", exitUsage, "without TLS only loopback"},
		{"--check --listen 0.0.0.0:6380 --plaintext", exitDone, "The server answers"},
		{"--check --listen 0.0.0.0:6380 --tls-cert no --tls-key no", exitUsage, "read the proxy's certificate"},
		{"--check --listen nowhere", exitUsage, `the address "nowhere" is none`},
		{"--check --admin 0.0.0.0:9121", exitUsage, "wants a token"},
		{"--check --phases middling", exitUsage, "--phases middling"},
		{"--check --phases dual --flags-file x", exitUsage, "goes with --phases flags"},
		{"--check --socket-mode abc", exitUsage, "is no mode"},
		{"--check --drain 0", exitUsage, "--drain is out of range"},
		{"--check --max-clients 0", exitUsage, "--max-clients is out of range"},
		{"--check --max-request -1", exitUsage, "--max-request is out of range"},
		{"--check --max-memory 0", exitUsage, "--max-memory is out of range"},
		{"--check --unfinished 0", exitUsage, "--unfinished is out of range"},
		{"--check --slow 0", exitUsage, "--slow is out of range"},
		{"--check --idle -1s", exitUsage, "--idle is out of range"},
		{"--check --idle 0", exitDone, "The server answers"},
		{"--phases legacy --listen unix:/nowhere/x.sock", exitFailed, "Try: --listen with another address"},
		{"--phases legacy --listen unix:/", exitFailed, "Try: --listen with another address"},
		{"--phases legacy --listen 127.0.0.1:99999", exitFailed, "Try: --listen with another address"},
		{"--phases legacy --listen 127.0.0.1:0 --admin 127.0.0.1:99999", exitFailed, "Try: --admin with another address"},
		{"--phases legacy --redis rediss://127.0.0.1:1 -f " + secure, exitUsage, "read the certificate authority"},
		{"--check --redis redis://127.0.0.1:1", exitFailed, "connection refused"},
		{"--listen 127.0.0.1:0 --redis redis://127.0.0.1:1", exitFailed, "connection refused"},
	} {
		run := runCLI(t, nil, append([]string{"proxy", "-f", file}, strings.Fields(c.args)...)...)
		if out := run.stdout + run.stderr; run.code != c.code || !strings.Contains(out, c.want) || run.code != exitDone && !strings.Contains(out, "Try: ") {
			t.Errorf("%s: exit code %d, want %d, and %q in\n%s", c.args, run.code, c.code, c.want, out)
		}
	}
	o := objects(t, mustExit(t, exitDone, runCLI(t, nil, "proxy", "-f", file, "--check", "--json")).stdout)
	if len(o) != 1 || o[0]["type"] != "check" {
		t.Errorf("got %v", o)
	}
	var planned *plan.Error
	if _, err := plan.Parse("x", []byte("version: 2"), os.LookupEnv); !errors.As(err, &planned) {
		t.Fatal(err)
	}
	if run := runCLI(t, nil, "proxy", "-f", planFile(t, "version: 2")); run.code != exitUsage {
		t.Errorf("a broken plan: exit code %d", run.code)
	}
}

// What `rekey flags` prints for a shell is a flags file, also where it unsets what was set.
func TestFlagsFile(t *testing.T) {
	server := redistest.Shared(t)
	path, file := planFile(t, cliPlan), filepath.Join(t.TempDir(), "flags")
	for _, set := range flagSets {
		strategy, _ := set.Strategy()
		before := ""
		for _, p := range phase.Of(strategy) {
			text := mustExit(t, exitDone, runCLI(t, nil, "flags", "--set", set.String(), "--phase", p.String())).stdout
			for _, text := range []string{text, before + text} {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				mustExit(t, exitDone, runCLI(t, nil, "proxy", "--check", "--phases", "flags", "--flags-file", file, "-f", path, "--redis", server.URL()))
				flags, err := openFlags(file)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := phase.FromFlags(set, flags.lookup); got != p || err != nil {
					t.Errorf("%s: got %v, %v from\n%s", p, got, err, text)
				}
			}
			before = text
		}
	}
}

// TestFlagsFileCutShort: a file that is read while it is written, or chooses no phase, takes nobody back to the legacy
// names, and what stands in it counts from the signal on.
func TestFlagsFileCutShort(t *testing.T) {
	server := redistest.Start(t)
	flags := filepath.Join(t.TempDir(), "flags")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(flags, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const settled = "CW_CACHE_PREFIX_ENABLED=1\nCW_CACHE_DUAL_WRITE=1\nCW_CACHE_LEGACY_READ=0\nCW_RL_PREFIX_ENABLED=1\n"
	write(settled)
	p := startProxy(t, "-f", planFile(t, fmt.Sprintf(walkPlan, server.URL())), "--phases", "flags", "--flags-file", flags)
	c, bare := p.client(), server.Client()
	defer func() { _ = c.Close() }()
	both := func() bool {
		t.Helper()
		bare.FlushAll(t.Context())
		if err := c.Set(t.Context(), "secure_session:1", "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
		return bare.Exists(t.Context(), "secure_session:1", "cw:prod:secure_session:1").Val() == 2
	}
	reloads := func() int { return strings.Count(p.said(), `"msg":"reload`) }
	for _, text := range []string{"", "CW_CACHE_PREFIX_ENABLED=1\n", "CW_RL_PREFIX_ENABLED=1\nCW_CACHE_PREFIX_ENABLED=0\n", strings.Replace(settled, "READ=0", "READ=7", 1)} {
		write(text)
		before := reloads()
		p.signal(syscall.SIGHUP)
		redistest.WaitFor(t, 20*time.Second, func() bool { return reloads() > before })
		if !both() {
			t.Fatalf("%q takes the process out of settled: %s", text, p.said())
		}
	}
	write("unset CW_CACHE_PREFIX_ENABLED\nunset CW_CACHE_DUAL_WRITE\nunset CW_RL_PREFIX_ENABLED\n")
	p.signal(syscall.SIGHUP)
	redistest.WaitFor(t, 20*time.Second, func() bool { return !both() })
}

// TestFlagsFileIsOneState: a file of flags counts as it was when it was read, not as it is.
func TestFlagsFileIsOneState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flags")
	if err := os.WriteFile(path, []byte("CW_CACHE_PREFIX_ENABLED=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags, err := openFlags(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if v, named := flags.lookup("CW_CACHE_PREFIX_ENABLED"); v != "1" || !named {
		t.Errorf("the flag is %q now", v)
	}
}

// TestProxyIsReady: a service manager that waits for it hears when clients can come, and not before.
func TestProxyIsReady(t *testing.T) {
	server := redistest.Shared(t)
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }() // it was read
	t.Setenv("NOTIFY_SOCKET", path)
	file := planFile(t, fmt.Sprintf(walkPlan, server.URL()))
	if run := runCLI(t, map[string]string{"NOTIFY_SOCKET": path}, "proxy", "-f", file, "--redis", "redis://127.0.0.1:1", "--listen", "127.0.0.1:0"); run.code != exitFailed {
		t.Fatalf("without a server: exit code %d", run.code)
	}
	startProxy(t, "-f", file, "--phases", "legacy")
	if err := socket.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 100)
	n, err := socket.Read(said)
	if string(said[:n]) != "READY=1" || err != nil {
		t.Errorf("it says %q, %v", said[:n], err)
	}
	_ = socket.SetReadDeadline(time.Now()) // what came is there
	if n, err := socket.Read(said); err == nil {
		t.Errorf("and also %q", said[:n])
	}
}

// TestProxyRefusesACluster: a node of a cluster is found before clients are, and said by its name.
func TestProxyRefusesACluster(t *testing.T) {
	server := redistest.Start(t, redistest.WithConfig("cluster-enabled yes"))
	file := planFile(t, fmt.Sprintf(walkPlan, server.URL()))
	commands := []string{"proxy --check", "proxy --listen 127.0.0.1:0", "proxy --phases dual --listen 127.0.0.1:0", "proxy --phases flags --listen 127.0.0.1:0", "status"}
	look := func(state string) {
		t.Helper()
		for _, args := range commands {
			run := runCLI(t, nil, append(strings.Fields(args), "-f", file)...)
			if run.code != exitFailed || !strings.Contains(run.stderr, "a cluster is not supported yet") {
				t.Errorf("%s, %s: exit code %d, %s%s", state, args, run.code, run.stdout, run.stderr)
			}
		}
	}
	look("no slots")
	c := server.Client()
	if err := c.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	redistest.WaitFor(t, 20*time.Second, func() bool { return strings.Contains(c.ClusterInfo(t.Context()).Val(), "cluster_state:ok") })
	look("all slots")
}
