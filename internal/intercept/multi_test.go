package intercept_test

import (
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
		{"MULTI; SET a:1 w; SELECT 1; SET a:1 v; EXEC; SET a:2 v", map[string]string{
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
