package intercept_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
)

// TestRefusedBeforeAWrite: a read that is refused and sent again does not see what a write behind it in the same
// pipeline has made of its keys, in whatever way that write names them.
func TestRefusedBeforeAWrite(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	bare.Do("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-copy")
	defer bare.Do("ACL", "DELUSER", "app")
	const refusal = "-NOPERM"
	for _, c := range []struct{ lines, want string }{
		{"GET a:1; DEL b:1", "$3\r\nold\r\n"}, // keys of another rule
		{"GET a:1; SET a:1 new", refusal},
		{"GET a:1; MULTI; SET a:1 new; EXEC", refusal},
		{"GET a:1; MULTI; SET b:1 new; EXEC", "$3\r\nold\r\n"},
		{"GET a:1; DEL b:1 a:1", refusal},
		{"MGET a:1 b:1; DEL b:1", refusal},
		{"MGET a:1 b:1; MULTI; PING; DEL b:1; EXEC", refusal},
		{"MGET a:1 other; SET other new", refusal},
		{"MGET a:1 other; MULTI; SET other new; EXEC", refusal},
		{"MGET a:1 other; RENAME other third", refusal},
		{"GET a:1; FLUSHALL", refusal},
	} {
		bare.Do("FLUSHALL")
		bare.Do("MSET", "a:1", "old", "cw:test:b:1", "old", "other", "old")
		rules := testRules(t)
		setPhases(rules, phase.Dual, phase.Prefixed)
		client := redistest.NewConn(t, dial(t, server, rules))
		client.Do("AUTH", "app", "pw")
		lines := strings.Split(c.lines, "; ")
		client.Write([]byte(strings.Join(lines, "\r\n") + "\r\n"))
		for i, line := range lines {
			got := string(client.ReadRaw())
			if i == 0 && !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s answered %q, want %q", c.lines, line, got, c.want)
			}
		}
	}
}

// TestCountedOnceWhenSentAgain: a removal that is refused for want of memory, and sent again in a phase in which it names
// both names of its key, counts that key once.
func TestCountedOnceWhenSentAgain(t *testing.T) {
	for _, p := range []phase.Phase{phase.Guard, phase.Sealed} {
		for _, call := range []string{"DEL a:1", "UNLINK cw:test:a:1"} {
			rules := testRules(t)
			setPhases(rules, p, phase.Legacy)
			server := &scripted{t: t, s: intercept.NewSession(rules, time.Now), full: func() { setPhases(rules, phase.Dual, phase.Legacy) }}
			server.client(call, ":2\r\n")
			if last := server.sent[len(server.sent)-1]; !strings.HasSuffix(last, " cw:test:a:1 a:1") {
				t.Errorf("%s: %s: sent %q last, want both names", p, call, last)
			}
			if want := ":1\r\n"; server.toClient != want {
				t.Errorf("%s: %s: got %q, want %q", p, call, server.toClient, want)
			}
		}
	}
}

// TestToldKeysAtFullMemory: a read whose keys the server alone can tell is sent again as any other, and the server is asked
// for its keys again: the first answer held for the one command.
func TestToldKeysAtFullMemory(t *testing.T) {
	const movable = "*1\r\n*6\r\n$6\r\nx.call\r\n:-2\r\n*2\r\n+readonly\r\n+movablekeys\r\n:0\r\n:0\r\n:0\r\n"
	rules := testRules(t)
	setPhases(rules, phase.Dual, phase.Legacy)
	server := &scripted{
		t: t, s: intercept.NewSession(rules, time.Now), info: movable, keys: "*1\r\n$3\r\na:1\r\n",
		full: func() {}, exists: func() string { return ":1\r\n" },
	}
	server.client("X.CALL a:1 v", "+value\r\n")
	if server.toClient != "+value\r\n" {
		t.Errorf("got %q, sent %q", server.toClient, server.sent)
	}
	var both []byte
	for _, call := range []string{"GET a:1", "X.CALL a:2 v"} { // the server has told the keys of the second when the first is sent again
		words := bytes.Fields([]byte(call))
		both = resp.AppendCommand(both, words...)
	}
	server.keys, server.toClient = "*1\r\n$3\r\na:2\r\n", ""
	if err := server.s.Client(both); err != nil {
		t.Fatal(err)
	}
	if server.serve("+value\r\n"); server.toClient != "+value\r\n+value\r\n" {
		t.Errorf("got %q, sent %q", server.toClient, server.sent)
	}
	server.keys = "-ERR Invalid arguments specified for command\r\n"
	server.client("X.CALL a:1 v", "+value\r\n")
	if !strings.HasPrefix(server.toClient, "-rekey: the server does not tell") {
		t.Errorf("got %q, sent %q", server.toClient, server.sent)
	}
}

