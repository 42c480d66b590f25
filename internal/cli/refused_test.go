package cli

import (
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
)

// TestRefusedByTheServer: a server that refuses a command refuses it again, so "the same command again" is no advice.
func TestRefusedByTheServer(t *testing.T) {
	primary := redistest.Start(t)
	host, port, _ := strings.Cut(primary.Addr(), ":")
	replica := redistest.Start(t, redistest.WithConfig("replicaof "+host+" "+port))
	scriptless := redistest.Start(t, redistest.WithConfig(`rename-command EVALSHA ""`, `rename-command EVAL ""`))
	infoless := redistest.Start(t, redistest.WithConfig(`rename-command INFO ""`))
	cluster := redistest.Start(t, redistest.WithConfig("cluster-enabled yes"))
	admin := primary.Client()
	for _, acl := range [][]any{
		{"ACL", "SETUSER", "keyless", "on", ">p", "+@all"}, {"ACL", "SETUSER", "reader", "on", ">p", "~*", "+@read", "+ping", "+select"},
	} {
		if err := admin.Do(t.Context(), acl...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	as := func(user string) string { return "redis://" + user + ":p@" + primary.Addr() }
	foreign := redistest.Start(t)
	if err := foreign.Client().Set(t.Context(), "cw:prod:rekey:fleet", "mine", 0).Err(); err != nil {
		t.Fatal(err)
	}
	path, elsewhere := planFile(t, cliPlan), planFile(t, cliPlan+"databases: [77]\n")
	for _, c := range []struct {
		name, file, url string
		args            []string
		stderr, try     string
	}{
		{"audit of a replica", path, replica.URL(), []string{"audit"}, "READONLY", "URL of its primary"},
		{"run on a replica", path, replica.URL(), []string{"run", "--yes", "--no-instances"}, "READONLY", "URL of its primary"},
		{"status of a cluster", path, cluster.URL(), []string{"status"}, "a cluster is not supported yet", "a single server or a Sentinel group"},
		{"status without scripts", path, scriptless.URL(), []string{"status"}, "unknown command", "rename-command"},
		{"status without INFO", path, infoless.URL(), []string{"status"}, "unknown command", "rename-command"},
		{"plan without INFO", path, infoless.URL(), []string{"plan"}, "unknown command", "rename-command"},
		{"plan of a database that is none", elsewhere, primary.URL(), []string{"plan"}, "DB index is out of range", "databases: in the plan"},
		{"status of a database that is none", elsewhere, primary.URL(), []string{"status"}, "DB index is out of range", "databases: in the plan"},
		{"status without a right", path, as("reader"), []string{"status"}, "NOPERM", "rekey plan --acl"},
		{"run without a right", path, as("reader"), []string{"run", "--yes", "--no-instances"}, "NOPERM", "rekey plan --acl"},
		{"status without the keys", path, as("keyless"), []string{"status"}, "NOPERM", "rekey plan --acl"},
		{"status beside somebody else's keys", path, foreign.URL(), []string{"status"}, "WRONGTYPE", "control_prefix"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := mustExit(t, exitFailed, runCLI(t, nil, append(c.args, "-f", c.file, "--redis", c.url)...))
			said, try, _ := strings.Cut(run.stderr, "\nTry: ")
			if !strings.Contains(said, c.stderr) || !strings.Contains(try, c.try) {
				t.Errorf("got %q, want %q and then Try: with %q", run.stderr, c.stderr, c.try)
			}
		})
	}
	// What a plan without keys is told: the walk over the keys is refused.
	if err := admin.Set(t.Context(), "secure_session:1", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	run := mustExit(t, exitFailed, runCLI(t, nil, "plan", "-f", path, "--redis", as("keyless")))
	if !strings.Contains(run.stderr, "NOPERM") || !strings.Contains(run.stderr, "Try: rekey plan --acl") {
		t.Errorf("got %q, want the line that gives the rights", run.stderr)
	}
}
