package intercept_test

import (
	"strconv"
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

// TestSteadyRepliesAreNotHeld: where the server knows the keys by the names that the client wrote, the reply of a command
// whose replies name keys goes on as it comes.
func TestSteadyRepliesAreNotHeld(t *testing.T) {
	for _, c := range []struct {
		phase phase.Phase
		key   string
	}{{phase.Legacy, "a:1"}, {phase.Prefixed, "cw:test:a:1"}} {
		s := ready(t, c.phase)
		if err := s.Client(resp.AppendCommand(nil, []byte("XREAD"), []byte("STREAMS"), []byte(c.key), []byte("0"))); err != nil {
			t.Fatal(err)
		}
		s.Output()
		part := []byte("*1\r\n*2\r\n$" + strconv.Itoa(len(c.key)) + "\r\n" + c.key + "\r\n*2\r\n*2\r\n$3\r\n1-1")
		if err := s.Server(part); err != nil {
			t.Fatal(err)
		}
		if _, out := s.Output(); string(out) != string(part) {
			t.Errorf("%v: %q of the reply has gone on, want %q", c.phase, out, part)
		}
	}
}

// TestTheOtherName: a key goes to the server under the name that the phase answers from, whichever its client wrote.
func TestTheOtherName(t *testing.T) {
	for _, c := range []struct {
		phase       phase.Phase
		asked, sent string
	}{
		{phase.Legacy, "a:1", "a:1"}, {phase.Legacy, "cw:test:a:1", "a:1"},
		{phase.Guard, "cw:test:a:1", "a:1"}, {phase.Sealed, "a:1", "cw:test:a:1"},
		{phase.Prefixed, "a:1", "cw:test:a:1"}, {phase.Prefixed, "cw:test:a:1", "cw:test:a:1"},
	} {
		s := ready(t, c.phase)
		if err := s.Client(resp.AppendCommand(nil, []byte("GET"), []byte(c.asked))); err != nil {
			t.Fatal(err)
		}
		want := resp.AppendCommand(nil, []byte("GET"), []byte(c.sent))
		if got, _ := s.Output(); string(got) != string(want) {
			t.Errorf("%v: for GET %s the server got %q, want %q", c.phase, c.asked, got, want)
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
