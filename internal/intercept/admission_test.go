package intercept_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

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

// TestRefusedConnectionIsGivenUp: what refused a connection may itself be a server's reply, such as LOADING
// behind a restart. A client that finds a reply in the error of a Write takes the connection for a sound one
// (go-redis does), and would keep for ever what carries no command any more.
func TestRefusedConnectionIsGivenUp(t *testing.T) {
	server := redistest.Shared(t)
	rules := testRules(t)
	setPhases(rules, phase.Guard, phase.Guard)
	loading := server.Client().Do(t.Context(), "NOSUCH").Err()
	if reply := redis.Error(nil); !errors.As(loading, &reply) {
		t.Fatalf("%v is no reply", loading)
	}
	refusals := 0
	client := server.Client(func(o *redis.Options) {
		o.PoolSize, o.MaxRetries = 1, -1
		o.Dialer = func(context.Context, string, string) (net.Conn, error) {
			return intercept.NewConn(server.Dial(), rules, intercept.Hooks{Admit: func(int64) error {
				if refusals++; refusals == 1 {
					return fmt.Errorf("rekey: lease lost: %w", loading)
				}
				return nil
			}}), nil
		}
	})
	if err := client.Set(t.Context(), "a:1", "x", 0).Err(); err == nil || !strings.Contains(err.Error(), "rekey: lease lost") {
		t.Fatalf("on a connection that is refused: %v", err)
	}
	if err := client.Set(t.Context(), "a:1", "x", 0).Err(); err != nil {
		t.Errorf("on the next connection: %v", err)
	}
}
