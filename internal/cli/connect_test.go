package cli

import (
	"crypto/tls"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
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

// TestWithAndWithoutTLS: what a server with TLS says to who comes without, and the other way round, says nothing of TLS.
func TestWithAndWithoutTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, cert, key, 1)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_, _ = conn.Read(make([]byte, 1)) // the handshake, which fails
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	path := planFile(t, cliPlan)
	for _, c := range []struct{ url, try string }{
		{"redis://" + l.Addr().String(), "rediss:// in place of redis://"},
		{"rediss://" + l.Addr().String(), "server: {tls: {ca: FILE}}"},
		{"rediss://" + redistest.Shared(t).Addr(), "redis:// in place of rediss://"},
	} {
		run := mustExit(t, exitFailed, runCLI(t, nil, "status", "-f", path, "--redis", c.url))
		if _, try, _ := strings.Cut(run.stderr, "\nTry: "); !strings.Contains(try, c.try) {
			t.Errorf("%s: got %q, want Try: with %q", c.url, run.stderr, c.try)
		}
	}
}
