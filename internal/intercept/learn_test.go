package intercept_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
)

// described is what a server says of a write with one key in front.
const described = "*1\r\n*6\r\n$6\r\nx.set2\r\n:3\r\n*2\r\n+write\r\n+denyoom\r\n:1\r\n:1\r\n:1\r\n"

// TestWhatTheServerDoesNotDescribeIsAskedAgain: that a server does not know a command, or does not say what it
// does, holds for the one call about which it was asked. A module may be loaded by the next, or another user may be
// told; and a description holds for everybody.
func TestWhatTheServerDoesNotDescribeIsAskedAgain(t *testing.T) {
	const refused = "is not known"
	for _, first := range []struct{ name, info, want string }{
		{"unknown", "*1\r\n*-1\r\n", "-ERR unknown command\r\n"},
		{"no list", "*0\r\n", "-ERR unknown command\r\n"},
		{"busy", "-BUSY Redis is busy running a script\r\n", refused},
		{"no right", "-NOPERM this user has no permissions\r\n", refused},
	} {
		rules := testRules(t)
		setPhases(rules, phase.Dual, phase.Dual)
		ask := func(s *intercept.Session, info string) (sent []string, got string) {
			t.Helper()
			server := &scripted{t: t, s: s, info: info}
			server.client("X.SET2 a:1 v", "-ERR unknown command\r\n")
			return server.sent, server.toClient
		}
		one, other := intercept.NewSession(rules, time.Now), intercept.NewSession(rules, time.Now)
		for range 2 {
			sent, got := ask(one, first.info)
			if !strings.Contains(got, first.want) {
				t.Errorf("%s: got %q, want %q", first.name, got, first.want)
			}
			if n := count(sent, "COMMAND"); n != 1 {
				t.Errorf("%s: the server was asked %d times for one call", first.name, n)
			}
			if passed := slices.Contains(sent, "X.SET2 a:1 v"); passed == (first.want == refused) {
				t.Errorf("%s: sent %q", first.name, sent)
			}
		}
		for i, s := range []*intercept.Session{other, one, other} {
			sent, _ := ask(s, described)
			if !slices.Contains(sent, "X.SET2 cw:test:a:1 v") {
				t.Errorf("described after %s: sent %q, want the target name among it", first.name, sent)
			}
			if n, want := count(sent, "COMMAND"), max(0, 1-i); n != want {
				t.Errorf("described after %s: the server was asked %d times in call %d, want %d", first.name, n, i, want)
			}
		}
	}
}

// count is how many commands of a name there are.
func count(sent []string, name string) (n int) {
	for _, line := range sent {
		if strings.HasPrefix(line, name+" ") {
			n++
		}
	}
	return n
}

