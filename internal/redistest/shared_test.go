package redistest

import (
	"errors"
	"io"
	"testing"
)

func TestSharedIsReusedAndEmpty(t *testing.T) {
	var first, second *Server
	var left *Conn
	t.Run("first", func(t *testing.T) {
		first = Shared(t)
		first.Conn().Do("SET", "k", "v")
		left = dialOnce(t, first.Socket()) // closed by nobody
		left.Do("SUBSCRIBE", "channel")
	})
	t.Cleanup(left.Close)
	t.Run("second", func(t *testing.T) {
		second = Shared(t)
		if got := second.Conn().Do("DBSIZE").Int; got != 0 {
			t.Errorf("DBSIZE: got %d, want 0", got)
		}
	})
	if first.p != second.p {
		t.Error("the server was not used again")
	}
	if _, err := left.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("a connection that the first test left: got %v, want its end", err)
	}
}

func TestSharedBelongsToOneTestAtATime(t *testing.T) {
	if a, b := Shared(t), Shared(t); a.p == b.p {
		t.Error("two users at a time have the same server")
	}
}

func TestSharedIsNotReusedAfterAChange(t *testing.T) {
	for name, change := range map[string]func(*Server){
		"configuration": func(s *Server) { s.Conn().Do("CONFIG", "SET", "maxmemory", "20mb") },
		"password":      func(s *Server) { s.Conn().Do("CONFIG", "SET", "requirepass", "secret") },
		"user":          func(s *Server) { s.Conn().Do("ACL", "SETUSER", "app", "on", "+get") },
		"replica":       func(s *Server) { s.Conn().Do("REPLICAOF", "127.0.0.1", "1") },
		"killed":        func(s *Server) { s.Kill() },
		"paused":        func(s *Server) { s.Pause() },
	} {
		t.Run(name, func(t *testing.T) {
			var changed *Server
			t.Run("change", func(t *testing.T) {
				changed = Shared(t)
				change(changed)
			})
			if next := Shared(t); next.p == changed.p {
				t.Error("the next test got the changed server")
			}
			if changed.p.alive() {
				t.Error("the changed server runs on")
			}
		})
	}
}

func TestSharedKeepsConfigurationsApart(t *testing.T) {
	var plain *Server
	t.Run("plain", func(t *testing.T) { plain = Shared(t) })
	s := Shared(t, WithConfig("maxmemory 30mb"))
	if s.p == plain.p {
		t.Error("a server without the configuration that was asked for")
	}
}

func TestSharedIsNotKeptWithoutMain(t *testing.T) {
	keepIdle(false)
	t.Cleanup(func() { keepIdle(true) })
	var s *Server
	t.Run("user", func(t *testing.T) { s = Shared(t) })
	if s.p.alive() {
		t.Error("the server outlives its test, and nobody will stop it")
	}
}
