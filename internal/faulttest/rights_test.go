package faulttest

import (
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// rights are what a user may lack of that which the protocol adds.
var rights = []string{"-copy", "-unlink", "-multi", "-eval", "-renamenx", "-exec", noTargetNames, noLegacyNames}

const noTargetNames, noLegacyNames = "no target names", "no legacy names"

// user makes the user app, who lacks one right.
func user(t *testing.T, bare *redistest.Conn, strategy phase.Strategy, right string) {
	t.Helper()
	rule := stage{strategy: strategy}
	words := []string{"ACL", "SETUSER", "app", "reset", "on", ">pw", "+@all"}
	switch right {
	case noTargetNames:
		words = append(words, "~"+rule.legacy("*"))
	case noLegacyNames:
		words = append(words, "~"+rule.target("*"))
	default:
		words = append(words, "~*", right)
	}
	want(t, bare, "OK", words...)
}

// TestMissingRight: a user lacks one right. Whatever the phase, he gets NOPERM where his own words
// are refused by the bare server, never the legacy value where only the target name is forbidden to
// him, and no write is done by half.
func TestMissingRight(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, s := range stages() {
		for _, right := range rights {
			t.Run(s.String()+"/"+right, func(t *testing.T) {
				want(t, bare, "OK", "FLUSHALL")
				user(t, bare, s.strategy, right)
				want(t, bare, "OK", "SET", s.home("k"), "v")
				want(t, bare, "OK", "SET", s.home("w"), "1")
				want(t, bare, "1", "SADD", s.home("s"), "m")
				c := connect(t, in(t, s), server.Addr())
				want(t, c, "OK", "AUTH", "app", "pw")

				read := text(c.Do("GET", s.legacy("k")))
				if read != "v" && !refused(read) {
					t.Errorf("GET: %s, want v or a refusal", read)
				}
				onTarget := s.home("k") == s.target("k") || len(s.copies("k")) == 2 || s.copies("k")[0] == s.target("k")
				if right == noTargetNames && onTarget && read == "v" {
					t.Error("the value of a key whose name is forbidden")
				}
				if strings.HasPrefix(right, "-") && s.phase.Parked() && read != "v" {
					t.Errorf("GET: %s, want v where nothing is added to it", read)
				}

				before := text(bare.Do("MGET", s.legacy("w"), s.target("w")))
				written := text(c.Do("INCR", s.legacy("w")))
				after := text(bare.Do("MGET", s.legacy("w"), s.target("w")))
				switch {
				case refused(written) && before != after:
					t.Errorf("INCR was refused with %s and changed %s to %s", written, before, after)
				case written == "2" && strings.Contains(after, "1"):
					t.Errorf("INCR changed one name of two: %s", after)
				case written != "2" && !refused(written):
					t.Errorf("INCR: %s, want 2 or a refusal", written)
				}
				// Which member goes the server chooses: where there are two copies, that takes a script.
				popped := text(c.Do("SPOP", s.legacy("s")))
				left := text(bare.Do("EXISTS", s.legacy("s"), s.target("s")))
				switch {
				case refused(popped) && left != "1":
					t.Errorf("SPOP was refused with %s and left %s names, want 1", popped, left)
				case popped == "m" && left != "0":
					t.Errorf("SPOP took the last member and left %s names", left)
				case popped != "m" && !refused(popped):
					t.Errorf("SPOP: %s, want m or a refusal", popped)
				}
				if n := text(c.Do("PING")); n != "PONG" {
					t.Errorf("the connection after a refusal: %s", n)
				}
			})
		}
	}
}

// refused: an error that names a missing right, the server's or, where the phase cannot do without
// it, rekey's own.
func refused(reply string) bool {
	return strings.HasPrefix(reply, "NOPERM ") || strings.HasPrefix(reply, "rekey: ")
}

// TestMissingRightIsAFault: the commands of the table, sent by hand and one by one by a user who lacks a
// right. Each ends with a wrong value, or an error for what was done or could have been.
func TestMissingRightIsAFault(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, right := range rights {
		history, ok := withoutRight[right]
		if !ok {
			t.Errorf("no history for %s", right)
		}
		t.Run(right, func(t *testing.T) {
			want(t, bare, "OK", "FLUSHALL")
			user(t, bare, phase.Mirror, right)
			transcript(t, bare, history.before...)
			app := server.Conn()
			want(t, app, "OK", "AUTH", "app", "pw")
			transcript(t, app, history.app...)
			transcript(t, bare, history.after...)
		})
	}
}

// withoutRight are histories by what the user lacks: what stands there, what the user sends, and what
// has come of it.
var withoutRight = map[string]struct{ before, app, after []string }{
	noTargetNames: { // the forbidden key is read by its other name, and that is old; INCR by half
		before: []string{"SET mi:k old > OK", "SET cw:test:mi:k new > OK", "MSET mi:w 1 cw:test:mi:w 1 > OK"},
		app:    []string{"GET cw:test:mi:k > NOPERM", "GET mi:k > old", "INCR mi:w > 2", "INCR cw:test:mi:w > NOPERM"},
		after:  []string{"MGET mi:w cw:test:mi:w > [2 1]"},
	},
	noLegacyNames: { // a neighbour in guard would read 1
		before: []string{"MSET mi:w 1 cw:test:mi:w 1 > OK"},
		app:    []string{"INCR cw:test:mi:w > 2", "INCR mi:w > NOPERM"},
		after:  []string{"MGET mi:w cw:test:mi:w > [1 2]"},
	},
	"-copy": { // the key is missed, and counted anew
		before: []string{"SET mi:w 41 > OK"},
		app:    []string{"COPY mi:w cw:test:mi:w > NOPERM", "GET cw:test:mi:w > nil", "INCR cw:test:mi:w > 1"},
		after:  []string{"MGET mi:w cw:test:mi:w > [41 1]"},
	},
	"-unlink": { // guard: a neighbour in dual reads the old copy
		before: []string{"MSET mi:k old cw:test:mi:k old > OK"},
		app:    []string{"SET mi:k new > OK", "UNLINK cw:test:mi:k > NOPERM"},
		after:  []string{"GET cw:test:mi:k > old"},
	},
	"-multi": { // the application hears of an error, and its write was done
		before: []string{"MSET mi:w 1 cw:test:mi:w 1 > OK"},
		app:    []string{"MULTI > NOPERM", "INCR cw:test:mi:w > 2", "INCR mi:w > 2", "EXEC > ERR"},
		after:  []string{"MGET mi:w cw:test:mi:w > [2 2]"},
	},
	"-exec": { // a read that the user may send fails with an error that is not about rights
		before: []string{"SET mi:k v > OK"},
		app: []string{"GET mi:k > v",
			"MULTI > OK", "COPY mi:k cw:test:mi:k > QUEUED", "GET cw:test:mi:k > QUEUED", "EXEC > EXECABORT"},
		after: []string{"GET cw:test:mi:k > nil"},
	},
	"-eval": { // popped from one name only: the way back shows the member again
		before: []string{"SADD mi:s m > 1", "SADD cw:test:mi:s m > 1"},
		app:    []string{"EVAL return(1) 0 > NOPERM", "SPOP cw:test:mi:s > m"},
		after:  []string{"SMEMBERS mi:s > [m]"},
	},
	"-renamenx": { // the move strategy: counted anew, and a key under both names
		before: []string{"SET mo:w 41 > OK"},
		app:    []string{"RENAMENX mo:w cw:test:mo:w > NOPERM", "INCR cw:test:mo:w > 1"},
		after:  []string{"MGET mo:w cw:test:mo:w > [41 1]"},
	},
}

// TestRightsOfABareUser: what a user may not do on a bare server is refused through the engine with
// the same error, in every phase.
func TestRightsOfABareUser(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, s := range stages() {
		t.Run(s.String(), func(t *testing.T) {
			want(t, bare, "OK", "FLUSHALL")
			want(t, bare, "OK", "ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-incr", "-get")
			alone := server.Conn()
			want(t, alone, "OK", "AUTH", "app", "pw")
			c := connect(t, in(t, s), server.Addr())
			want(t, c, "OK", "AUTH", "app", "pw")
			for _, words := range [][]string{{"INCR", s.legacy("k")}, {"GET", s.legacy("k")}} {
				want(t, c, text(alone.Do(words...)), words...)
			}
			want(t, c, "OK", "SET", s.legacy("k"), "1")
		})
	}
}

// TestRightsOfABareUserIsAFault: the same refusals inside what the phases add, sent by hand, are other
// errors than the user's own command gets.
func TestRightsOfABareUserIsAFault(t *testing.T) {
	server := redistest.Shared(t)
	want(t, server.Conn(), "OK", "ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", "+@all", "-incr", "-get")
	alone := server.Conn()
	want(t, alone, "OK", "AUTH", "app", "pw")
	transcript(t, alone,
		"GET mi:k > NOPERM", "INCR mi:k > NOPERM",
		"MULTI > OK", "COPY mi:k cw:test:mi:k > QUEUED", "GET cw:test:mi:k > NOPERM", "EXEC > EXECABORT",
		"MULTI > OK", "INCR mi:k > NOPERM", "UNLINK cw:test:mi:k > QUEUED", "EXEC > EXECABORT",
		"EVAL return(redis.call('INCR',KEYS[1])) 1 mi:k > ERR",
	)
}
