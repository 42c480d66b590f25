package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/plan"
)

// TestFleetAndOperatorRightsAreEnough walks a fleet there and back, with every sweep, under two users who have nothing but
// what `rekey plan --acl` prints, and the application its own commands.
func TestFleetAndOperatorRightsAreEnough(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client(func(o *redis.Options) { o.ClientName = "tester" }) // the plan allows it
	text := fmt.Sprintf(walkPlan, "redis://app:pw@"+server.Addr())
	p, err := plan.Parse("rekey.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{
		{"ACL", "SETUSER", "app", "reset", "on", ">pw", "+get", "+incr", "+ping"}, {"ACL", "SETUSER", operatorUser, "reset", "on", ">pw"},
	} {
		send(t, admin, words...)
	}
	for _, l := range aclLines(p, "app") {
		if l.Phase == "all" || l.Phase == fleetLine || l.Phase == operatorLine {
			send(t, admin, strings.Fields(l.Line)...)
		}
	}
	if server.IsValkey() || server.AtLeast(7, 2) {
		send(t, admin, "ACL", "SETUSER", operatorUser, noTouch)
	}
	for i := range walkedKeys {
		send(t, admin, "SET", fmt.Sprintf("secure_session:%d", i), fmt.Sprint(i))
		send(t, admin, "SET", fmt.Sprintf("rl:auth:%d", i), fmt.Sprint(i))
	}
	m, err := rekey.Open(t.Context(), p, rekey.WithFleet(rekey.FleetConfig{Name: "web-1"}))
	if err != nil {
		t.Fatal(err)
	}
	app := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "app", Password: "pw", Dialer: m.Dialer(nil), DisableIdentity: true, Protocol: 2})
	defer func() { _, _ = app.Close(), m.Close() }() // nothing is under way
	path, url := planFile(t, text), "redis://"+operatorUser+":pw@"+server.Addr()
	run := func(args ...string) string {
		t.Helper()
		for _, name := range []string{"secure_session:7", "rl:auth:7"} {
			if got, err := app.Get(t.Context(), name).Result(); err != nil || got != "7" {
				t.Errorf("GET %s: %q, %v", name, got, err)
			}
		}
		out := mustExit(t, exitDone, runCLI(t, nil, append(args, "-f", path, "--redis", url)...))
		return out.stdout + out.stderr
	}
	run("status")
	run("plan")
	run("purge", "--all", "--execute")
	run("run", "--yes", "--until", "dual")
	run("backfill", "sessions")
	run("reverse", "sessions")
	run("verify", "sessions", "--repair", "--execute")
	run("run", "--yes", "--until", "sealed")
	run("cleanup", "sessions", "--trash", "1h", "--execute")
	run("cleanup", "sessions", "--undo", "--execute")
	runCLI(t, nil, "cleanup", "sessions", "--min-idle", "1h", "-f", path, "--redis", url) // they were used just now
	run("run", "--yes")
	run("knob", "--all", "--rate", "1000000")
	run("knob", "--all", "--reset")
	run("audit", "--monitor", "50ms")
	run("log", "sessions")
	run("rollback")
	run("purge", "--all", "--execute")
	if _, err := app.Incr(t.Context(), "rl:auth:9").Result(); err != nil {
		t.Error(err)
	}
	if denied := send(t, admin, "ACL", "LOG").([]any); len(denied) > 0 {
		for _, d := range denied {
			t.Errorf("denied: %v", d)
		}
	}
}

func send(t *testing.T, c *redis.Client, words ...string) any {
	t.Helper()
	args := make([]any, len(words))
	for i, word := range words {
		args[i] = word
	}
	v, err := c.Do(t.Context(), args...).Result()
	if err != nil {
		t.Fatalf("%q: %v", words, err)
	}
	return v
}
