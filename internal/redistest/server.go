package redistest

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Server is a running server that belongs to one test.
type Server struct {
	t testing.TB
	p *process
}

// An Option changes a server before it starts.
type Option func(*options)

type options struct{ config []string }

// WithConfig adds lines to the server's configuration: "maxmemory 10mb".
func WithConfig(lines ...string) Option {
	return func(o *options) { o.config = append(o.config, lines...) }
}

func configOf(opts []Option) []string {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	return o.config
}

// Start starts a server that ends with the test. A test that neither kills nor configures its
// server beyond repair takes a [Shared] one: that spares a process.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	p, err := startProcess(configOf(opts))
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	t.Cleanup(func() {
		if err := p.remove(); err != nil {
			t.Errorf("redistest: remove the server: %v", err)
		}
	})
	return &Server{t, p}
}

// Addr is the server's address, host and port. It stays over restarts.
func (s *Server) Addr() string { return s.p.addr() }

// Socket is the path of the server's unix socket.
func (s *Server) Socket() string { return s.p.socket() }

// URL is the server's address as redis.ParseURL and --redis take it.
func (s *Server) URL() string { return "redis://" + s.p.addr() }

// Version is the server's own version.
func (s *Server) Version() Version { return s.p.binary.version }

// Flavor is who made the server.
func (s *Server) Flavor() Flavor { return s.p.binary.flavor }

// IsValkey tells whether the server is Valkey.
func (s *Server) IsValkey() bool { return s.Flavor() == Valkey }

// AtLeast tells whether the server is of version major.minor or later, Valkey counting by its own
// numbers.
func (s *Server) AtLeast(major, minor int) bool { return s.Version().AtLeast(major, minor) }

// Dial opens a bare connection, which is closed at the end of the test.
func (s *Server) Dial() net.Conn {
	s.t.Helper()
	return dial(s.t, "tcp", s.Addr())
}

// DialUnix opens a bare connection to the unix socket, which is closed at the end of the test.
func (s *Server) DialUnix() net.Conn {
	s.t.Helper()
	return dial(s.t, "unix", s.Socket())
}

func dial(t testing.TB, network, addr string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout(network, addr, readyWithin)
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the test may have closed it
	return conn
}

// Client is a go-redis client, which is closed at the end of the test. Each change is made to its
// options before it is built.
func (s *Server) Client(changes ...func(*redis.Options)) *redis.Client {
	s.t.Helper()
	opt := &redis.Options{Addr: s.Addr()}
	for _, change := range changes {
		change(opt)
	}
	client := redis.NewClient(opt)
	s.t.Cleanup(func() { _ = client.Close() }) // the test may have closed it
	return client
}

// Kill ends the server as a crash does. Restart brings it back.
func (s *Server) Kill() { s.p.kill() }

// Stop ends the server in order: it saves what it is configured to save. Restart brings it back.
func (s *Server) Stop() { s.p.stop() }

// Restart starts the server again, on its port and in its directory, after it was stopped or
// killed; one that runs is stopped first. Without persistence in its configuration it is empty.
func (s *Server) Restart() {
	s.t.Helper()
	s.p.stop()
	if err := s.p.run(); err != nil {
		s.t.Fatalf("redistest: restart: %v", err)
	}
}

// Pause freezes the server: connections stay open and nothing answers, as on a host that hangs.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.p.signal(sig); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
}

// Replica starts a replica of the server and waits until it has all of the data.
func (s *Server) Replica(opts ...Option) *Server {
	s.t.Helper()
	host, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
	replica := Start(s.t, append([]Option{WithConfig("replicaof " + host + " " + port)}, opts...)...)
	conn := replica.Conn()
	WaitFor(s.t, readyWithin, func() bool {
		info := string(conn.Do("INFO", "replication").Str)
		return strings.Contains(info, "master_link_status:up")
	})
	return replica
}

// WaitFor polls until cond holds and fails the test when it does not within the given time. It
// must be called from the test's goroutine.
func WaitFor(t testing.TB, within time.Duration, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			if cond() { // the last poll may lie a while back on a busy machine
				return
			}
			t.Fatalf("redistest: condition does not hold within %v", within)
		case <-poll.C:
		}
	}
}
