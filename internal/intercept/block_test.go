package intercept_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
)

// TestPhaseChangesBetweenLookAndTry: a command that is tried again and again finds something, and at
// that moment the phases become such that the server itself may wait. The command must end as any
// other, and the next one on the connection must be sent.
func TestPhaseChangesBetweenLookAndTry(t *testing.T) {
	rules := testRules(t)
	setPhases(rules, phase.Move, phase.Legacy)
	var clock time.Time
	s := intercept.NewSession(rules, func() time.Time { return clock })
	server := &scripted{t: t, s: s, exists: func() string {
		setPhases(rules, phase.Prefixed, phase.Legacy)
		return ":1\r\n"
	}}
	server.client("BLPOP a:q 0", "")
	wake, waits := s.Wake()
	if !waits {
		t.Fatal("the session does not want to try again")
	}
	clock = wake
	if err := s.Tick(); err != nil {
		t.Fatal(err)
	}
	server.serve("*2\r\n$11\r\ncw:test:a:q\r\n$1\r\nv\r\n")
	if got, want := server.toClient, "*2\r\n$3\r\na:q\r\n$1\r\nv\r\n"; got != want {
		t.Fatalf("BLPOP: got %q, want %q", got, want)
	}
	server.client("GET a:k", "$1\r\nw\r\n")
	if got, want := server.toClient, "$1\r\nw\r\n"; got != want {
		t.Errorf("GET after it: got %q, want %q", got, want)
	}
}

// scripted plays the server of a session: it knows what the session asks by itself, finds nothing
// inside MULTI, and answers everything else as it is told.
type scripted struct {
	t        *testing.T
	s        *intercept.Session
	exists   func() string
	eval     func(args [][]byte) string
	full     func() // where it is set, no memory is left: it is called when a command inside MULTI is refused
	info     string // to COMMAND INFO
	keys     string // to COMMAND GETKEYS
	queued   int    // commands after MULTI, -1 without
	sent     []string
	toClient string
}

// client sends a command and lets the server answer, with reply where it is not about itself.
func (f *scripted) client(words, reply string) {
	f.t.Helper()
	var args [][]byte
	for w := range strings.FieldsSeq(words) {
		args = append(args, []byte(w))
	}
	f.queued, f.toClient = -1, ""
	if err := f.s.Client(resp.AppendCommand(nil, args...)); err != nil {
		f.t.Fatal(err)
	}
	f.serve(reply)
}

