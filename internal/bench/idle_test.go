package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// BenchmarkIdle prints what the program `rekey proxy` takes of memory for a client that has worked and
// is idle: one that sent plain commands, and one that needs its connection's state. REKEY_BENCH_CLIENTS
// is how many there are of each, 500 unless it says otherwise. A client with a connection of its own takes
// two file descriptors of the proxy's (ulimit -n).
func BenchmarkIdle(b *testing.B) {
	clients := setting(b, "REKEY_BENCH_CLIENTS", 500)
	program := buildRekey(b)
	fmt.Println("| clients | of whom each has sent | resident before, KiB | KiB per client | connections to the server |")
	fmt.Println("| --- | --- | --- | --- | --- |")
	for _, words := range []string{
		"SET dual:session:%d x\r\nGET dual:session:%[1]d\r\n",
		"SET dual:session:%d x\r\nCLIENT SETNAME worker\r\n",
	} {
		server := redistest.Start(b, redistest.WithConfig("maxclients 20000"))
		w := startProxy(b, program, server.URL(), phase.Dual, "--max-clients", strconv.Itoa(clients+1))
		idle(b, w, 1, words) // what the first client makes is not the others'
		before := resident(b, w.pid)
		idle(b, w, clients, words)
		grown := resident(b, w.pid) - before
		connections := server.Client().InfoMap(b.Context(), "clients").Item("Clients", "connected_clients")
		fmt.Printf("| %d | %s | %d | %.1f | %s |\n", clients, strings.ReplaceAll(strings.TrimSpace(fmt.Sprintf(words, 1)), "\r\n", ", "),
			before, float64(grown)/float64(clients), connections)
	}
}

// idle makes clients that have had the replies to two commands, and stay until the end of the benchmark.
func idle(b *testing.B, w way, clients int, words string) {
	b.Helper()
	replies := bufio.NewReader(nil)
	for i := range clients {
		conn, err := net.Dial("tcp", w.addr)
		if err != nil {
			b.Fatalf("client %d: %v", i, err)
		}
		b.Cleanup(func() { _ = conn.Close() }) // nothing is under way
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			b.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, words, i); err != nil {
			b.Fatalf("client %d: %v", i, err)
		}
		replies.Reset(conn)
		for range 2 {
			if reply, err := redistest.ReadReply(replies); err != nil || reply[0] == '-' {
				b.Fatalf("client %d: %q, %v", i, reply, err)
			}
		}
	}
}

// resident is the memory of a process that is in the machine's, in KiB.
func resident(b testing.TB, pid int) int {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if words := strings.Fields(string(line)); words[0] == "VmRSS:" {
			n, err := strconv.Atoi(words[1])
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatalf("process %d has no VmRSS", pid)
	return 0
}
