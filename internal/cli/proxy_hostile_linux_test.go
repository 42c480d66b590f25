package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/classwaves/rekey/internal/redistest"
)

// crowds are clients that do all that a proxy must live with, many of a kind at once.
var crowds = []struct {
	name string
	n    int
	each func(conn *net.TCPConn, i int) error
}{
	{"come and go", 3000, comeAndGo},
	{"never read", 20, func(conn *net.TCPConn, _ int) error {
		commands := []byte(strings.Repeat("GET secure_session:big\r\n", 1000))
		for {
			if _, err := conn.Write(commands); err != nil {
				return closed(err)
			}
		}
	}},
	{"announce 1 GiB", 300, func(conn *net.TCPConn, _ int) error {
		if _, err := conn.Write([]byte("*2\r\n$3\r\nGET\r\n$1073741824\r\n")); err != nil {
			return err
		}
		reply, err := io.ReadAll(conn)
		if got := string(reply); got != "-ERR Protocol error: invalid bulk length\r\n" {
			return fmt.Errorf("got %q, %w", got, err)
		}
		return nil
	}},
	{"announce 500 MB and stop", 300, func(conn *net.TCPConn, _ int) error {
		if _, err := conn.Write([]byte("*3\r\n$3\r\nSET\r\n$16\r\nsecure_session:x\r\n$500000000\r\n" + strings.Repeat("x", 20_000))); err != nil {
			return closed(err)
		}
		_, err := io.Copy(io.Discard, conn)
		return closed(err)
	}},
	{"send a byte now and then", 300, func(conn *net.TCPConn, i int) error {
		command := "*2\r\n$3\r\nGET\r\n$1000000\r\n" + strings.Repeat("x", 1000)
		for n := range len(command) {
			if _, err := conn.Write([]byte{command[n]}); err != nil {
				return closed(err)
			}
			// Its end is what it waits for, with the time between two bytes as the limit.
			if err := conn.SetReadDeadline(time.Now().Add(time.Duration(20+i%50) * time.Millisecond)); err != nil {
				return err
			}
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				return closed(err)
			}
		}
		return errors.New("it is not closed")
	}},
	{"send garbage", 300, func(conn *net.TCPConn, i int) error {
		garbage := bytes.Repeat([]byte{byte(i), '\r', byte(i >> 1), '$', '\n', 0xff}, 20_000)
		_, err := conn.Write(append([]byte("*1\r\n"), garbage...))
		if err == nil {
			_, err = io.Copy(io.Discard, conn)
		}
		return closed(err)
	}},
}

// closed is what was wrong with the end of a connection, which is to be closed by the other side.
func closed(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("it is not closed: %w", err)
}

// comeAndGo ends a connection in one of the ways in which clients do.
func comeAndGo(conn *net.TCPConn, i int) error {
	ways := []struct {
		send  string
		reads bool // there is a reply to wait for
	}{
		{"", false}, {"*2\r\n$3\r\nGE", false}, {"BLPOP secure_session:none 0\r\n", false},
		{"PING\r\n", true}, {"SET secure_session:c x\r\nGET secure_session:big\r\n", true}, {"HELLO 3\r\nSUBSCRIBE news\r\n", true},
		{"MULTI\r\nINCR secure_session:n\r\n", true}, {"MONITOR\r\n", true},
	}
	way := ways[i%len(ways)]
	if _, err := io.WriteString(conn, way.send); err != nil {
		return err
	}
	if way.reads && i%3 == 0 { // else it goes before its replies
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			return fmt.Errorf("no reply to %q: %w", way.send, err)
		}
	}
	if i%5 == 0 { // a reset, which takes back what is on its way
		return conn.SetLinger(0)
	}
	return nil
}

// peak is how many MiB the whole process may grow by for a crowd: 64 KiB for each of 300 clients, and what
// it is told to allow for the buffers of all, twice, since what is collected late counts as well.
const (
	buffers = 16
	peak    = 2*(buffers+300/16) + 60
)

