package fleettest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// stepWithin is how long a process may take to obey its flags, on a busy machine.
const stepWithin = 30 * time.Second

// process is one server.
type process struct {
	n        int
	cmd      *exec.Cmd
	envFile  string
	settings map[string]string // of the env file
	log      string
	url      string
	killed   atomic.Bool // by the test
	exited   chan error
	client   *http.Client
}

// startProcess starts a server, and waits until it says where it is.
func startProcess(t *testing.T, n int, settings map[string]string, options ...string) *process {
	t.Helper()
	dir := t.TempDir()
	p := &process{
		n: n, envFile: filepath.Join(dir, "env"), settings: settings, log: filepath.Join(dir, "log"), exited: make(chan error, 1),
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	p.write(t)
	p.cmd = exec.Command(program(t, "classwaves"), append([]string{
		"--listen", "127.0.0.1:0", "--env-file", p.envFile, "--log", "json", "--trusted-proxy", "127.0.0.1/32",
	}, options...)...)
	p.cmd.Env = bareEnvironment()
	redistest.DieWithParent(p.cmd)
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the process has its own
	p.cmd.Stderr = log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	at := make(chan string)
	go func() {
		defer close(at)
		p.exited <- p.run(out, at)
	}()
	if p.url = <-at; p.url == "" {
		t.Fatalf("server %d does not start: %v\n%s", p.n, <-p.exited, p.tail())
	}
	t.Cleanup(func() { p.stop(t) })
	return p
}

// run starts the process and says where it is, until its end, on one thread; see DieWithParent.
func (p *process) run(out io.Reader, at chan<- string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, url, ok := strings.Cut(lines.Text(), " is at "); ok {
			at <- url
		}
	}
	return p.cmd.Wait()
}

// write writes the env file. It replaces the file, so that no half of it is read.
func (p *process) write(t *testing.T) {
	t.Helper()
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p.settings)) {
		fmt.Fprintf(&text, "%s='%s'\n", name, p.settings[name])
	}
	next := p.envFile + ".next"
	if err := os.WriteFile(next, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, p.envFile); err != nil {
		t.Fatal(err)
	}
}

// host is where it listens.
func (p *process) host() string { return strings.TrimPrefix(p.url, "http://") }

// kill ends the server as kill -9 or the loss of its machine does.
func (p *process) kill(t *testing.T) {
	t.Helper()
	p.killed.Store(true) // before: whatever breaks off from now on does so because of this
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatalf("kill server %d: %v", p.n, err)
	}
	<-p.exited
}

// reached waits until every rule is in the phase that want gives it.
func (p *process) reached(plan *plan.Plan, want func(plan.Rule) phase.Phase) error {
	return poll(stepWithin, "every rule is in its phase", func() (bool, error) {
		m, err := p.metrics()
		if err != nil {
			return false, err
		}
		for _, r := range plan.Rules {
			if m.Phases[r.Name] != want(r).String() {
				return false, fmt.Errorf("rule %s is in %s", r.Name, m.Phases[r.Name])
			}
		}
		return true, nil
	})
}

// cacheMetrics is what GET /metrics/cache shows.
type cacheMetrics struct {
	LegacyFallbacks map[string]uint64 `json:"legacyFallbacks"`
	Phases          map[string]string `json:"phases"`
}

func (p *process) metrics() (m cacheMetrics, err error) {
	return m, p.get("/metrics/cache", func(r *http.Response) error { return json.NewDecoder(r.Body).Decode(&m) })
}

func (p *process) get(path string, read func(*http.Response) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return err
	}
	response, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return read(response)
}

// stop ends the server in order, which must end it well.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if !p.killed.Load() && p.cmd.Process.Signal(syscall.SIGTERM) == nil {
		select {
		case err := <-p.exited:
			if err != nil {
				t.Errorf("server %d ended with %v:\n%s", p.n, err, p.tail())
			}
		case <-time.After(20 * time.Second):
			_ = p.cmd.Process.Kill() // it has ended meanwhile
			t.Errorf("server %d does not stop:\n%s", p.n, p.tail())
		}
	}
	if t.Failed() {
		t.Logf("server %d said:\n%s", p.n, p.tail())
	}
}

// tail is the end of the server's log, without its requests.
func (p *process) tail() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if !strings.Contains(line, `"msg":"request"`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-30):], "")
}