// TestPopsAtFullMemoryOfAnOldServer: what stands in for BLPOP and its like at full memory are commands that every server
// has which can copy. LMPOP and ZMPOP came with Redis 7.0.
func TestPopsAtFullMemoryOfAnOldServer(t *testing.T) {
	server := redistest.Start(t, redistest.WithConfig(`rename-command LMPOP ""`, `rename-command ZMPOP ""`))
	bare := server.Conn()
	for _, c := range []struct {
		call, want, want3 string
		rest              string // what is left of the list or the sorted set
	}{
		{call: "BLPOP a:q 0", want: "*2\r\n$3\r\na:q\r\n$2\r\nv1\r\n", rest: "v2 v3"},
		{call: "BRPOP a:q 0", want: "*2\r\n$3\r\na:q\r\n$2\r\nv3\r\n", rest: "v1 v2"},
		{call: "BLPOP a:none a:q 0", want: "*2\r\n$3\r\na:q\r\n$2\r\nv1\r\n", rest: "v2 v3"},
		{call: "BZPOPMIN a:z 0", want: "*3\r\n$3\r\na:z\r\n$2\r\nm1\r\n$3\r\n1.5\r\n", want3: "*3\r\n$3\r\na:z\r\n$2\r\nm1\r\n,1.5\r\n", rest: "m2"},
		{call: "BZPOPMAX a:none a:z 0", want: "*3\r\n$3\r\na:z\r\n$2\r\nm2\r\n$1\r\n2\r\n", want3: "*3\r\n$3\r\na:z\r\n$2\r\nm2\r\n,2\r\n", rest: "m1"},
		{call: "BLPOP a:none a:z 0", want: "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", rest: "m1 m2"},
		{call: "BLPOP a:none 0.001", want: "*-1\r\n", want3: "_\r\n"},
	} {
		for _, p := range allPhases {
			for _, proto := range []string{"2", "3"} {
				bare.Do("CONFIG", "SET", "maxmemory", "0")
				bare.Do("FLUSHALL")
				names := []string{"a:", "cw:test:a:"}
				if p == phase.Move || p == phase.Legacy || p == phase.Guard {
					names = names[:1]
				} else if p == phase.Hold || p == phase.Prefixed {
					names = names[1:]
				}
				for _, name := range names {
					bare.Do("RPUSH", name+"q", "v1", "v2", "v3")
					bare.Do("ZADD", name+"z", "1.5", "m1", "2", "m2")
				}
				rules := testRules(t)
				setPhases(rules, p, phase.Legacy)
				client := redistest.NewConn(t, dial(t, server, rules))
				client.Do("HELLO", proto)
				bare.Do("CONFIG", "SET", "maxmemory", "1")
				client.Send(strings.Fields(c.call)...)
				want := c.want
				if proto == "3" && c.want3 != "" {
					want = c.want3
				}
				if got := string(client.ReadRaw()); got != want {
					t.Errorf("%s, RESP%s: %s: got %q, want %q", p, proto, c.call, got, want)
				}
				for _, name := range names {
					var left []string
					switch {
					case strings.Contains(c.call, "a:q"):
						left = texts(bare.Do("LRANGE", name+"q", "0", "-1"))
					case strings.Contains(c.call, "a:z"):
						left = texts(bare.Do("ZRANGE", name+"z", "0", "-1"))
					}
					if got := strings.Join(left, " "); got != c.rest && got != "" {
						t.Errorf("%s: %s: %s has %q left, want %q", p, c.call, name, got, c.rest)
					}
				}
			}
		}
	}
}