// TestProxyHostile: whatever a crowd does to the program, a client beside it gets its replies, and the
// memory of the process is bounded.
func TestProxyHostile(t *testing.T) {
	server := redistest.Start(t)
	bare := server.Client()
	if err := bare.Set(t.Context(), "secure_session:big", strings.Repeat("v", 5000), 0).Err(); err != nil {
		t.Fatal(err)
	}
	p := startProxyOf(t, buildProgram(t), "-f", planFile(t, fmt.Sprintf(walkPlan, server.URL())), "--phases", "dual",
		"--max-memory", strconv.Itoa(buffers<<20), "--unfinished", "2s", "--slow", "2s", "--admin", "127.0.0.1:0")
	beside := startWorker(t, p.addr)
	beside.another(t)
	admin := regexp.MustCompile(`"admin","address":"([^"]+)"`).FindStringSubmatch(p.said())
	if admin == nil {
		t.Fatalf("no address of the admin listener: %s", p.said())
	}
	for _, crowd := range crowds {
		t.Run(crowd.name, func(t *testing.T) {
			before := forgetPeak(t, p.cmd.Process.Pid)
			var group errgroup.Group
			group.SetLimit(300)
			for i := range crowd.n {
				group.Go(func() error {
					conn, err := net.Dial("tcp", p.addr)
					if err != nil {
						return err
					}
					defer conn.Close()
					if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
						return err
					}
					return crowd.each(conn.(*net.TCPConn), i)
				})
			}
			beside.another(t)
			if err := group.Wait(); err != nil {
				t.Error(err)
			}
			beside.another(t)
			redistest.WaitFor(t, 20*time.Second, func() bool { return clientsOf(t, admin[1]) == 1 })
			grown := resident(t, p.cmd.Process.Pid, "VmHWM:") - before
			t.Logf("%d clients that %s: %d MiB more than %d", crowd.n, crowd.name, grown, before)
			if grown > peak {
				t.Errorf("the process has grown by %d MiB", grown)
			}
		})
	}
	beside.stop(t)
	if t.Failed() {
		t.Logf("the proxy said %s", p.said())
	}
}

// clientsOf is how many clients a proxy says that it has.
func clientsOf(t *testing.T, admin string) int {
	t.Helper()
	response, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	gauge := regexp.MustCompile(`(?m)^rekey_proxy_clients (\d+)$`).FindSubmatch(text)
	if gauge == nil {
		t.Fatalf("no rekey_proxy_clients in %.500s", text)
	}
	n, err := strconv.Atoi(string(gauge[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// buildProgram builds the program as it is delivered, whose memory is not that of the race detector.
func buildProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rekey")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/classwaves/rekey/cmd/rekey")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// worker is a client that works all along.
type worker struct {
	rounds atomic.Int64
	conn   net.Conn
	work   sync.WaitGroup
	ending atomic.Bool
	failed error
}

// startWorker starts one.
func startWorker(t *testing.T, addr string) *worker {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{conn: conn}
	w.work.Go(func() {
		in := bufio.NewReader(conn)
		for n := 0; w.failed == nil && !w.ending.Load(); n++ {
			w.failed = w.round(in, n)
			w.rounds.Add(1)
		}
	})
	t.Cleanup(func() { _ = conn.Close(); w.work.Wait() })
	return w
}

// round is a few commands, of which every byte of the replies is known.
func (w *worker) round(in *bufio.Reader, n int) error {
	if err := w.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	value := fmt.Sprint("value", n)
	if _, err := fmt.Fprintf(w.conn, "SET secure_session:own %s\r\nGET secure_session:own\r\nECHO %[1]s\r\n", value); err != nil {
		return err
	}
	bulk := fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
	want := "+OK\r\n" + bulk + bulk
	got := make([]byte, len(want))
	if n, err := io.ReadFull(in, got); err != nil || string(got) != want {
		return fmt.Errorf("got %q, %w, want %q", got[:n], err, want)
	}
	return nil
}

// another waits for rounds that began after the call.
func (w *worker) another(t *testing.T) {
	t.Helper()
	before := w.rounds.Load()
	redistest.WaitFor(t, 20*time.Second, func() bool { return w.rounds.Load() >= before+2 })
}

// stop ends it, and says what it has seen.
func (w *worker) stop(t *testing.T) {
	t.Helper()
	w.ending.Store(true)
	w.work.Wait()
	if w.failed != nil {
		t.Errorf("a client beside: %v", w.failed)
	}
}

// forgetPeak lets the kernel forget what a process has had at most, and says what it has now, in MiB.
func forgetPeak(t *testing.T, pid int) int {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	return resident(t, pid, "VmRSS:")
}

// resident is a figure of a process's memory, in MiB.
func resident(t *testing.T, pid int, figure string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if words := strings.Fields(line); words[0] == figure {
			n, err := strconv.Atoi(words[1])
			if err != nil {
				t.Fatal(err)
			}
			return n >> 10
		}
	}
	t.Fatalf("no %s of process %d", figure, pid)
	return 0
}
