package intercept_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
)

// echoing is a server without a store: what it answers follows from the words of each command, so that a reply
// tells whose it is.
type echoing struct {
	in    []byte
	multi [][]byte // replies of an open transaction
	open  bool
}

// take gives the replies to what has come.
func (e *echoing) take(p []byte) (out []byte) {
	e.in = append(e.in, p...)
	for {
		n, args, err := resp.ParseRequest(e.in, nil, resp.Limits{})
		if err != nil {
			panic(err)
		}
		if n == 0 {
			return out
		}
		out = append(out, e.command(args)...)
		e.in = e.in[n:]
	}
}

func (e *echoing) command(args [][]byte) []byte {
	switch name := string(args[0]); {
	case name == "MULTI":
		e.open = true
		return []byte("+OK\r\n")
	case name == "EXEC":
		out := resp.AppendArrayHeader(nil, len(e.multi))
		for _, r := range e.multi {
			out = append(out, r...)
		}
		e.open, e.multi = false, nil
		return out
	case e.open:
		e.multi = append(e.multi, answerTo(args))
		return []byte("+QUEUED\r\n")
	}
	return answerTo(args)
}

// answerTo is the server's answer to a command outside of a transaction.
func answerTo(args [][]byte) []byte {
	switch string(args[0]) {
	case "INFO":
		return resp.AppendBulkString(nil, "# Server\r\nredis_version:7.4.0\r\nmaxmemory_policy:noeviction\r\n")
	case "CLIENT":
		return resp.AppendInt(nil, 7)
	case "COPY":
		return resp.AppendInt(nil, 0)
	case "PING":
		return []byte("+PONG\r\n")
	}
	id := strings.TrimPrefix(string(args[1]), "cw:test:")
	switch {
	case strings.Contains(id, "error"):
		return resp.AppendError(nil, "ERR "+id)
	case strings.Contains(id, "big"):
		return resp.AppendBulk(nil, bytes.Repeat([]byte(id), 3000))
	case strings.Contains(id, "null"):
		return resp.AppendNull(nil, 2)
	case strings.Contains(id, "list"):
		return append(resp.AppendBulkString(resp.AppendArrayHeader(nil, 2), id), "*1\r\n:1\r\n"...)
	}
	return resp.AppendBulkString(nil, string(args[0])+" "+id)
}

// mouth is the client of a session that shares.
type mouth struct {
	t     *testing.T
	s     *intercept.Session
	got   []byte
	want  []byte
	ended error
	due   bool
}

func (m *mouth) Replies(b []byte, _ bool) bool { m.got = append(m.got, b...); return false }
func (m *mouth) Due()                          { m.due = true }
func (m *mouth) Ended(err error)               { m.ended = err }

// wire is a link with a server behind it that shares no goroutine with anybody.
type wire struct {
	link   *intercept.Link
	server echoing
	coming []byte // from the server
}

// newWire prepares a link over net.Pipe; afterwards bytes are carried by hand.
func newWire(t *testing.T, rules *intercept.Rules) *wire {
	t.Helper()
	here, there := net.Pipe()
	conn := intercept.NewConn(here, rules, intercept.Hooks{})
	served := make(chan struct{})
	go func() {
		defer close(served)
		var server echoing
		buf := make([]byte, 4096)
		for {
			n, err := there.Read(buf)
			if err != nil {
				return
			}
			if _, err := there.Write(server.take(buf[:n])); err != nil {
				return
			}
		}
	}()
	if refusal, err := conn.Prepare(intercept.LinkKey{Proto: 2}); refusal != nil || err != nil {
		t.Fatalf("%q, %v", refusal, err)
	}
	t.Cleanup(func() {
		_ = conn.Close() // nothing is under way that anybody waits for
		<-served
	})
	return &wire{link: conn.NewLink(intercept.LinkKey{Proto: 2}, func(*intercept.Link) {})}
}

func join(t *testing.T) *mouth {
	t.Helper()
	m := &mouth{t: t}
	m.s = intercept.NewSharing(m, resp.Limits{}, time.Now)
	m.s.Let()
	return m
}

// say gives bytes of the client to its session, which is seated where it wants to.
func (w *wire) say(m *mouth, seated bool, p []byte) {
	m.t.Helper()
	if seated {
		w.link.Client(m.s, p)
		return
	}
	if err := m.s.Client(p); err != nil {
		m.t.Fatal(err)
	}
	if want, due := m.s.Want(); !due || want.Own || want.Key != (intercept.LinkKey{Proto: 2}) {
		m.t.Fatalf("wants %+v, due %v", want, due)
	}
	if err := w.link.Attach(m.s); err != nil {
		m.t.Fatal(err)
	}
}

