package redistest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Sentinel starts a sentinel that watches the server as the primary of a group, and returns its address once it knows the
// replicas that the server has. It alone decides, after half a second without an answer.
func (s *Server) Sentinel(group string) (addr string) {
	s.t.Helper()
	for range portTries {
		addr, err := startSentinel(s.t, s.p, group)
		if err != nil {
			s.t.Fatalf("redistest: sentinel: %v", err)
		}
		if addr != "" {
			return addr
		}
	}
	s.t.Fatal("redistest: sentinel: no port stays free")
	return ""
}

// startSentinel starts one on a free port; "": another process took the port.
func startSentinel(t testing.TB, primary *process, group string) (addr string, err error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "sentinel.conf") // it writes into it
	lines := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor %s 127.0.0.1 %d 1\n"+
		"sentinel down-after-milliseconds %[3]s 500\nsentinel failover-timeout %[3]s 5000\n", port, dir, group, primary.port)
	if err := os.WriteFile(config, []byte(lines), 0o600); err != nil {
		return "", err
	}
	cmd := exec.Command(primary.binary.path, config, "--sentinel")
	exited, err := Spawn(cmd)
	if err != nil {
		return "", err
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-exited
	})
	addr = fmt.Sprintf("127.0.0.1:%d", port)
	WaitFor(t, readyWithin, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close() // it was only to see whether it answers
		}
		return err == nil || ended(exited)
	})
	if ended(exited) {
		return "", nil
	}
	has := info(t, primary.addr(), "replication", "connected_slaves:")
	WaitFor(t, readyWithin, func() bool {
		return strings.Contains(info(t, addr, "sentinel", "master0:"), ",slaves="+has+",")
	})
	return addr, nil
}

func ended(exited <-chan struct{}) bool {
	select {
	case <-exited:
		return true
	default:
		return false
	}
}

// info is what stands behind the first field of that name in a section of a server's INFO.
func info(t testing.TB, addr, section, field string) string {
	c := NewConn(t, dial(t, "tcp", addr))
	defer c.Close()
	_, rest, _ := strings.Cut(string(c.Do("INFO", section).Str), field)
	line, _, _ := strings.Cut(rest, "\r\n")
	return line
}
