package faulttest

import (
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
)

// TestFullMemory: a server that has no memory left answers through the engine as it answers alone.
// Reads, and writes that need no memory, go on in every phase, although Redis 7.0 refuses every
// command inside MULTI then; writes that grow get OOM and change nothing.
func TestFullMemory(t *testing.T) {
	for _, s := range stages() {
		t.Run(s.String(), func(t *testing.T) {
			server := redistest.Shared(t)
			bare := server.Conn()
			r := in(t, s)
			c := connect(t, r, server.Addr())
			load := [][]string{
				{"SET", "str", "v"}, {"SET", "gone", "v"}, {"RPUSH", "list", "a", "b", "c"}, {"SADD", "set", "m", "n"},
				{"HSET", "hash", "f", "1", "g", "2"}, {"ZADD", "zset", "1", "m", "2", "n"}, {"SET", "ttl", "v"}, {"SET", "other", "v"},
			}
			steps := []struct{ words, want string }{
				{"GET str", "v"}, {"GET none", "nil"}, {"EXISTS str none list", "2"}, {"LRANGE list 0 -1", "[a b c]"},
				{"HGET hash f", "1"}, {"TYPE zset", "zset"}, {"STRLEN str", "1"}, {"MGET str none other", "[v nil v]"}, {"TTL str", "-1"},
				{"SET str longer", oom}, {"APPEND str x", oom}, {"RPUSH list x", oom}, {"HSET hash h 3", oom}, {"INCR counter", oom},
				{"SETEX str 10 x", oom}, {"MSET str 1 other 2", oom}, {"COPY str copy", oom},
				{"LPOP list", "a"}, {"SREM set m", "1"}, {"HDEL hash f", "1"}, {"ZREM zset m", "1"}, {"EXPIRE ttl 100", "1"},
				{"PERSIST ttl", "1"}, {"DEL gone none", "1"}, {"GET gone", "nil"}, {"UNLINK other", "1"}, {"GETDEL ttl", "v"},
				{"LRANGE list 0 -1", "[b c]"}, {"SMEMBERS set", "[n]"}, {"HGETALL hash", "[g 2]"}, {"GET str", "v"},
			}
			for _, mode := range []string{"oracle", "engine"} {
				on := c
				if mode == "oracle" {
					on = bare // the same words and names on a bare server: the oracle of the table above
				}
				want(t, bare, "OK", "CONFIG", "SET", "maxmemory", "0")
				want(t, bare, "OK", "FLUSHALL")
				for _, words := range load {
					_ = on.Do(logical(s, words)...)
				}
				want(t, bare, "OK", "CONFIG", "SET", "maxmemory", "1")
				for _, step := range steps {
					words := logical(s, strings.Fields(step.words))
					if got := text(on.Do(words...)); got != step.want && !(step.want == oom && strings.HasPrefix(got, "OOM ")) {
						t.Errorf("%s: %s: got %s, want %s", mode, step.words, got, step.want)
					}
				}
			}
			want(t, bare, "OK", "CONFIG", "SET", "maxmemory", "0")
			switch n := stats(r, s).Uncopied; {
			case s == mirrorDual && n == 0:
				t.Error("no command was counted as uncopied")
			case s.phase.Parked() && n != 0:
				t.Errorf("%d uncopied, want none where nothing is copied", n)
			}
		})
	}
}

const oom = "OOM"

// TestFullMemoryOfAnOlderServer: where nobody can tell when P expires (before 7.0), an expiry that cannot be given to L is
// not given to P either: the next read in dual would make P of an L that lives for ever.
func TestFullMemoryOfAnOlderServer(t *testing.T) {
	server := redistest.Shared(t, redistest.WithConfig(`rename-command PEXPIRETIME ""`))
	bare := server.Conn()
	if server.IsValkey() || server.AtLeast(7, 2) {
		// Time stands still in its scripts, and nothing is asked there.
		return
	}
	s := mirrorDual
	c := connect(t, in(t, s), server.Addr())
	for _, words := range []string{"EXPIRE k 10", "PEXPIRE k 10000", "GETEX k EX 10"} {
		want(t, c, "OK", "SET", s.legacy("k"), "v")
		want(t, bare, "OK", "CONFIG", "SET", "maxmemory", "1")
		wantPrefix(t, c, "OOM ", logical(s, strings.Fields(words))...)
		for _, name := range s.copies("k") {
			want(t, bare, "-1", "PTTL", name)
			want(t, bare, "v", "GET", name)
		}
		want(t, c, "1", "EXPIREAT", s.legacy("k"), "4102444800")
		for _, name := range s.copies("k") {
			want(t, bare, "4102444800", "EXPIRETIME", name)
		}
		want(t, bare, "OK", "CONFIG", "SET", "maxmemory", "0")
	}
}

// logical puts the rule's prefix before the names in a command of the tables above.
func logical(s stage, words []string) []string {
	out := append([]string(nil), words...)
	last := 1
	switch words[0] {
	case "EXISTS", "MGET", "DEL", "COPY":
		last = len(words) - 1
	case "MSET":
		out[3] = s.legacy(out[3])
	}
	for i := 1; i <= last; i++ {
		out[i] = s.legacy(out[i])
	}
	return out
}

// TestFullMemoryIsAFault shows what the mend is for: the transaction of a dual read, sent by hand on a
// full server, is refused, with COPY or, before 7.2, without.
func TestFullMemoryIsAFault(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	want(t, bare, "OK", "SET", "mi:k", "v")
	want(t, bare, "OK", "CONFIG", "SET", "maxmemory", "1")
	want(t, bare, "v", "GET", "mi:k")
	for _, line := range []string{"MULTI", "COPY mi:k cw:test:mi:k", "GET cw:test:mi:k"} {
		_ = bare.Do(strings.Fields(line)...)
	}
	wantPrefix(t, bare, "EXECABORT", "EXEC")
	want(t, bare, "OK", "CONFIG", "SET", "maxmemory", "0")
}
