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

// TestAdmissionBehindALogin: a server with a password tells nobody a CLIENT ID before the login. The instance is asked
// behind it, with the number, also on a connection whose first commands were refused, and the login may come in
// AUTH or in HELLO.
func TestAdmissionBehindALogin(t *testing.T) {
	server := redistest.Start(t)
	server.Conn().Do("CONFIG", "SET", "requirepass", "secret")
	for _, p := range []phase.Phase{phase.Legacy, phase.Guard} {
		for name, login := range map[string][]string{"AUTH": {"AUTH", "secret"}, "HELLO": {"HELLO", "2", "AUTH", "default", "secret"}} {
			t.Run(p.String()+" "+name, func(t *testing.T) {
				rules := testRules(t)
				setPhases(rules, p, p)
				var asked []int64
				admit := func(id int64) error { asked = append(asked, id); return nil }
				raw := intercept.NewConn(server.Dial(), rules, intercept.Hooks{Admit: admit})
				conn := redistest.NewConn(t, raw)
				t.Cleanup(func() { _ = raw.Close() })
				for _, refused := range [][]string{{"SET", "a:1", "x"}, {"PING"}, {"AUTH", "wrong"}, {"MULTI"}, {"SET", "a:1", "x"}} {
					if got := conn.Do(refused...); !got.IsError() || !strings.Contains(string(got.Str), "NOAUTH ") && !strings.Contains(string(got.Str), "WRONGPASS ") {
						t.Errorf("%q before the login: %s", refused, got.Str)
					}
				}
				if len(asked) > 0 {
					t.Errorf("admitted before the login, with %d", asked)
				}
				if got := conn.Do(login...); got.IsError() {
					t.Fatalf("%q: %s", login, got.Str)
				}
				if got := conn.Do("SET", "a:1", "x"); got.IsError() {
					t.Errorf("SET behind the login: %s", got.Str)
				}
				if id := conn.Do("CLIENT", "ID").Int; len(asked) != 1 || asked[0] != id {
					t.Errorf("the instance was asked for %d, want once for %d", asked, id)
				}
			})
		}
	}
}