// carry brings some of what is under way to the other side.
func (w *wire) carry(r *rand.Rand) error {
	w.coming = append(w.coming, w.server.take(w.link.Output(nil))...)
	if r.IntN(50) == 0 && len(w.coming) == 0 {
		w.coming = append(w.coming, ">2\r\n$10\r\ninvalidate\r\n_\r\n"...)
	}
	n := len(w.coming)
	if n > 0 {
		n = 1 + r.IntN(n)
	}
	p := bytes.Clone(w.coming[:n])
	w.coming = w.coming[n:]
	return w.link.Received(p)
}

// TestLink: whatever the borders of reads and writes, every session that shares a connection gets the
// replies to its own commands, in their order, and nothing else.
func TestLink(t *testing.T) {
	for _, p := range []phase.Phase{phase.Legacy, phase.Guard, phase.Dual, phase.Settled, phase.Prefixed} {
		seed := rand.Uint64()
		if err := shareLink(t, p, seed, 0); err != nil {
			t.Errorf("phase %s, seed %d: %v", p, seed, err)
		}
	}
}

// TestLinkOutOfStep: where the count of a unit's replies is wrong, the link ends, before anybody is given a
// reply of somebody else's.
func TestLinkOutOfStep(t *testing.T) {
	for _, skew := range []int{-1, 1} {
		for _, p := range []phase.Phase{phase.Legacy, phase.Dual} {
			seed := rand.Uint64()
			err := shareLink(t, p, seed, skew)
			if err == nil || !strings.Contains(err.Error(), "out of step") {
				t.Errorf("skew %d, phase %s, seed %d: %v", skew, p, seed, err)
			}
		}
	}
}

func shareLink(t *testing.T, p phase.Phase, seed uint64, skew int) error {
	t.Helper()
	rules := testRules(t)
	setPhases(rules, p, p)
	w, r := newWire(t, rules), rand.New(rand.NewPCG(seed, 1))
	var mouths []*mouth
	for range 7 {
		mouths = append(mouths, join(t))
	}
	kinds := []string{"a:%d-%d", "b:%d-%d", "none:%d-%d", "a:big%d-%d", "a:error%d-%d", "b:null%d-%d", "none:list%d-%d"}
	seated := make([]bool, len(mouths))
	for step := range 500 {
		i := r.IntN(len(mouths))
		m := mouths[i]
		var send []byte
		for range r.IntN(6) {
			id := fmt.Sprintf(kinds[r.IntN(len(kinds))], i, step)
			args := [][]byte{[]byte("GET"), []byte(id)}
			m.want = append(m.want, answerTo(args)...)
			send = resp.AppendCommand(send, args...)
		}
		if len(send) > 0 {
			w.say(m, seated[i], send)
			seated[i] = true
		}
		if skew != 0 && step > 100 && w.link.Skew(skew) {
			skew = 0
		}
		for range r.IntN(4) {
			if err := w.carry(r); err != nil {
				return errors.Join(err, ownReplies(mouths))
			}
		}
	}
	for range 1_000_000 {
		if err := w.carry(r); err != nil {
			return errors.Join(err, ownReplies(mouths))
		}
		if w.link.Conn().Oldest() == intercept.Never {
			break
		}
	}
	for i, m := range mouths {
		if !bytes.Equal(m.got, m.want) {
			return fmt.Errorf("client %d: got %d bytes, want %d", i, len(m.got), len(m.want))
		}
	}
	return nil
}

// ownReplies: what each client has got is the beginning of what it is to get.
func ownReplies(mouths []*mouth) error {
	for i, m := range mouths {
		if !bytes.HasPrefix(m.want, m.got) {
			return fmt.Errorf("client %d got replies that are not its own", i)
		}
	}
	return nil
}

