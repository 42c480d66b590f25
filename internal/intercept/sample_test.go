package intercept_test

import (
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
)

// measured is how many commands were measured, by rule and class, since the last call.
type measured struct {
	rules *intercept.Rules
	seen  map[string]uint64
}

func (m *measured) since() map[string]uint64 {
	grown := map[string]uint64{}
	all := map[string]uint64{}
	for rule := range m.rules.Stats.Rules {
		for class := range m.rules.Stats.Rules[rule].Added {
			name := fmt.Sprintf("%s %s", m.rules.Set.Pair(rule).Name(), command.Class(class))
			counts, _ := m.rules.Stats.Rules[rule].Added[class].Counts()
			for _, n := range counts {
				all[name] += n
			}
			if n := all[name] - m.seen[name]; n > 0 {
				grown[name] = n
			}
		}
	}
	m.seen = all
	return grown
}

// TestMeasuredCommands: what a measured write was held up is counted under the rule and class of each of its
// commands, when the command's reply has come, and of no others.
func TestMeasuredCommands(t *testing.T) {
	server := redistest.Shared(t)
	type want = map[string]uint64
	for _, p := range allPhases {
		rules := testRules(t)
		setPhases(rules, p, p)
		conn := intercept.NewConn(server.Dial(), rules, intercept.Hooks{})
		t.Cleanup(func() { _ = conn.Close() })
		client, m := redistest.NewConn(t, conn), &measured{rules: rules}
		client.Do("FLUSHALL")
		m.since()
		for _, c := range []struct {
			lines string // the commands of one write
			want  want
		}{
			{"GET a:1", want{"a read": 1}},
			{"SET a:1 1", want{"a overwrite": 1}},
			{"INCR b:1", want{"b replay": 1}},
			{"SADD a:s m; SPOP a:s", want{"a replay": 1, "a effect": 1}},
			{"EVAL x 1 a:1", want{"a recopy": 1}},
			{"DEL b:1", want{"b count": 1}},
			{"GET a:1; GET none:1; SET b:1 x; GET a:2; GET b:1; PING", want{"a read": 2, "b overwrite": 1, "b read": 1}},
			{"MULTI; GET a:1; SET b:1 x; EXEC", want{"a read": 1, "b overwrite": 1}},
			{"GET none:1", want{}},
			{"BLPOP a:none 0.01", want{}},
			{"LPUSH a:l x; BLPOP a:l 0.01", want{"a replay": 1}},
		} {
			lines := strings.Split(c.lines, "; ")
			ahead := []byte("GET a:ahead\r\n") // not measured, and its reply has not come
			conn.Measure(2)
			client.Write(ahead)
			client.Write([]byte(strings.Join(lines, "\r\n") + "\r\n"))
			for range 1 + len(lines) {
				client.ReadRaw()
			}
			if got := m.since(); !maps.Equal(got, c.want) {
				t.Errorf("%s, %s: measured %v, want %v", p, c.lines, got, c.want)
			}
		}
	}
}

// TestMeasuredByChance: an application that sends the same commands in the same order for ever has all of them
// measured.
func TestMeasuredByChance(t *testing.T) {
	rules := testRules(t)
	m := &measured{rules: rules}
	client := redistest.NewConn(t, dial(t, redistest.Shared(t), rules))
	const rounds = 4000
	for range rounds {
		client.Do("SET", "a:1", "x")
		client.Do("GET", "a:1")
	}
	got := m.since()
	for _, name := range []string{"a overwrite", "a read"} {
		// The standard deviation of either number is less than a tenth of it.
		if n, mean := got[name], uint64(rounds/intercept.AddedEach); n < mean/2 || n > 2*mean {
			t.Errorf("%s: %d measured of %d, want about %d", name, n, rounds, mean)
		}
	}
}

// pausing is a client that takes its replies slowly.
type pausing struct {
	mouth
	pause time.Duration
}

func (p *pausing) Replies(b []byte, begins bool) bool {
	time.Sleep(p.pause)
	return p.mouth.Replies(b, begins)
}

// TestAddedOnALink: what is added to a command on a shared connection is the wait for what others have to send,
// and for the replies of others that came in front of its own; what the server takes is not.
func TestAddedOnALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := testRules(t)
		setPhases(rules, phase.Dual, phase.Dual)
		w := newWire(t, rules)
		slow := &pausing{mouth: mouth{t: t}}
		slow.s = intercept.NewSharing(slow, resp.Limits{}, time.Now)
		slow.s.Let()
		quick := join(t)
		first := resp.AppendCommand(nil, []byte("GET"), []byte("a:1"))
		for _, m := range []*mouth{&slow.mouth, quick} { // they come to the link
			w.say(m, false, first)
			deliver(t, w)
		}
		slow.pause = 5 * time.Millisecond
		w.link.Conn().Measure(1 << 30) // and not this one by chance
		w.link.Client(slow.s, first)
		w.link.Conn().Measure(1)
		w.link.Client(quick.s, resp.AppendCommand(nil, []byte("SET"), []byte("b:1"), []byte("x")))
		time.Sleep(3 * time.Millisecond)
		out := w.link.Output(nil)
		time.Sleep(time.Second)
		if err := w.link.Received(w.server.take(out)); err != nil {
			t.Fatal(err)
		}
		counts, sum := rules.Stats.Rules[1].Added[command.ClassOverwrite].Counts()
		var n uint64
		for _, c := range counts {
			n += c
		}
		if want := 8 * time.Millisecond; n != 1 || sum != want {
			t.Errorf("%d measured, %v in all, want 1, %v", n, sum, want)
		}
		if other, sum := rules.Stats.Rules[0].Added[command.ClassRead].Counts(); sum != 0 {
			t.Errorf("a command that was not measured: %v, %v", other, sum)
		}
	})
}

// deliver brings everything to both sides of the link.
func deliver(t *testing.T, w *wire) {
	t.Helper()
	if err := w.link.Received(w.server.take(w.link.Output(nil))); err != nil {
		t.Fatal(err)
	}
}

// TestAddedOnAConn: on a connection of the application's own it is both calls, without the server.
func TestAddedOnAConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := testRules(t)
		here, there := net.Pipe()
		conn := intercept.NewConn(here, rules, intercept.Hooks{})
		defer func() { _ = conn.Close() }()
		go func() {
			defer func() { _ = there.Close() }()
			buf := make([]byte, 4096)
			var server echoing
			for {
				n, err := there.Read(buf)
				if err != nil {
					return
				}
				time.Sleep(time.Second)
				if _, err := there.Write(server.take(buf[:n])); err != nil {
					return
				}
			}
		}()
		client, m := redistest.NewConn(t, conn), &measured{rules: rules}
		client.Do("GET", "a:1")
		m.since()
		conn.Measure(1)
		client.Do("GET", "a:1")
		_, sum := rules.Stats.Rules[0].Added[command.ClassRead].Counts()
		if got := m.since(); got["a read"] != 1 || sum != 0 {
			t.Errorf("measured %v, %v in all, want one command, held up for no time", got, sum)
		}
	})
}
