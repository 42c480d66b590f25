package intercept_test

import (
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
)

// steady is a command and what the server answers to what is sent for it.
type steady struct {
	name    string
	phase   phase.Phase
	command []byte
	reply   []byte
}

func steadyCases() []steady {
	get := resp.AppendCommand(nil, []byte("GET"), []byte("a:1234567"))
	set := resp.AppendCommand(nil, []byte("SET"), []byte("a:1234567"), make([]byte, 100))
	value := resp.AppendBulk(nil, make([]byte, 100))
	ok := []byte("+OK\r\n")
	return []steady{
		{"read legacy", phase.Legacy, get, value},
		{"write legacy", phase.Legacy, set, ok},
		{"read prefixed", phase.Prefixed, get, value},
		{"write prefixed", phase.Prefixed, set, ok},
		{"read settled", phase.Settled, get, value},
		{"read dual", phase.Dual, get, append([]byte("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:0\r\n"), value...)},
		{"write dual", phase.Dual, set, []byte("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n")},
	}
}

// ready makes a session in a phase that has asked the server all that it wants.
func ready(t testing.TB, p phase.Phase) *intercept.Session {
	t.Helper()
	rules := testRules(t)
	setPhases(rules, p, p)
	s := intercept.NewSession(rules, time.Now)
	if err := s.Client(resp.AppendCommand(nil, []byte("PING"))); err != nil {
		t.Fatal(err)
	}
	s.Output()
	info := resp.AppendBulk(nil, []byte("# Server\r\nredis_version:7.4.0\r\nmaxmemory_policy:noeviction\r\n"))
	replies := [][]byte{[]byte(":7\r\n"), info, []byte("+OK\r\n"), []byte("*0\r\n"), []byte("+PONG\r\n")}
	if p.Parked() {
		replies = [][]byte{[]byte(":7\r\n"), []byte("+PONG\r\n")}
	}
	for _, reply := range replies {
		if err := s.Server(reply); err != nil {
			t.Fatal(err)
		}
		s.Output()
	}
	return s
}

// TestSteadyAllocations: a connection in a steady phase allocates nothing for a command.
func TestSteadyAllocations(t *testing.T) {
	for _, c := range steadyCases() {
		s := ready(t, c.phase)
		once := func() {
			if err := s.Client(c.command); err != nil {
				t.Fatal(err)
			}
			s.Output()
			if err := s.Server(c.reply); err != nil {
				t.Fatal(err)
			}
			if _, out := s.Output(); len(out) == 0 {
				t.Fatal("no answer")
			}
		}
		once()
		if n := testing.AllocsPerRun(200, once); n != 0 {
			t.Errorf("%s: %v allocations, want 0", c.name, n)
		}
	}
}

// BenchmarkSession is a command and its reply through a session, without a network.
func BenchmarkSession(b *testing.B) {
	for _, c := range steadyCases() {
		b.Run(c.name, func(b *testing.B) {
			s := ready(b, c.phase)
			b.ReportAllocs()
			for b.Loop() {
				_ = s.Client(c.command)
				s.Output()
				_ = s.Server(c.reply)
				s.Output()
			}
		})
	}
}
