package redistest

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestStartGivesServersOfTheirOwn(t *testing.T) {
	a, b := Start(t), Start(t)
	if a.Addr() == b.Addr() || a.Socket() == b.Socket() {
		t.Fatalf("two servers share an address: %s %s, %s %s", a.Addr(), b.Addr(), a.Socket(), b.Socket())
	}
	a.Conn().Do("SET", "k", "of a")
	if got := b.Conn().Do("GET", "k"); !got.Null {
		t.Errorf("server b has a's key: %q", got.Str)
	}
	if got := string(NewConn(t, a.DialUnix()).Do("GET", "k").Str); got != "of a" {
		t.Errorf("GET over the unix socket: got %q, want %q", got, "of a")
	}
}

func TestStartAppliesConfig(t *testing.T) {
	s := Start(t, WithConfig("maxmemory 10mb", "maxmemory-policy allkeys-lru"))
	for parameter, want := range map[string]string{
		"maxmemory": strconv.Itoa(10 << 20), "maxmemory-policy": "allkeys-lru",
	} {
		got := s.Conn().Do("CONFIG", "GET", parameter)
		if len(got.Elems) != 2 || string(got.Elems[1].Str) != want {
			t.Errorf("CONFIG GET %s: got %q, want %s", parameter, got.Append(nil), want)
		}
	}
}

func TestStartTellsWhyAServerDoesNotStart(t *testing.T) {
	_, err := startProcess([]string{"no-such-directive yes"})
	if err == nil || !strings.Contains(err.Error(), "no-such-directive") {
		t.Errorf("a server with a wrong configuration: got error %v, want the server's own words", err)
	}
}

func TestStartTakesAnotherPortWhenOneIsTaken(t *testing.T) {
	s := Start(t)
	p := &process{binary: s.p.binary, dir: t.TempDir(), port: s.p.port}
	if err := p.run(); !errors.Is(err, errPortTaken) {
		t.Errorf("start on a port that is taken: got %v, want %v", err, errPortTaken)
	}
}

func TestServerEndsWithItsTest(t *testing.T) {
	var s *Server
	t.Run("inner", func(t *testing.T) { s = Start(t) })
	if s.p.alive() {
		t.Error("the server outlives its test")
	}
	if _, err := os.Stat(s.p.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the server's directory outlives its test: %v", err)
	}
	if err := s.p.cmd.Process.Signal(syscall.Signal(0)); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("the server was not waited for: %v", err)
	}
}

func TestKillAndRestart(t *testing.T) {
	s := Start(t, WithConfig("appendonly yes", "appendfsync always"))
	addr := s.Addr()
	s.Conn().Do("SET", "k", "v")

	s.Kill()
	if s.p.alive() {
		t.Fatal("alive after Kill")
	}
	s.Restart()
	if s.Addr() != addr {
		t.Errorf("address after a restart: got %s, want %s", s.Addr(), addr)
	}
	if got := string(s.Conn().Do("GET", "k").Str); got != "v" {
		t.Errorf("GET after a crash with an append-only file: got %q, want v", got)
	}

	s.Restart() // of one that runs
	if got := string(s.Conn().Do("GET", "k").Str); got != "v" {
		t.Errorf("GET after a restart: got %q, want v", got)
	}
}

func TestPauseAndContinue(t *testing.T) {
	s := Start(t)
	conn := s.Dial()
	s.Pause()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		t.Fatalf("write to a paused server: %v", err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 16)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read from a paused server: got %d bytes, %v, want a timeout", n, err)
	}
	s.Continue()
	if got := NewConn(t, conn).Read(); string(got.Str) != "PONG" {
		t.Errorf("reply after Continue: got %q, want PONG", got.Append(nil))
	}
}

func TestStopEndsAPausedServer(t *testing.T) {
	s := Start(t)
	s.Pause()
	s.Stop()
	if s.p.alive() {
		t.Error("alive after Stop")
	}
}

func TestReplicaFollows(t *testing.T) {
	s := Start(t)
	master := s.Conn()
	master.Do("SET", "before", "1")
	replica := s.Replica().Conn()
	if got := string(replica.Do("GET", "before").Str); got != "1" {
		t.Errorf("GET on the new replica: got %q, want 1", got)
	}
	master.Do("SET", "after", "2")
	if got := master.Do("WAIT", "1", "5000").Int; got != 1 {
		t.Fatalf("WAIT: got %d replicas, want 1", got)
	}
	if got := string(replica.Do("GET", "after").Str); got != "2" {
		t.Errorf("GET on the replica: got %q, want 2", got)
	}
	if got := replica.Do("SET", "k", "v"); !strings.HasPrefix(string(got.Str), "READONLY") {
		t.Errorf("SET on the replica: got %q, want READONLY", got.Str)
	}
}

func TestVersion(t *testing.T) {
	for line, want := range map[string]struct {
		flavor  Flavor
		version Version
	}{
		"Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=x": {Redis, Version{7, 0, 15}},
		"Valkey server v=8.0.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=x": {Valkey, Version{8, 0, 1}},
	} {
		flavor, version, err := parseVersion(line)
		if err != nil || flavor != want.flavor || version != want.version {
			t.Errorf("%q: got %s %s, %v, want %s %s", line, flavor, version, err, want.flavor, want.version)
		}
	}
	if _, _, err := parseVersion("redis-cli 7.0.15"); err == nil {
		t.Error("redis-cli's version passes for a server's")
	}
	for _, c := range []struct {
		v            Version
		major, minor int
		want         bool
	}{
		{Version{7, 2, 0}, 7, 2, true}, {Version{7, 0, 15}, 7, 2, false},
		{Version{8, 0, 0}, 7, 2, true}, {Version{6, 9, 9}, 7, 2, false},
	} {
		if got := c.v.AtLeast(c.major, c.minor); got != c.want {
			t.Errorf("%v.AtLeast(%d, %d): got %v, want %v", c.v, c.major, c.minor, got, c.want)
		}
	}
}

func TestVersionIsTheServersOwn(t *testing.T) {
	s := Shared(t)
	field := "redis_version:"
	if s.IsValkey() {
		field = "valkey_version:"
	}
	info := string(s.Conn().Do("INFO", "server").Str)
	if !strings.Contains(info, field+s.Version().String()+"\r\n") {
		t.Errorf("INFO does not say %s%s:\n%s", field, s.Version(), info)
	}
}

func TestWaitForFailsAtItsDeadline(t *testing.T) {
	polls := 0
	failed := fails(t, func(t testing.TB) {
		WaitFor(t, 20*time.Millisecond, func() bool { polls++; return false })
	})
	if !failed || polls < 2 {
		t.Errorf("a condition that never holds: failed %v after %d polls, want a failure after several", failed, polls)
	}
	if fails(t, func(t testing.TB) { WaitFor(t, time.Minute, func() bool { return true }) }) {
		t.Error("a condition that holds fails the test")
	}
}

// fails runs f with a stand-in for its test and tells whether f failed it.
func fails(t *testing.T, f func(testing.TB)) bool {
	double := &testDouble{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(double)
	}()
	<-done
	return double.failed
}

type testDouble struct {
	testing.TB
	failed bool
}

func (d *testDouble) Fatalf(string, ...any) {
	d.failed = true
	runtime.Goexit()
}
