package faulttest

import (
	"testing"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestNoKeys: the engine walks no keyspace. After commands of every kind in every phase, changes of
// phase and a connection that was cut off, the server has seen as many KEYS as the application sent.
func TestNoKeys(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	sent := 0
	for _, s := range stages() {
		source := rekey.NewManual(s.phases())
		r := open(t, rekey.WithSource(source))
		c := connect(t, r, server.Addr())
		k := s.legacy("k")
		for _, words := range [][]string{
			{"SET", k, "1"}, {"INCR", k}, {"GET", k}, {"MGET", k, s.legacy("n")}, {"SCAN", "0", "MATCH", s.legacy("*")}, {"RANDOMKEY"},
			{"DBSIZE"}, {"EVAL", "return redis.call('GET', KEYS[1])", "1", k}, {"BLPOP", s.legacy("q"), "0.01"}, {"WATCH", k}, {"MULTI"},
			{"INCR", k}, {"EXEC"}, {"XADD", s.legacy("x"), "*", "f", "v"}, {"SADD", s.legacy("s"), "a"}, {"SPOP", s.legacy("s")},
			{"RENAME", k, s.legacy("r")}, {"NOSUCHCOMMAND", k}, {"DEL", s.legacy("r"), k}, {"KEYS", s.legacy("*")},
		} {
			_ = c.Do(words...)
		}
		sent++
		c.Send("GET", k)
		c.Close()
		to, ok := phase.Next(s.strategy, s.phase, otherEnd(s))
		if !ok {
			t.Fatalf("no step from %s", s)
		}
		follow(t, r, source, map[string]phase.Phase{s.rule(): to})
		reached(t, r)
		if got := r.Stats().KeysCalls; got != 1 {
			t.Errorf("%s: %d KEYS counted, want 1", s, got)
		}
	}
	info := text(bare.Do("INFO", "commandstats"))
	if got := calls(info, "keys"); got != sent {
		t.Errorf("the server saw %d KEYS, the application sent %d", got, sent)
	}
	if got := calls(info, "get"); got == 0 {
		t.Error("INFO commandstats counts no GET: the test cannot fail")
	}
}
