package faulttest

import (
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
)

// TestReplica: on a replica, reads work in each phase and writes get what a bare replica answers.
func TestReplica(t *testing.T) {
	primary := redistest.Start(t)
	on := primary.Conn()
	for _, s := range stages() {
		want(t, on, "OK", "SET", s.home("k"+s.phase.String()), "v")
		want(t, on, "2", "RPUSH", s.home("l"+s.phase.String()), "a", "b")
	}
	replica := primary.Replica()
	refusal := text(replica.Conn().Do("SET", "x", "y"))
	if !strings.HasPrefix(refusal, "READONLY ") {
		t.Fatalf("a bare replica answers a write with %s", refusal)
	}
	for _, s := range stages() {
		t.Run(s.String(), func(t *testing.T) {
			c := connect(t, in(t, s), replica.Addr())
			key := func(id string) string { return s.legacy(id + s.phase.String()) }
			for range 2 {
				want(t, c, "v", "GET", key("k"))
				want(t, c, "[a b]", "LRANGE", key("l"), "0", "-1")
				want(t, c, "1", "EXISTS", key("k"), key("none"))
				want(t, c, "nil", "GET", key("none"))
				for _, write := range []string{"SET k x", "APPEND k x", "DEL k", "EXPIRE k 10", "RPUSH l c", "LPOP l"} {
					words := strings.Fields(write)
					words[1] = key(words[1])
					want(t, c, refusal, words...)
				}
			}
		})
	}
}

// TestMissingRight: a user lacks one right. Whatever the phase, he gets NOPERM where his own words
// are refused by the bare server, never the legacy value where only the target name is forbidden to
// him, and no write is done by half.
func TestMissingRight(t *testing.T) {
	rights := []string{"-copy", "-unlink", "-multi", "-eval", "-renamenx", "-exec", "no target names", "no legacy names"}
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, s := range stages() {
		for _, right := range rights {
			t.Run(s.String()+"/"+right, func(t *testing.T) {
				want(t, bare, "OK", "FLUSHALL")
				user := []string{"ACL", "SETUSER", "app", "reset", "on", ">pw", "+@all"}
				switch right {
				case "no target names":
					user = append(user, "~"+s.legacy("*"))
				case "no legacy names":
					user = append(user, "~"+s.target("*"))
				default:
					user = append(user, "~*", right)
				}
				want(t, bare, "OK", user...)
				want(t, bare, "OK", "SET", s.home("k"), "v")
				want(t, bare, "OK", "SET", s.home("w"), "1")
				c := connect(t, in(t, s), server.Addr())
				want(t, c, "OK", "AUTH", "app", "pw")

				read := text(c.Do("GET", s.legacy("k")))
				if read != "v" && !refused(read) {
					t.Errorf("GET: %s, want v or a refusal", read)
				}
				onTarget := s.home("k") == s.target("k") || len(s.copies("k")) == 2 || s.copies("k")[0] == s.target("k")
				if right == "no target names" && onTarget && read == "v" {
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
