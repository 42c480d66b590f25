package intercept_test

import (
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestAcrossDatabases: what takes keys into or out of a database of the plan is refused unless the rule is at legacy,
// from whichever side it comes. Between databases that are treated alike it is a matter of the keys alone.
func TestAcrossDatabases(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	const (
		never   = iota // it passes in every phase
		held           // it is refused unless the rules are at legacy
		unready        // it is refused unless they are parked
	)
	for _, c := range []struct {
		lines   string // the last one is judged
		refused int
		both    bool // the plan has database 2 as well
	}{
		{"SELECT 1; MOVE a:1 0", held, false},
		{"MOVE a:1 1", held, false},
		{"SELECT 1; COPY a:1 x DB 0", held, false},
		{"SELECT 1; COPY x a:1 replace db 0", held, false},
		{"COPY a:1 x DB 1", held, false},
		{"SELECT 1; COPY x a:1 DB 1 DB 0", held, false},
		{"SELECT 1; SWAPDB 0 1", held, false},
		{"SELECT 2; SWAPDB 1 0", held, false},
		{"SWAPDB 0 1", held, false},
		{"MULTI; SELECT 1; MOVE a:1 0", held, false},
		{"MULTI; SELECT 1; COPY x a:1 DB 0", held, false},
		{"MULTI; SELECT 1; SWAPDB 0 1", held, false},

		{"SELECT 1; MOVE x 0", never, false},
		{"MOVE x 1", never, false},
		{"SELECT 1; MOVE a:1 2", never, false},
		{"SELECT 1; COPY a:1 a:2 DB 1", never, false},
		{"COPY a:1 a:2 DB 0", never, false},
		{"COPY a:1 a:2 REPLACE db 0", never, false},
		{"MULTI; COPY a:1 a:2 DB 0 REPLACE", never, false},
		{"WATCH a:3; COPY a:1 a:2 DB 0", never, false},
		{"SELECT 2; COPY a:1 a:2 DB 2", never, true},
		{"SWAPDB 1 2", never, false},
		{"SELECT 1; SWAPDB 1 2", never, false},
		{"SELECT 1; SWAPDB 0 word", never, false},
		{"SELECT 1; MOVE a:1 word", never, false},
		{"SELECT 1; COPY a:1 x DB", never, false},

		{"MULTI; SELECT 0; COPY a:1 a:2 DB 0", unready, false}, // the SELECT may fail
		{"MOVE a:1 2", unready, true},
		{"SELECT 2; MOVE a:1 0", unready, true},
		{"SELECT 2; COPY a:1 a:2 DB 0", unready, true},
		{"SWAPDB 0 2", unready, true},
		{"SELECT 1; SWAPDB 0 2", unready, true},
		{"SELECT 1; MOVE a:1 2", held, true},
	} {
		for _, p := range allPhases {
			bare.Do("FLUSHALL")
			rules := testRules(t)
			if c.both {
				rules.Databases = []int{0, 2}
			}
			setPhases(rules, p, phase.Legacy)
			client := redistest.NewConn(t, dial(t, server, rules))
			lines := strings.Split(c.lines, "; ")
			for _, line := range lines[:len(lines)-1] {
				client.Do(strings.Fields(line)...)
			}
			got := client.Do(strings.Fields(lines[len(lines)-1])...)
			want := c.refused == held && p != phase.Legacy || c.refused == unready && !p.Parked()
			if refused := strings.Contains(string(got.Str), "rekey:"); refused != want {
				t.Errorf("%s: %s: got %q, refused %v, want %v", p, c.lines, got.Str, refused, want)
			}
		}
	}
}

// TestMoveLosesNothing: a key that a connection took from another database is read where it went.
func TestMoveLosesNothing(t *testing.T) {
	server := redistest.Shared(t)
	for _, p := range allPhases {
		server.Conn().Do("FLUSHALL")
		rules := testRules(t)
		setPhases(rules, p, phase.Legacy)
		client := redistest.NewConn(t, dial(t, server, rules))
		client.Do("SELECT", "1")
		client.Do("SET", "a:1", "v")
		moved := client.Do("MOVE", "a:1", "0")
		client.Do("SELECT", "0")
		if got := client.Do("GET", "a:1"); !moved.IsError() && string(got.Str) != "v" {
			t.Errorf("%s: MOVE answered %d and GET %q, want a refusal or v", p, moved.Int, got.Str)
		}
	}
}
