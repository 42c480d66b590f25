package redistest

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/classwaves/rekey/internal/resp"
)

// pool holds the running servers that no test uses at the moment, by their configuration. Tests
// run one after the other need one process in all; parallel ones need one each.
var pool struct {
	mu   sync.Mutex
	keep bool // Main will stop them
	idle map[string][]*process
}

// Shared gives a running, empty server that is this test's alone until its end. Later tests get
// the same process again, emptied, and with the connections of earlier tests closed; in a package
// without [Main] it ends with the test.
//
// A test may change the configuration and the users, pause or kill the server: it is compared with
// a server just started when it is handed back, and one that differs is stopped. What DEBUG changes
// cannot be seen; who needs DEBUG for more than a look takes [Start].
func Shared(t testing.TB, opts ...Option) *Server {
	t.Helper()
	config := configOf(opts)
	key := strings.Join(config, "\n")
	p := takeIdle(key)
	if p == nil {
		var err error
		if p, err = startProcess(config); err != nil {
			t.Fatalf("redistest: %v", err)
		}
	}
	s := &Server{t, p}
	before := s.settings()
	t.Cleanup(func() {
		if p.alive() && s.resettable() && s.settings() == before && giveBack(key, p) {
			return
		}
		if err := p.remove(); err != nil {
			t.Errorf("redistest: remove the server: %v", err)
		}
	})
	s.reset()
	return s
}

func takeIdle(key string) *process {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	idle := pool.idle[key]
	if len(idle) == 0 {
		return nil
	}
	p := idle[len(idle)-1]
	pool.idle[key] = idle[:len(idle)-1]
	return p
}

// giveBack keeps a server for later tests, unless there is no [Main] to stop it in the end.
func giveBack(key string, p *process) bool {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	if !pool.keep {
		return false
	}
	if pool.idle == nil {
		pool.idle = make(map[string][]*process)
	}
	pool.idle[key] = append(pool.idle[key], p)
	return true
}

// resettable tells whether the server answers and may be emptied: it is not paused, wants no
// password and is nobody's replica.
func (s *Server) resettable() bool {
	return s.p.answersPing() && strings.Contains(string(s.admin("ROLE").Append(nil)), "master")
}

// settings describes what a test can change about a server and FLUSHALL does not undo.
func (s *Server) settings() string {
	config := s.admin("CONFIG", "GET", "*")
	users := s.admin("ACL", "LIST")
	return string(users.Append(config.Append(nil)))
}

// reset empties the server and closes the connections that earlier tests left.
func (s *Server) reset() {
	s.t.Helper()
	commands := []string{
		"CLIENT KILL TYPE normal SKIPME yes", "CLIENT KILL TYPE pubsub",
		"CLIENT UNPAUSE", "FLUSHALL", "SCRIPT FLUSH", "CONFIG RESETSTAT", "SLOWLOG RESET",
	}
	if s.AtLeast(7, 0) {
		commands = append(commands, "FUNCTION FLUSH")
	}
	for _, command := range commands {
		if v := s.admin(strings.Fields(command)...); v.IsError() {
			s.t.Fatalf("redistest: %s: %s", command, v.Str)
		}
	}
}

// admin sends one command on a connection of its own: the server may be in any state.
func (s *Server) admin(words ...string) resp.Value {
	conn := dialOnce(s.t, s.Socket())
	defer conn.Close()
	return conn.Do(words...)
}

// Main runs the tests of a package, stops the servers that [Shared] kept, and fails when a
// goroutine is left. It is the whole body of TestMain:
//
//	func TestMain(m *testing.M) { redistest.Main(m) }
func Main(m *testing.M, ignore ...goleak.Option) {
	keepIdle(true)
	code := m.Run()
	if err := stopIdle(); err != nil {
		fmt.Fprintf(os.Stderr, "redistest: %v\n", err)
		code = max(code, 1)
	}
	if code == 0 {
		ignore = append(ignore,
			// A client of go-redis that nobody could serve looks whether it was closed after a second's sleep.
			goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"),
			// A pool of a library that nobody here uses, from its init on.
			goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
			goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"))
		if err := goleak.Find(ignore...); err != nil {
			fmt.Fprintf(os.Stderr, "redistest: after all tests: %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

func keepIdle(keep bool) {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	pool.keep = keep
}

// stopIdle stops the servers that are kept between tests.
func stopIdle() error {
	pool.mu.Lock()
	idle := pool.idle
	pool.idle = nil
	pool.mu.Unlock()
	for _, processes := range idle {
		for _, p := range processes {
			if err := p.remove(); err != nil {
				return fmt.Errorf("remove a shared server: %w", err)
			}
		}
	}
	return nil
}