// TestUnknownCommandsInAPipeline: each is asked for by itself, and what the server said of one is not taken for
// another.
func TestUnknownCommandsInAPipeline(t *testing.T) {
	rules := testRules(t)
	setPhases(rules, phase.Dual, phase.Dual)
	server := &scripted{t: t, s: intercept.NewSession(rules, time.Now), info: "*1\r\n*-1\r\n", queued: -1}
	var all []byte
	for _, name := range []string{"X.ONE", "PING", "X.TWO"} {
		all = resp.AppendCommand(all, []byte(name), []byte("a:1"))
	}
	if err := server.s.Client(all); err != nil {
		t.Fatal(err)
	}
	server.serve("+OK\r\n")
	want := []string{"COMMAND INFO x.one", "X.ONE a:1", "PING a:1", "COMMAND INFO x.two", "X.TWO a:1"}
	if got := server.sent[len(server.sent)-len(want):]; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// TestToldKeysAmongOtherWords: COMMAND GETKEYS tells names and not places. A word that is the same as a key is not taken
// for one: where that can be told apart by nobody, nothing is sent.
func TestToldKeysAmongOtherWords(t *testing.T) {
	const movable = "*1\r\n*6\r\n$6\r\nx.call\r\n:-2\r\n*2\r\n+write\r\n+movablekeys\r\n:0\r\n:0\r\n:0\r\n"
	for _, c := range []struct {
		phase            phase.Phase
		call, told, want string // want: what is sent, or "" for a refusal
	}{
		{phase.Prefixed, "X.CALL a:1 v", "a:1", "X.CALL cw:test:a:1 v"},
		{phase.Prefixed, "X.CALL a:1 a:1", "a:1 a:1", "X.CALL cw:test:a:1 cw:test:a:1"},
		{phase.Prefixed, "X.CALL a:1 v a:2 a:1", "a:1 a:2", ""},
		{phase.Dual, "X.CALL a:1 a:1", "a:1", ""},
		{phase.Prefixed, "X.CALL cw:test:a:1 cw:test:a:1", "cw:test:a:1", "X.CALL cw:test:a:1 cw:test:a:1"},
		{phase.Legacy, "X.CALL a:1 a:1", "a:1", "X.CALL a:1 a:1"},
		{phase.Dual, "X.CALL n:1 n:1", "n:1", "X.CALL n:1 n:1"},
		{phase.Dual, "X.CALL n:1 a:1", "n:1", "X.CALL n:1 a:1"},
	} {
		rules := testRules(t)
		setPhases(rules, c.phase, phase.Prefixed)
		var told []byte
		told = resp.AppendArrayHeader(told, len(strings.Fields(c.told)))
		for name := range strings.FieldsSeq(c.told) {
			told = resp.AppendBulkString(told, name)
		}
		server := &scripted{t: t, s: intercept.NewSession(rules, time.Now), info: movable, keys: string(told)}
		server.client(c.call, "+OK\r\n")
		sent := server.sent[len(server.sent)-1]
		switch {
		case c.want != "":
			if !slices.Contains(server.sent, c.want) || server.toClient != "+OK\r\n" && c.phase.Parked() {
				t.Errorf("%s: %s: sent %q and answered %q, want %q sent", c.phase, c.call, server.sent, server.toClient, c.want)
			}
		case !strings.HasPrefix(sent, "COMMAND GETKEYS ") || !strings.Contains(server.toClient, "use another name"):
			t.Errorf("%s: %s: sent %q last and answered %q, want a refusal that says what to do", c.phase, c.call, sent, server.toClient)
		}
	}
}

// TestTargetNamesAtLegacy: the application may use either name of a key, at legacy too. A command that the table does
// not know must be asked for there only where it has a word that is a target name.
func TestTargetNamesAtLegacy(t *testing.T) {
	const movable = "*1\r\n*6\r\n$6\r\nx.call\r\n:-2\r\n*2\r\n+write\r\n+movablekeys\r\n:0\r\n:0\r\n:0\r\n"
	for _, c := range []struct{ call, info, want string }{
		{"X.SET2 cw:test:a:1 v", described, "X.SET2 a:1 v"},
		{"X.SET2 a:1 v", described, "X.SET2 a:1 v"},
		{"X.SET2 n:1 v", described, "X.SET2 n:1 v"},
		{"X.CALL cw:test:a:1", movable, "X.CALL a:1"},
		{"X.SET2 cw:test:a:1 v", "-NOPERM this user has no permissions\r\n", ""},
		{"X.SET2 a:1 v", "-NOPERM this user has no permissions\r\n", "X.SET2 a:1 v"},
	} {
		rules := testRules(t)
		server := &scripted{t: t, s: intercept.NewSession(rules, time.Now), info: c.info, keys: "*1\r\n$11\r\ncw:test:a:1\r\n"}
		for range 2 {
			server.client(c.call, "+OK\r\n")
			sent := server.sent[len(server.sent)-1]
			if refused := strings.HasPrefix(server.toClient, "-rekey: "); refused != (c.want == "") || c.want != "" && sent != c.want {
				t.Errorf("%s: sent %q and answered %q, want %q", c.call, sent, server.toClient, c.want)
			}
		}
		if asked := count(server.sent, "COMMAND") > 0; asked != strings.Contains(c.call, "cw:test:") {
			t.Errorf("%s: the server was asked: %v", c.call, asked)
		}
	}
}

// TestSubcommandsThatTheServerDescribes: a container that the table does not know is judged by its subcommands.
func TestSubcommandsThatTheServerDescribes(t *testing.T) {
	const none = "*0\r\n"
	sub := func(name string, flag string, first, last int) string {
		return fmt.Sprintf("*10\r\n$%d\r\n%s\r\n:-2\r\n*1\r\n+%s\r\n:%d\r\n:%d\r\n:1\r\n", len(name), name, flag, first, last) + none + none +
			map[bool]string{false: none, true: "*1\r\n*6\r\n$5\r\nflags\r\n*1\r\n+RW\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n" +
				"*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n" +
				"*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n"}[first > 0] + none
	}
	info := "*1\r\n*10\r\n$6\r\nx.many\r\n:-2\r\n*0\r\n:0\r\n:0\r\n:0\r\n" + none + none + none +
		"*2\r\n" + sub("x.many|set", "write", 2, 2) + sub("x.many|show", "admin", 0, 0)
	for _, c := range []struct{ call, want string }{
		{"X.MANY SET a:1 v", "X.MANY SET cw:test:a:1 v"},
		{"X.MANY SHOW all", "X.MANY SHOW all"},
		{"X.MANY OTHER a:1", ""},
	} {
		rules := testRules(t)
		setPhases(rules, phase.Dual, phase.Dual)
		server := &scripted{t: t, s: intercept.NewSession(rules, time.Now), info: info}
		for range 2 {
			server.client(c.call, "+OK\r\n")
			if refused := strings.HasPrefix(server.toClient, "-rekey: "); refused != (c.want == "") || c.want != "" && !slices.Contains(server.sent, c.want) {
				t.Errorf("%s: sent %q and answered %q, want %q", c.call, server.sent, server.toClient, c.want)
			}
		}
	}
}

// TestSentinelIsNotWaitedFor: what a client asks a sentinel passes in every phase, though the sentinel describes the
// command as one with subcommands, and a sentinel that does not answer holds no change of phase up.
func TestSentinelIsNotWaitedFor(t *testing.T) {
	rules := testRules(t)
	setPhases(rules, phase.Dual, phase.Dual)
	server := &scripted{t: t, s: intercept.NewSession(rules, time.Now), info: "*1\r\n*6\r\n$8\r\nsentinel\r\n:-2\r\n*0\r\n:0\r\n:0\r\n:0\r\n"}
	const question = "SENTINEL GET-MASTER-ADDR-BY-NAME group"
	if server.client(question, "*0\r\n"); server.toClient != "*0\r\n" || !slices.Contains(server.sent, question) {
		t.Errorf("got %q, sent %q", server.toClient, server.sent)
	}
	if err := server.s.Client([]byte("*2\r\n$8\r\nsentinel\r\n$7\r\nmasters\r\n")); err != nil {
		t.Fatal(err)
	}
	server.s.Output()
	if got := server.s.Oldest(); got != intercept.Never {
		t.Errorf("a change of phase waits for the sentinel: something of table %d is under way", got)
	}
}
