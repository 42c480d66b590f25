package command

import (
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
)

// fillings are data of every type for a key; %k is its name. Each call of the
// list runs on each of them, also where the type is wrong.
var fillings = [][]string{
	nil,
	{"set %k 12 px 100000000"},
	{"set %k some-longer-text-of-a-value"},
	{"pfadd %k a b c d e f"},
	{"hset %k f 1 g 2 h 3"},
	{"rpush %k a v b v c 1 2 3 4 5"},
	{"sadd %k m n o 1 2 3 p q r s"},
	{"zadd %k 1 m 2 n 3 o 3 p 3 q 0.1 r"},
	{"geoadd %k 1 2 m 1.00001 2.00001 n 1.00002 2 o"},
	{"xadd %k 0-5 f v", "xadd %k 0-9 f w", "xgroup create %k g 0", "xreadgroup group g c count 1 streams %k >"},
}

// TestReplay proves the allow-list on a server: every call that is replayed, or
// overwrites, gives the same reply and the same data on a copy. The calls of
// later servers are taken on their descriptions until such a server is at hand.
func TestReplay(t *testing.T) {
	s := redistest.Start(t, redistest.WithConfig("enable-debug-command yes"))
	known := make(map[string]bool)
	for _, c := range serverCommands(t, s) {
		known[c.Name] = true
	}
	conn := s.Conn()
	ran := 0
	for _, line := range calls(t) {
		args := words(line)
		c, _ := Lookup(args)
		if class := c.Use(args).Class; class != ClassReplay && class != ClassOverwrite || !known[c.Name] {
			continue
		}
		for _, filling := range fillings {
			if replay(t, conn, c, line, filling) {
				ran++
			}
		}
	}
	if ran < 300 {
		t.Errorf("%d calls ran without an error, want at least 300: the calls test nothing", ran)
	}
}

// replay runs a call on keys of one filling and on their copies, in one round
// trip, and reports whether it ran without an error.
func replay(t *testing.T, conn *redistest.Conn, c *Command, line string, filling []string) bool {
	t.Helper()
	keys, err := c.Keys(nil, words(line))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	call, onCopy := strings.Fields(line), strings.Fields(line)
	batch := [][]string{{"FLUSHALL"}}
	for _, k := range keys {
		name := call[k.Arg]
		onCopy[k.Arg] = "copy:" + name
		for _, command := range filling {
			batch = append(batch, strings.Fields(strings.ReplaceAll(command, "%k", name)))
		}
		batch = append(batch, []string{"COPY", name, "copy:" + name})
	}
	at := len(batch)
	batch = append(batch, call, onCopy)
	for _, k := range keys {
		for _, name := range []string{call[k.Arg], onCopy[k.Arg]} {
			// A digest without the name, and whether there is an expiry at all.
			batch = append(batch, []string{"DEBUG", "DIGEST-VALUE", name}, []string{"EVAL", "return redis.call('PTTL', KEYS[1]) < 0", "1", name})
		}
	}
	for _, command := range batch {
		conn.Send(command...)
	}
	var replies []string
	for range batch {
		replies = append(replies, string(conn.ReadRaw()))
	}
	want, got := replies[at], strings.ReplaceAll(replies[at+1], "$6\r\ncopy:", "$1\r\n")
	if got != want {
		t.Errorf("%s on %q: replies %q, on the copy %q", line, filling, want, got)
	}
	for i, k := range keys {
		r := replies[at+2+4*i:]
		if r[0] != r[2] || r[1] != r[3] {
			t.Errorf("%s on %q: %s and its copy differ: %q", line, filling, call[k.Arg], r[:4])
		}
	}
	return !strings.HasPrefix(want, "-")
}
