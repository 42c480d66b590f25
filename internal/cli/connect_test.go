package cli

import (
	"errors"
	"slices"
	"testing"

	"github.com/classwaves/rekey/plan"
)

// A plan may leave its server's URL to the command line. Its sentinels and certificates belong to that URL
// then, and to no other server than the plan's own.
func TestServerOfThePlan(t *testing.T) {
	ca := "nowhere/ca.pem"
	for _, c := range []struct {
		name  string
		plan  plan.Server
		redis string
		want  plan.Server
		code  int // of a refusal
	}{
		{"sentinels, and a URL beside the plan", plan.Server{Sentinel: []string{"10.0.0.1:26379"}}, "redis://main", plan.Server{URL: "redis://main", Sentinel: []string{"10.0.0.1:26379"}}, 0},
		{"certificates, and a URL beside the plan", plan.Server{TLS: plan.TLS{CA: ca}}, "rediss://a:1", plan.Server{URL: "rediss://a:1", TLS: plan.TLS{CA: ca}}, 0},
		{"certificates, and a URL that is not encrypted", plan.Server{TLS: plan.TLS{CA: ca}}, "redis://a:1", plan.Server{}, exitUsage},
		{"the plan's own URL", plan.Server{URL: "redis://main", Sentinel: []string{"10.0.0.1:26379"}}, "", plan.Server{URL: "redis://main", Sentinel: []string{"10.0.0.1:26379"}}, 0},
		{"the plan's own URL once more", plan.Server{URL: "redis://main", Sentinel: []string{"10.0.0.1:26379"}}, "redis://main", plan.Server{URL: "redis://main", Sentinel: []string{"10.0.0.1:26379"}}, 0},
		{"another server", plan.Server{URL: "redis://main", Sentinel: []string{"10.0.0.1:26379"}}, "redis://b:2", plan.Server{URL: "redis://b:2"}, 0},
		{"a database of the plan", plan.Server{}, "redis://b:2/1", plan.Server{URL: "redis://b:2/1"}, 0},
		{"another database", plan.Server{}, "redis://b:2/9", plan.Server{}, exitUsage},
		{"none", plan.Server{}, "", plan.Server{}, exitUsage},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &plan.Plan{File: "rekey.yaml", Server: c.plan, Databases: []int{0, 1}}
			got, err := (&app{lookup: func(name string) (string, bool) { return c.redis, name == envRedisURL }}).serverOf(p)
			var refused *failure
			if errors.As(err, &refused) && refused.code == c.code {
				return
			}
			if err != nil || c.code != 0 || got.URL != c.want.URL || got.TLS != c.want.TLS || !slices.Equal(got.Sentinel, c.want.Sentinel) {
				t.Errorf("got %#v, %v; want %#v, exit code %d", got, err, c.want, c.code)
			}
		})
	}
}

// A Sentinel group's name is no host.
func TestSentinelsOfThePlan(t *testing.T) {
	p := &plan.Plan{Server: plan.Server{Sentinel: []string{"10.0.0.1:26379"}}, Databases: []int{0}}
	got, err := (&app{redis: "redis://main"}).findServer(p)
	if err != nil {
		t.Fatal(err)
	}
	if got.options.MasterName != "main" || !slices.Equal(got.options.Addrs, p.Server.Sentinel) {
		t.Errorf("got master %q at %q", got.options.MasterName, got.options.Addrs)
	}
}
