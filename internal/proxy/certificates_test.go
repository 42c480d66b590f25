package proxy_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/internal/redistest"
)

// tlsServer is a server with a TLS port that takes only clients with a certificate, and what a plan says of TLS to it.
func tlsServer(t *testing.T, ca *authority) (server *redistest.Server, addr, files string) {
	t.Helper()
	own, client := ca.issue("server"), ca.issue("client")
	server = redistest.Start(t, redistest.WithConfig("tls-cert-file "+own.cert, "tls-key-file "+own.key,
		"tls-ca-cert-file "+ca.file, "tls-auth-clients yes"))
	files = fmt.Sprintf("tls: {ca: %q, cert: %q, key: %q}", ca.file, client.cert, client.key)
	said := ""
	for range 10 {
		port := freePort(t) // another process may take it before the server does
		if said = string(server.Conn().Do("CONFIG", "SET", "tls-port", port).Str); said == "OK" {
			return server, "127.0.0.1:" + port, files
		}
	}
	t.Fatalf("no port for TLS: %s", said)
	return nil, "", ""
}

// TestFleetCertificates: a connection of the fleet's own is made with the certificates that are in the plan's files then, and
// with those of before while there is nothing to be had from the files.
func TestFleetCertificates(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	server, addr, files := tlsServer(t, before)
	p := parsePlan(t, `url: "rediss://`+addr+`", `+files)
	o, err := fleet.Options(p.Server)
	must(t, err)
	ping := func() error {
		client := fleet.Client(o, 0)
		defer func() { _ = client.Close() }() // it was asked
		return client.Ping(t.Context()).Err()
	}
	must(t, ping())
	must(t, os.Rename(p.Server.TLS.Key, p.Server.TLS.Key+".away"))
	must(t, ping())
	own, client := after.issue("server"), after.issue("client")
	for from, to := range map[string]string{client.cert: p.Server.TLS.Cert, client.key: p.Server.TLS.Key} {
		must(t, os.Rename(from, to))
	}
	pem, err := os.ReadFile(after.file)
	must(t, err)
	must(t, os.WriteFile(p.Server.TLS.CA, pem, 0o600))
	if v := server.Conn().Do("CONFIG", "SET", "tls-cert-file", own.cert, "tls-key-file", own.key, "tls-ca-cert-file", after.file); string(v.Str) != "OK" {
		t.Fatalf("the server's new certificate: %v", v)
	}
	must(t, ping())
}

// TestSentinelCertificate: the certificates of sentinels and of the primary are theirs, not those of the group's name.
func TestSentinelCertificate(t *testing.T) {
	_, addr, files := tlsServer(t, newAuthority(t))
	p := parsePlan(t, fmt.Sprintf(`url: "rediss://group", sentinel: [%q], %s`, addr, files))
	o, err := fleet.Options(p.Server)
	must(t, err)
	client := fleet.Client(o, 0)
	defer func() { _ = client.Close() }() // it was asked
	upstream, err := proxy.OpenUpstream(p.Server)
	must(t, err)
	for who, err := range map[string]error{"fleet": client.Ping(t.Context()).Err(), "proxy": upstream.Ping(t.Context())} {
		// It is no sentinel, but says so itself.
		if err == nil || !strings.Contains(err.Error(), "unknown command") && !strings.Contains(err.Error(), "all sentinels") || strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", who, err)
		}
	}
}