func (f *scripted) serve(reply string) {
	f.t.Helper()
	for {
		toServer, toClient := f.s.Output()
		f.toClient += string(toClient)
		if len(toServer) == 0 {
			return
		}
		var answer strings.Builder
		for len(toServer) > 0 {
			n, args, err := resp.ParseRequest(toServer, nil, resp.Limits{})
			if n == 0 || err != nil {
				f.t.Fatalf("the session sends %q", toServer)
			}
			f.sent = append(f.sent, string(bytes.Join(args, []byte(" "))))
			answer.WriteString(f.answer(args, reply))
			toServer = toServer[n:]
		}
		if err := f.s.Server([]byte(answer.String())); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *scripted) answer(args [][]byte, reply string) string {
	switch name := strings.ToUpper(string(args[0])); {
	case name == "MULTI":
		f.queued = 0
		return "+OK\r\n"
	case name == "EXEC" && f.queued > 0 && f.full != nil:
		f.queued = -1
		return "-EXECABORT Transaction discarded because of previous errors.\r\n"
	case name == "EXEC":
		n := f.queued
		f.queued = -1
		return fmt.Sprintf("*%d\r\n%s", n, strings.Repeat("$-1\r\n", n))
	case f.queued >= 0 && f.full != nil:
		f.queued++
		f.full()
		return "-OOM command not allowed when used memory > 'maxmemory'.\r\n"
	case f.queued >= 0:
		f.queued++
		return "+QUEUED\r\n"
	case name == "CLIENT":
		return ":7\r\n"
	case name == "INFO":
		return "$49\r\nredis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\n"
	case name == "COMMAND" && string(args[1]) == "GETKEYS":
		return f.keys
	case name == "COMMAND":
		return f.info
	case name == "EVAL" && f.eval != nil:
		return f.eval(args)
	case name == "EXISTS":
		return f.exists()
	}
	return reply
}

// TestClaimWhileItWaits: XREADGROUP with CLAIM is also served by entries of others that have been idle for long enough,
// and these become so without anybody writing. Here the group says what it has to a server that knows no CLAIM, and the
// try is left to the script of a peer.
func TestClaimWhileItWaits(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, c := range []struct {
		call  string
		idle  string
		tries bool
	}{
		{"XREADGROUP GROUP g c2 CLAIM 50000 BLOCK 0 STREAMS a:s >", "60000", true},
		{"XREADGROUP BLOCK 0 CLAIM 50000 GROUP g c2 STREAMS a:s >", "60000", true},
		{"XREADGROUP GROUP g c2 CLAIM 50000 BLOCK 0 STREAMS a:s b:s > >", "60000", true},
		{"XREADGROUP GROUP g c2 CLAIM 50000 BLOCK 0 STREAMS a:s >", "10", false},
		{"XREADGROUP GROUP g c2 BLOCK 0 STREAMS a:s >", "60000", false},
		{"XREADGROUP GROUP g claim BLOCK 0 STREAMS a:s >", "60000", false},
		{"XREADGROUP GROUP g c2 CLAIM junk BLOCK 0 STREAMS a:s >", "10", true}, // what is wrong with it, the server says
	} {
		bare.Do("FLUSHALL")
		for _, name := range []string{"cw:test:a:s", "b:s"} {
			bare.Do("XGROUP", "CREATE", name, "g", "0", "MKSTREAM")
		}
		bare.Do("XADD", "cw:test:a:s", "1-1", "f", "v")
		bare.Do("XREADGROUP", "GROUP", "g", "c1", "STREAMS", "cw:test:a:s", ">")
		rules := testRules(t)
		setPhases(rules, phase.Dual, phase.Legacy)
		var clock time.Time
		s := intercept.NewSession(rules, func() time.Time { return clock })
		looks := 0
		peer := &scripted{t: t, s: s, eval: func(args [][]byte) string {
			looks++
			words := make([]string, len(args))
			for i, a := range args {
				words[i] = string(a)
			}
			reply := bare.Do(words...)
			return string(reply.Append(nil))
		}}
		poll := func() {
			t.Helper()
			wake, waits := s.Wake()
			if !waits {
				t.Fatalf("%s: the session does not want to try again", c.call)
			}
			clock = wake
			if err := s.Tick(); err != nil {
				t.Fatal(err)
			}
			peer.serve("")
		}
		peer.client(c.call, "")
		before := count(peer.sent, "XREADGROUP")
		bare.Do("XCLAIM", "cw:test:a:s", "g", "c1", "0", "1-1", "IDLE", c.idle, "JUSTID")
		poll()
		if tries := count(peer.sent, "XREADGROUP") > before; tries != c.tries || looks != 1 {
			t.Errorf("%s, idle for %s ms: tried again: %v, want %v, after %d looks", c.call, c.idle, tries, c.tries, looks)
		}
	}
}

// TestTimeoutThatNobodyLivesToSee: a timeout that the server accepts waits, however long it is.
func TestTimeoutThatNobodyLivesToSee(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, p := range []phase.Phase{phase.Dual, phase.Move, phase.Prefixed} {
		for _, c := range []struct{ wait, wake string }{
			{"XREAD BLOCK 9007199254740991 STREAMS a:s $", "XADD a:s * f v"},
			{"BLPOP a:q 5000000000", "RPUSH a:q v"},
		} {
			bare.Do("FLUSHALL")
			rules := testRules(t)
			setPhases(rules, p, phase.Legacy)
			client, other := redistest.NewConn(t, dial(t, server, rules)), redistest.NewConn(t, dial(t, server, rules))
			client.Do("PING")
			before := calls(bare, "xread", "blpop")
			client.Write([]byte(c.wait + "\r\n"))
			answer := reading(client)
			redistest.WaitFor(t, 20*time.Second, func() bool { return blocks(bare) || calls(bare, "xread", "blpop") > before })
			other.Do(strings.Fields(c.wake)...)
			if got := <-answer; got.IsError() || len(got.Elems) == 0 {
				t.Errorf("%s: %s: got %q, null %v, want what came", p, c.wait, got.Str, got.Null)
			}
		}
	}
}

// TestOtherTypeWhileItWaits: a key that gets another type meanwhile ends no wait, as it does not on a bare server; one that
// has it from the beginning is an error at once.
func TestOtherTypeWhileItWaits(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, p := range []phase.Phase{phase.Dual, phase.Move} {
		bare.Do("FLUSHALL")
		rules := testRules(t)
		setPhases(rules, p, phase.Legacy)
		client, other := redistest.NewConn(t, dial(t, server, rules)), redistest.NewConn(t, dial(t, server, rules))
		tried := func(before int) {
			t.Helper()
			redistest.WaitFor(t, 20*time.Second, func() bool { return calls(bare, "blpop") > before })
		}
		other.Do("SET", "a:q", "x")
		if got := client.Do("BLPOP", "a:q", "20"); !strings.HasPrefix(string(got.Str), "WRONGTYPE") {
			t.Errorf("%s: BLPOP of a string: got %q", p, got.Str)
		}
		other.Do("DEL", "a:q")
		before := calls(bare, "blpop")
		client.Write([]byte("BLPOP a:q 20\r\n"))
		answer := reading(client)
		tried(before)
		before = calls(bare, "blpop")
		other.Do("SET", "a:q", "x")
		tried(before)
		other.Do("DEL", "a:q")
		other.Do("RPUSH", "a:q", "v")
		if got := <-answer; len(got.Elems) != 2 || string(got.Elems[1].Str) != "v" {
			t.Errorf("%s: BLPOP got %q, want v", p, got.Str)
		}
	}
}

// reading reads one reply meanwhile: a connection tries again only while somebody reads from it.
func reading(c *redistest.Conn) <-chan resp.Value {
	answer := make(chan resp.Value, 1)
	go func() { answer <- c.Read() }()
	return answer
}

// calls is how often the server has run the commands of these names.
func calls(bare *redistest.Conn, names ...string) (sum int) {
	stats := string(bare.Do("INFO", "commandstats").Str)
	for _, name := range names {
		var n int
		_, rest, _ := strings.Cut(stats, "cmdstat_"+name+":calls=")
		_, _ = fmt.Sscan(rest, &n) // none yet
		sum += n
	}
	return sum
}

// blocks says that the server itself holds a client.
func blocks(bare *redistest.Conn) bool {
	return !strings.Contains(string(bare.Do("INFO", "clients").Str), "blocked_clients:0\r\n")
}

// TestBlockingWhileItWatches: between WATCH and MULTI a blocking command works as on a bare server in the phases in which
// the server itself waits, which are those of every rule that is parked. In the others it is refused, also where they come
// while it waits.
func TestBlockingWhileItWatches(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	const advice = "send it before WATCH"
	for _, p := range allPhases {
		bare.Do("FLUSHALL")
		rules := testRules(t)
		setPhases(rules, p, phase.Legacy)
		client := redistest.NewConn(t, dial(t, server, rules))
		client.Do("RPUSH", "a:q", "v")
		client.Do("XADD", "a:s", "1-1", "f", "v")
		client.Do("WATCH", "other")
		for _, c := range []struct {
			call, want string
			native     bool
		}{
			{"BLPOP a:q junk", "-ERR timeout is not a float or out of range\r\n", p.Parked()}, // takes nothing
			{"BLPOP a:q 0.01", "*2\r\n$3\r\na:q\r\n$1\r\nv\r\n", p.Parked()},
			{"BLPOP a:none 0.01", "*-1\r\n", p.Parked()},
			{"XREAD BLOCK 10 STREAMS a:s $", "*-1\r\n", p.Parked() || p == phase.Guard || p == phase.Settled || p == phase.Sealed},
		} {
			client.Send(strings.Fields(c.call)...)
			switch got := string(client.ReadRaw()); {
			case c.native && got != c.want:
				t.Errorf("%s: %s: got %q, want %q", p, c.call, got, c.want)
			case !c.native && !strings.Contains(got, advice):
				t.Errorf("%s: %s: got %q, want a refusal that says %q", p, c.call, got, advice)
			}
		}
		client.Do("MULTI")
		client.Do("SET", "a:k", "v")
		if got := client.Do("EXEC"); len(got.Elems) != 1 {
			t.Errorf("%s: EXEC: got %q, want one answer", p, got.Append(nil))
		}
		if got, want := client.Do("LLEN", "a:q").Int, map[bool]int64{true: 0, false: 1}[p.Parked()]; got != want {
			t.Errorf("%s: the list has %d elements, want %d", p, got, want)
		}
	}

	bare.Do("FLUSHALL")
	rules := testRules(t)
	conn := intercept.NewConn(server.Dial(), rules, intercept.Hooks{})
	defer func() { _ = conn.Close() }()
	client := redistest.NewConn(t, conn)
	client.Do("WATCH", "other")
	if got := guardedWhileItWaits(t, rules, bare, conn, client, "BLPOP", "a:q", "0"); !strings.Contains(string(got.Str), advice) {
		t.Errorf("BLPOP, guard while it waits: got %q, want a refusal that says %q", got.Append(nil), advice)
	}
}

// TestNewestEntryOfAnOldServer: "+" is an identifier since Redis 7.4. Where the server answers an error to it, nobody waits.
func TestNewestEntryOfAnOldServer(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, p := range allPhases {
		rules := testRules(t)
		setPhases(rules, p, phase.Legacy)
		client := redistest.NewConn(t, dial(t, server, rules))
		for _, line := range []string{
			"XREAD BLOCK 10 STREAMS a:none +", "XREAD BLOCK 10 STREAMS a:s +", "XREAD BLOCK 10 STREAMS a:none a:s + 1-1", "XREAD BLOCK 10 STREAMS a:string +",
		} {
			words := strings.Fields(line)
			bare.Do("FLUSHALL")
			bare.Do("XADD", "a:s", "1-1", "f", "v")
			bare.Do("SET", "a:string", "v")
			want := bare.Do(words...)
			bare.Do("FLUSHALL")
			client.Do("XADD", "a:s", "1-1", "f", "v")
			client.Do("SET", "a:string", "v")
			if got := client.Do(words...); string(got.Append(nil)) != string(want.Append(nil)) {
				t.Errorf("%s: %s: got %q, want %q", p, line, got.Append(nil), want.Append(nil))
			}
		}
	}
}

// TestNewestWithoutRights: a user who may not ask where "$" is waits all the same where the server itself does, which is
// where all rules are parked; in a phase that polls it is told, and never given what was there before.
func TestNewestWithoutRights(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	defer bare.Do("ACL", "DELUSER", "app")
	connect := func(rules *intercept.Rules, rights ...string) (*intercept.Conn, *redistest.Conn) {
		bare.Do("FLUSHALL")
		bare.Do("ACL", "DELUSER", "app")
		bare.Do(append([]string{"ACL", "SETUSER", "app", "on", ">pw", "~*", "&*"}, rights...)...)
		bare.Do("XADD", "a:s", "1-1", "f", "old")
		bare.Do("COPY", "a:s", "cw:test:a:s")
		conn := intercept.NewConn(server.Dial(), rules, intercept.Hooks{})
		t.Cleanup(func() { _ = conn.Close() })
		client := redistest.NewConn(t, conn)
		client.Do("AUTH", "app", "pw")
		return conn, client
	}
	for _, p := range allPhases {
		for _, rights := range []string{"-@all +xread", "+@all -xinfo"} {
			rules := testRules(t)
			setPhases(rules, p, phase.Legacy)
			_, client := connect(rules, strings.Fields(rights)...)
			waits := p.Parked() || rights != "-@all +xread" && (p == phase.Guard || p == phase.Settled || p == phase.Sealed)
			switch got := client.Do("XREAD", "BLOCK", "10", "STREAMS", "a:s", "$"); {
			case waits && (!got.Null || got.IsError()):
				t.Errorf("%s, %s: got %q, want nothing", p, rights, got.Append(nil))
			case !waits && !got.IsError() && !got.Null:
				t.Errorf("%s, %s: got %q, want an error", p, rights, got.Append(nil))
			}
			if !waits {
				continue
			}
			before := calls(bare, "xread")
			client.Send("XREAD", "BLOCK", "0", "STREAMS", "a:s", "$")
			answer := reading(client)
			redistest.WaitFor(t, 20*time.Second, func() bool { return blocks(bare) || calls(bare, "xread") > before })
			for _, name := range []string{"a:s", "cw:test:a:s"} {
				bare.Do("XADD", name, "2-1", "f", "new")
			}
			if got := <-answer; len(got.Elems) != 1 || !strings.Contains(string(got.Append(nil)), "new") || strings.Contains(string(got.Append(nil)), "old") {
				t.Errorf("%s, %s: got %q, want the new entry", p, rights, got.Append(nil))
			}
		}
	}

	rules := testRules(t)
	conn, client := connect(rules, "-@all", "+xread", "+client|id")
	if got := guardedWhileItWaits(t, rules, bare, conn, client, "XREAD", "BLOCK", "0", "STREAMS", "a:s", "$"); !strings.HasPrefix(string(got.Str), "NOPERM") {
		t.Errorf("guard while it waits: got %q, want the server's refusal", got.Append(nil))
	}
}

// guardedWhileItWaits is the answer to a blocking command under which rule a comes to guard.
func guardedWhileItWaits(t *testing.T, rules *intercept.Rules, bare *redistest.Conn, conn *intercept.Conn, client *redistest.Conn, words ...string) resp.Value {
	t.Helper()
	client.Send(words...)
	answer := reading(client)
	redistest.WaitFor(t, 20*time.Second, func() bool { return blocks(bare) })
	setPhases(rules, phase.Guard, phase.Legacy)
	id, waiting := conn.Interrupt()
	if !waiting {
		t.Fatal("the connection waits for nothing")
	}
	conn.Interrupted(bare.Do("CLIENT", "UNBLOCK", fmt.Sprint(id)).Int == 1)
	return <-answer
}
