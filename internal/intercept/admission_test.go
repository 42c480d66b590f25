package intercept_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestAdmission: before the first command the instance is asked, once, with the connection's CLIENT ID,
// and the command waits for its word; also while every rule is parked, as one may leave its parking.
func TestAdmission(t *testing.T) {
	server := redistest.Shared(t)
	rules := testRules(t)
	var asked atomic.Int64
	admit := func(id int64) error {
		asked.Add(id)
		if got := server.Conn().Do("EXISTS", "a:1").Int; got != 0 {
			t.Error("a command ran before the connection was admitted")
		}
		return nil
	}
	raw := intercept.NewConn(server.Dial(), rules, intercept.Hooks{Admit: admit})
	conn := redistest.NewConn(t, raw)
	t.Cleanup(func() { _ = raw.Close() })
	conn.Do("SET", "a:1", "x")
	id := conn.Do("CLIENT", "ID").Int
	setPhases(rules, phase.Guard, phase.Guard)
	conn.Do("SET", "a:1", "y")
	if got := asked.Load(); got != id {
		t.Fatalf("asked for connections that sum to %d, want once for %d", got, id)
	}
}

// TestAdmissionRefused: the command is answered with the reason, does not run, and the connection ends.
func TestAdmissionRefused(t *testing.T) {
	server := redistest.Shared(t)
	rules := testRules(t)
	setPhases(rules, phase.Guard, phase.Guard)
	closed := errors.New("rekey: lease lost")
	raw := intercept.NewConn(server.Dial(), rules, intercept.Hooks{Admit: func(int64) error { return closed }})
	t.Cleanup(func() { _ = raw.Close() })
	conn := redistest.NewConn(t, raw)
	conn.Send("SET", "a:1", "x")
	if got := string(conn.ReadRaw()); got != "-rekey: lease lost\r\n" {
		t.Errorf("answer %q", got)
	}
	if _, err := raw.Write([]byte("*1\r\n$4\r\nPING\r\n")); !errors.Is(err, closed) || !strings.HasPrefix(err.Error(), "rekey:") {
		t.Errorf("a later write: %v, want the reason", err)
	}
	if got := server.Conn().Do("EXISTS", "a:1").Int; got != 0 {
		t.Error("the command ran all the same")
	}
}
