package intercept_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestSelectInsideMulti: the connection is in the database that the server has put it in, and not in the one that
// a queued SELECT has asked for.
func TestSelectInsideMulti(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, c := range []struct {
		lines string
		there map[string]string // keys afterwards: database and name, and the value
	}{
		{"MULTI; SELECT 99; EXEC; SET a:1 v", map[string]string{"0 a:1": "v", "0 cw:test:a:1": "v"}},
		{"MULTI; SELECT 1; SELECT 99; EXEC; SET a:1 v", map[string]string{"1 a:1": "v"}},
		{"SELECT 1; SELECT 0; MULTI; SET a:1 w; SELECT 1; SET a:1 v; EXEC; SET a:2 v", map[string]string{
			"0 a:1": "w", "0 cw:test:a:1": "w", "1 a:1": "v", "1 a:2": "v",
		}},
		{"SELECT 1; MULTI; SELECT 0; SET a:1 v; EXEC; SET a:2 v", map[string]string{
			"0 a:1": "v", "0 cw:test:a:1": "v", "0 a:2": "v", "0 cw:test:a:2": "v",
		}},
		{"MULTI; SELECT 1; DISCARD; SET a:1 v", map[string]string{"0 a:1": "v", "0 cw:test:a:1": "v"}},
		{"MULTI; SELECT 1; GET; EXEC; SET a:1 v", map[string]string{"0 a:1": "v", "0 cw:test:a:1": "v"}},
	} {
		bare.Do("FLUSHALL")
		rules := testRules(t)
		setPhases(rules, phase.Dual, phase.Dual)
		client := redistest.NewConn(t, dial(t, server, rules))
		var all []byte
		lines := strings.Split(c.lines, "; ")
		for _, line := range lines { // in one write: nothing is read before its database is known
			all = append(all, line+"\r\n"...)
		}
		client.Write(all)
		for _, line := range lines {
			if got := client.Read(); got.IsError() && line != "GET" && line != "EXEC" {
				t.Errorf("%s: %s: %s", c.lines, line, got.Str)
			}
		}
		size := 0
		for _, db := range []string{"0", "1"} {
			bare.Do("SELECT", db)
			size += int(bare.Do("DBSIZE").Int)
			for name, want := range c.there {
				if in, name, _ := strings.Cut(name, " "); in == db {
					if got := bare.Do("GET", name); string(got.Str) != want {
						t.Errorf("%s: %s in database %s is %q, want %q", c.lines, name, db, got.Str, want)
					}
				}
			}
		}
		if size != len(c.there) {
			t.Errorf("%s: %d keys, want %d", c.lines, size, len(c.there))
		}
	}
}

// TestUnsureSelect: where a SELECT inside MULTI fails, only EXEC says so, and what stands behind runs in the database
// of before. None of it may run past the rules there.
func TestUnsureSelect(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, c := range []struct {
		name   string
		phase  phase.Phase
		before string
		lines  string
		exec   string // begins so; "": it runs
		zero   string // keys of database 0 afterwards
		one    string // of database 1
	}{
		{"a database that is not there", phase.Dual, "", "SELECT 99; SET a:1 v", "EXECABORT", "", ""},
		{"another spelling", phase.Dual, "SELECT 1; SELECT 0", "SELECT +1; SET a:1 v", "EXECABORT", "", ""},
		{"one that was never seen", phase.Dual, "", "SELECT 1; SET a:1 v", "EXECABORT", "", ""},
		{"one that was seen", phase.Dual, "SELECT 1; SELECT 0", "SELECT 1; SET a:1 v", "", "", "a:1"},
		{"one below it", phase.Dual, "SELECT 2; SELECT 0", "SELECT 1; SET a:1 v", "", "", "a:1"},
		{"one that EXEC has shown", phase.Dual, "MULTI; SELECT 1; EXEC; SELECT 0", "SELECT 1; SET a:1 v", "", "", "a:1"},
		{"from outside of the rules", phase.Dual, "SELECT 1", "SELECT 99; SET a:1 v", "", "", "a:1"},
		{"and back", phase.Dual, "", "SELECT 99; SELECT 0; SET a:1 v", "", "a:1 cw:test:a:1", ""},
		{"keys of no rule", phase.Dual, "", "SELECT 99; SET free v", "", "free", ""},
		{"SCAN", phase.Dual, "", "SELECT 99; SCAN 0", "EXECABORT", "", ""},
		{"SORT", phase.Dual, "", "SELECT 99; SORT free BY a:*", "EXECABORT", "", ""},
		{"the name of that phase", phase.Prefixed, "", "SELECT 99; SET cw:test:a:1 v", "", "cw:test:a:1", ""},
		{"the other name", phase.Prefixed, "", "SELECT 99; SET a:1 v", "EXECABORT", "", ""},
		{"at legacy", phase.Legacy, "", "SELECT 99; SET a:1 v", "", "a:1", ""},
		{"a target name at legacy", phase.Legacy, "", "SELECT 99; SET cw:test:a:1 v", "EXECABORT", "", ""},
	} {
		bare.Do("FLUSHALL")
		rules := testRules(t)
		setPhases(rules, c.phase, c.phase)
		client := redistest.NewConn(t, dial(t, server, rules))
		for line := range strings.SplitSeq(c.before, "; ") {
			if line != "" {
				client.Write([]byte(line + "\r\n"))
				client.Read()
			}
		}
		for line := range strings.SplitSeq("MULTI; "+c.lines, "; ") {
			client.Write([]byte(line + "\r\n"))
			client.Read()
		}
		got := client.Do("EXEC")
		if c.exec == "" && got.Type != '*' || !strings.HasPrefix(string(got.Str), c.exec) {
			t.Errorf("%s: EXEC gives %c %s, want %q", c.name, got.Type, got.Str, c.exec)
		}
		for db, want := range map[string]string{"0": c.zero, "1": c.one} {
			bare.Do("SELECT", db)
			names := texts(bare.Do("KEYS", "*"))
			slices.Sort(names)
			if got := strings.Join(names, " "); got != want {
				t.Errorf("%s: database %s has %q, want %q", c.name, db, got, want)
			}
		}
	}
}
