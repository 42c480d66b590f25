//go:build postgres

package fleettest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/classwaves/rekey/phase"
)

// stepWithin is how long a process may take to obey its flags, on a busy machine.
const stepWithin = 30 * time.Second

// process is one server.
type process struct {
	n       int
	cmd     *exec.Cmd
	envFile string
	log     string
	url     string
	base    map[string]string // of the env file, beside the flags
	exited  chan error
	client  *http.Client
}

// startProcess starts a server at a stage.
func (f *fleet) startProcess(at stage) *process {
	t := f.t
	t.Helper()
	dir := t.TempDir()
	p := &process{
		n: len(f.processes), envFile: filepath.Join(dir, "env"), log: filepath.Join(dir, "log"), exited: make(chan error, 1),
		base: map[string]string{
			"CW_ENV": environment, "CW_SESSION_KEYS": f.sessionKey, "CW_CACHE_EPOCHS_ENABLED": "1",
			"CW_REDIS_URL": f.redis.URL(), "CW_DATABASE_URL": f.database,
		},
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	if f.gated {
		p.base[phase.CacheGated] = "1"
	}
	p.write(t, at)
	args := []string{"--listen", "127.0.0.1:0", "--env-file", p.envFile, "--log", "json", "--trusted-proxy", "127.0.0.1/32"}
	for _, l := range f.limits {
		args = append(args, "--limit", l)
	}
	p.cmd = exec.Command(program(t, "classwaves"), args...)
	p.cmd.Env = bareEnvironment()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
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
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for p.url == "" && lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), " is at "); ok {
			p.url = url
		}
	}
	go func() {
		for lines.Scan() {
		}
		p.exited <- p.cmd.Wait()
	}()
	t.Cleanup(func() { p.stop(t) })
	if p.url == "" {
		t.Fatalf("server %d does not start:\n%s", p.n, p.tail())
	}
	return p
}

// write writes the env file for a stage. It replaces the file, so that no half of it is read.
func (p *process) write(t *testing.T, at stage) {
	t.Helper()
	values := maps.Clone(p.base)
	for _, set := range []struct {
		flags phase.Flags
		phase phase.Phase
	}{{phase.FlagsCache, at.cache}, {phase.FlagsRL, at.limiter}} {
		settings, err := phase.ToFlags(set.flags, set.phase)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range settings {
			if !s.Unset {
				values[s.Name] = s.Value
			}
		}
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&text, "%s='%s'\n", name, values[name])
	}
	next := p.envFile + ".next"
	if err := os.WriteFile(next, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, p.envFile); err != nil {
		t.Fatal(err)
	}
}

// enter takes the process to a stage by its flags, and waits until it is there.
func (p *process) enter(t *testing.T, f *fleet, at stage) {
	t.Helper()
	p.write(t, at)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := p.reached(f, at); err != nil {
		t.Fatalf("server %d: %v\n%s", p.n, err, p.tail())
	}
}

// held gives the process flags whose gate is not proven: it says so and stays where it is. It follows
// when the gate is proven.
func (p *process) held(t *testing.T, f *fleet, at, to stage) {
	t.Helper()
	before := f.metric("rekey_held_total")
	p.write(t, to)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	err := poll(stepWithin, "be held by a gate", func() (bool, error) { return f.metric("rekey_held_total") > before, nil })
	if err != nil {
		t.Fatalf("server %d: %v\n%s", p.n, err, p.tail())
	}
	m, err := p.metrics()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range f.plan.Rules {
		// The limiter's step has no gate.
		if got, want := m.Phases[r.Name], at.cache.String(); r.Strategy == phase.Mirror && got != want {
			t.Errorf("server %d: rule %s is in %s without its gate's proof, want %s", p.n, r.Name, got, want)
		}
	}
}

// reached waits until every rule of the process is in its phase.
func (p *process) reached(f *fleet, at stage) error {
	return poll(stepWithin, fmt.Sprintf("go to %v", at), func() (bool, error) {
		m, err := p.metrics()
		if err != nil {
			return false, err
		}
		for _, r := range f.plan.Rules {
			if m.Phases[r.Name] != at.of(r.Strategy).String() {
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
	if p.cmd.Process.Signal(syscall.SIGTERM) == nil {
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
