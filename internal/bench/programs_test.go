package bench

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// run is what redis-benchmark says of one run: commands a second, and milliseconds until a reply.
type run struct{ perSecond, p50, p99 float64 }

func (r run) throughput() float64 { return r.perSecond }
func (r run) median() float64     { return r.p50 }
func (r run) tail() float64       { return r.p99 }

// redisBenchmark runs Redis's own tool, with keys of the plan's rule: those of its tests would be of none.
func redisBenchmark(b *testing.B, w way, l load, command string) run {
	b.Helper()
	host, port, err := net.SplitHostPort(w.addr)
	if err != nil {
		b.Fatal(err)
	}
	args := []string{"-h", host, "-p", port, "-c", strconv.Itoa(l.clients), "-P", strconv.Itoa(l.pipeline),
		"-n", strconv.Itoa(l.requests), "-r", strconv.Itoa(keys), "--csv", command, w.keys + ":session:__rand_int__"}
	if command == "SET" {
		args = append(args, value)
	}
	out, err := exec.CommandContext(b.Context(), "redis-benchmark", args...).Output()
	if err != nil {
		b.Fatalf("redis-benchmark %s, %s: %v\n%s", l, w.name, err, out)
	}
	for line := range strings.Lines(string(out)) {
		fields, err := csv.NewReader(strings.NewReader(line)).Read()
		if err != nil || len(fields) != 8 || fields[1] == "rps" {
			continue // a warning about CONFIG, which nutcracker does not know, or the head
		}
		number := func(i int) float64 {
			f, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				b.Fatalf("redis-benchmark, column %d of %q: %v", i, line, err)
			}
			return f
		}
		return run{perSecond: number(1), p50: number(4), p99: number(6)}
	}
	b.Fatalf("redis-benchmark %s, %s: no figures in\n%s", l, w.name, out)
	return run{}
}

// buildRekey builds the program.
func buildRekey(b testing.TB) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "rekey")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", path, "github.com/classwaves/rekey/cmd/rekey").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// startProxy starts the program's proxy, pinned to a phase, until the end of the benchmark.
func startProxy(b testing.TB, program, url string, ph phase.Phase, args ...string) way {
	b.Helper()
	w := way{name: ph.String(), keys: ph.String()}
	file := filepath.Join(b.TempDir(), "rekey.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, proxyPlan, url, w.keys), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"proxy", "-f", file, "--phases", ph.String(), "--listen", "127.0.0.1:0"}, args...)...)
	said := &output{}
	cmd.Stderr = said
	w.pid = spawn(b, cmd)
	redistest.WaitFor(b, 20*time.Second, func() bool {
		w.addr = said.listening()
		return w.addr != ""
	})
	return w
}

// output is what a proxy logs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// listening is the address that it listens on, "" if it does not yet.
func (o *output) listening() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for line := range bytes.Lines(o.text.Bytes()) {
		var said struct{ Msg, Address string }
		if json.Unmarshal(line, &said) == nil && said.Msg == "listening" {
			return said.Address
		}
	}
	return ""
}

// startNutcracker starts it in front of a server, until the end of the benchmark.
func startNutcracker(b testing.TB, server, keys string) way {
	b.Helper()
	path, err := exec.LookPath("nutcracker")
	if err != nil {
		b.Fatalf("%v: make nutcracker installs it", err)
	}
	w := way{name: "nutcracker", keys: keys, addr: freeAddr(b)}
	_, stats, _ := net.SplitHostPort(freeAddr(b))
	dir := b.TempDir()
	file := filepath.Join(dir, "nutcracker.yml")
	config := fmt.Sprintf("bench:\n  listen: %s\n  redis: true\n  preconnect: true\n  servers:\n   - %s:1\n", w.addr, server)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(path, "-c", file, "-a", "127.0.0.1", "-s", stats,
		"-o", filepath.Join(dir, "log"), "-p", filepath.Join(dir, "pid"))
	w.pid = spawn(b, cmd)
	redistest.WaitFor(b, 10*time.Second, func() bool {
		conn, err := net.Dial("tcp", w.addr)
		if err == nil {
			_ = conn.Close() // only its being there counts
		}
		return err == nil
	})
	return w
}

// spawn runs a program until the end of the benchmark.
func spawn(b testing.TB, cmd *exec.Cmd) (pid int) {
	b.Helper()
	exited, err := redistest.Spawn(cmd)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-exited
	})
	return cmd.Process.Pid
}

// freeAddr is an address that nobody listens on.
func freeAddr(b testing.TB) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// infoPID is the server's process.
func infoPID(b testing.TB, server *redistest.Server) int {
	b.Helper()
	info := server.Client().InfoMap(b.Context(), "server").Item("Server", "process_id")
	pid, err := strconv.Atoi(info)
	if err != nil {
		b.Fatalf("the server's process: %v", err)
	}
	return pid
}

// cpu is the processor time that a process has taken, in seconds; of no process, none.
func cpu(b testing.TB, pid int) float64 {
	b.Helper()
	if pid == 0 {
		return 0
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	// Behind the name, which may hold anything: utime and stime are words 12 and 13, in hundredths.
	words := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int
	for _, word := range words[11:13] {
		n, err := strconv.Atoi(word)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return float64(ticks) / 100
}