// TestLinkTakenOnce: of two clients whose WAIT speaks of the same connection one gets it, when all that was sent
// there is answered, and the other has its replies and the end.
func TestLinkTakenOnce(t *testing.T) {
	w, a, b := newWire(t, testRules(t)), join(t), join(t)
	const get, wait = "*2\r\n$3\r\nGET\r\n$6\r\nnone:%s\r\n", "*3\r\n$4\r\nWAIT\r\n$1\r\n0\r\n$1\r\n0\r\n"
	w.say(a, false, fmt.Appendf(nil, get, "a"))
	w.say(b, false, fmt.Appendf(nil, get, "b"))
	w.say(a, true, []byte(wait))
	w.say(b, true, []byte(wait))
	w.flow(t)
	if !a.due || string(a.got) != "$10\r\nGET none:a\r\n" {
		t.Errorf("the first: due %v, got %q", a.due, a.got)
	}
	if b.due || b.ended == nil || string(b.got) != "$10\r\nGET none:b\r\n" {
		t.Errorf("the second: due %v, ended by %v, got %q", b.due, b.ended, b.got)
	}
	conn, err := w.link.Take(a.s)
	if err != nil || conn != w.link.Conn() {
		t.Errorf("the first takes it: %v", err)
	}
	if _, err := w.link.Take(b.s); err == nil {
		t.Error("the connection was taken twice")
	}
}

// TestLinkTakenBehindOneThatHasGone: what is due when nothing is under way on a link is so too where the last that
// was belonged to a client that has gone.
func TestLinkTakenBehindOneThatHasGone(t *testing.T) {
	w, a, b := newWire(t, testRules(t)), join(t), join(t)
	const get = "*2\r\n$3\r\nGET\r\n$6\r\nnone:%s\r\n"
	w.say(a, false, fmt.Appendf(nil, get, "a"))
	w.say(b, false, fmt.Appendf(nil, get, "b"))
	w.say(a, true, []byte("*3\r\n$4\r\nWAIT\r\n$1\r\n0\r\n$1\r\n0\r\n"))
	w.link.Leave(b.s)
	w.flow(t)
	if !a.due || string(a.got) != "$10\r\nGET none:a\r\n" {
		t.Errorf("due %v, got %q", a.due, a.got)
	}
}

// TestLinkLooksAtItsOwn: under a link's lock nobody looks at a session that has left it: it is another place's.
func TestLinkLooksAtItsOwn(t *testing.T) {
	w, m := newWire(t, testRules(t)), join(t)
	get := []byte("*2\r\n$3\r\nGET\r\n$6\r\nnone:a\r\n")
	w.say(m, false, get)
	w.flow(t)
	if b := w.link.Backlog(m.s); b.Halted || b.Commands != 0 || b.Unread != 0 {
		t.Errorf("on the link: %+v", b)
	}
	w.link.Detach(m.s)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for open := true; open; {
			select {
			case <-stop:
				open = false
			default:
			}
			if b := w.link.Backlog(m.s); !b.Halted || b.Commands != 1 || b.Unread != 1 {
				t.Errorf("elsewhere: %+v", b)
				return
			}
			if n, here := w.link.Classes(m.s); here {
				t.Errorf("elsewhere: %v", n)
				return
			}
		}
	}()
	if err := m.s.Client(get); err != nil {
		t.Error(err)
	}
	close(stop)
	<-stopped
}

// flow has the server answer all that is under way.
func (w *wire) flow(t *testing.T) {
	t.Helper()
	if err := w.link.Received(w.server.take(w.link.Output(nil))); err != nil {
		t.Fatal(err)
	}
}

// counted is a client that only counts.
type counted struct{ bytes int }

func (c *counted) Replies(b []byte, _ bool) bool { c.bytes += len(b); return false }
func (c *counted) Due()                          {}
func (c *counted) Ended(error)                   {}

// TestLinkAllocations: in a steady phase a command allocates nothing on a shared connection either, measured or
// not.
func TestLinkAllocations(t *testing.T) {
	for _, c := range steadyCases() {
		rules := testRules(t)
		setPhases(rules, c.phase, c.phase)
		w, sink := newWire(t, rules), &counted{}
		s := intercept.NewSharing(sink, resp.Limits{}, time.Now)
		s.Let()
		if err := s.Client(c.command); err != nil {
			t.Fatal(err)
		}
		if err := w.link.Attach(s); err != nil {
			t.Fatal(err)
		}
		var out []byte
		answer := func() {
			out = w.link.Output(out)
			if err := w.link.Received(c.reply); err != nil {
				t.Fatal(err)
			}
		}
		answer()
		once := func() {
			before := sink.bytes
			w.link.Client(s, c.command)
			if answer(); sink.bytes == before {
				t.Fatal("no answer")
			}
		}
		once()
		if n := testing.AllocsPerRun(200, once); n != 0 {
			t.Errorf("%s: %v allocations, want 0", c.name, n)
		}
		measured := func() {
			w.link.Conn().Measure(1)
			once()
		}
		measured()
		if n := testing.AllocsPerRun(200, measured); n != 0 {
			t.Errorf("%s, measured: %v allocations, want 0", c.name, n)
		}
	}
}
