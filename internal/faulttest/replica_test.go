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

// TestReplicaIsAFault: the transactions of the table, sent to a replica by hand. A read fails that is
// answered alone, or misses a key that is there; a write gets an error that no program expects.
func TestReplicaIsAFault(t *testing.T) {
	primary := redistest.Start(t)
	transcript(t, primary.Conn(), "SET mi:k v > OK", "SET mo:k v > OK")
	replica := primary.Replica()
	for name, lines := range map[string][]string{
		"read in dual and drain": {
			"GET mi:k > v",
			"MULTI > OK", "COPY mi:k cw:test:mi:k > READONLY", "GET cw:test:mi:k > QUEUED", "EXEC > EXECABORT",
		},
		"read in dual and drain, without MULTI": {
			"COPY mi:k cw:test:mi:k > READONLY", "GET cw:test:mi:k > nil",
		},
		"read that brings the key": {
			"GET mo:k > v",
			"MULTI > OK", "RENAMENX mo:k cw:test:mo:k > READONLY", "GET cw:test:mo:k > QUEUED", "EXEC > EXECABORT",
		},
		"write in guard": {
			"SET mi:k x > READONLY",
			"MULTI > OK", "SET mi:k x > READONLY", "UNLINK cw:test:mi:k > READONLY", "EXEC > EXECABORT",
		},
		"write of two names": {
			"MULTI > OK", "COPY mi:k cw:test:mi:k > READONLY", "INCR cw:test:mi:k > READONLY", "INCR mi:k > READONLY", "EXEC > EXECABORT",
		},
	} {
		t.Run(name, func(t *testing.T) { transcript(t, replica.Conn(), lines...) })
	}
}
