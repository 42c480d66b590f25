package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// parsePlan is the test's plan with another server.
func parsePlan(t testing.TB, server string, changes ...string) *plan.Plan {
	t.Helper()
	text := strings.Replace(testPlan, "server: {", "server: {"+server+", ", 1)
	text = strings.NewReplacer(changes...).Replace(text)
	p, err := plan.Parse("test.yaml", []byte(text), os.LookupEnv)
	must(t, err)
	return p
}

var inDual = rekey.WithPhases(map[string]phase.Phase{"mirror": phase.Dual, "move": phase.Move})

// lines is where a log goes.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve runs a service to the end of the test. stop ends it earlier.
func serve(t testing.TB, o proxy.Options) (s *proxy.Service, stop func() error) {
	t.Helper()
	if o.Phases == nil {
		o.Phases = inDual
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if o.Drain == 0 {
		o.Drain = 5 * time.Second
	}
	s, err := proxy.Open(t.Context(), o)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { must(t, stop()) })
	return s, stop
}

// talk sends a few commands to whatever answers at conn.
func talk(t testing.TB, conn net.Conn) {
	t.Helper()
	c := redistest.NewConn(t, conn)
	if v := c.Do("SET", "mi:1", "x"); string(v.Str) != "OK" {
		t.Errorf("SET: %v", v)
	}
	if v := c.Do("GET", "mi:1"); string(v.Str) != "x" {
		t.Errorf("GET: %v", v)
	}
	c.Close()
}

// TestListeners: clients come by TCP, TLS, TLS with a certificate of their own, and a unix socket, and
// upstream it is TCP, TLS or a unix socket.
func TestListeners(t *testing.T) {
	ca := newAuthority(t)
	server, tlsAddr, tlsFiles := tlsServer(t, ca)
	own, client := ca.issue("proxy"), ca.issue("application")
	upstreams := map[string]string{
		"tcp":  `url: "redis://` + server.Addr() + `"`,
		"unix": `url: "unix://` + server.Socket() + `"`,
		"tls":  `url: "rediss://` + tlsAddr + `", ` + tlsFiles,
	}
	for name, upstream := range upstreams {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			s, stop := serve(t, proxy.Options{
				Plan:        parsePlan(t, upstream),
				Certificate: &proxy.Certificate{Cert: own.cert, Key: own.key, ClientCA: ca.file},
				Listen:      []proxy.Listen{{Address: "tcp://127.0.0.1:0"}, {Address: "tls://127.0.0.1:0"}, {Address: "unix:" + socket, SocketMode: 0o660}},
			})
			addrs := s.Addrs()
			plain, err := net.Dial("tcp", addrs[0])
			must(t, err)
			talk(t, plain)
			secure, err := tls.Dial("tcp", addrs[1], &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{client.pair}})
			must(t, err)
			talk(t, secure)
			local, err := net.Dial("unix", socket)
			must(t, err)
			talk(t, local)
			info, err := os.Stat(socket)
			must(t, err)
			if got := info.Mode().Perm(); got != 0o660 {
				t.Errorf("mode of the socket: %o", got)
			}
			stranger, err := tls.Dial("tcp", addrs[1], &tls.Config{RootCAs: ca.pool})
			if err == nil { // TLS 1.3 tells a client at its first read
				_, err = stranger.Read(make([]byte, 1))
				_ = stranger.Close()
			}
			if err == nil || errors.Is(err, io.EOF) {
				t.Errorf("a client without a certificate: %v, want a refusal", err)
			}
			must(t, stop())
			if _, err := os.Stat(socket); err == nil {
				t.Error("the socket is still there")
			}
		})
	}
	bare := server.Conn()
	if v := bare.Do("MGET", "mi:1", "cw:test:mi:1"); string(v.Elems[0].Str) != "x" || string(v.Elems[1].Str) != "x" {
		t.Errorf("not written through the engine: %v", v)
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, l.Close()) }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	return port
}

// TestListenCheck: nothing is open to other machines by mistake.
func TestListenCheck(t *testing.T) {
	for _, c := range []struct {
		listen proxy.Listen
		secure bool
		want   error
	}{
		{proxy.Listen{Address: "127.0.0.1:6380"}, false, nil},
		{proxy.Listen{Address: "[::1]:6380"}, false, nil},
		{proxy.Listen{Address: "localhost:6380"}, false, nil},
		{proxy.Listen{Address: "unix:/run/x"}, false, nil},
		{proxy.Listen{Address: ":6380"}, false, proxy.ErrExposed},
		{proxy.Listen{Address: "0.0.0.0:6380"}, false, proxy.ErrExposed},
		{proxy.Listen{Address: "tcp://10.0.0.1:6380"}, true, proxy.ErrExposed},
		{proxy.Listen{Address: "10.0.0.1:6380"}, true, nil},
		{proxy.Listen{Address: "tcp://10.0.0.1:6380", Plaintext: true}, true, nil},
		{proxy.Listen{Address: "tls://127.0.0.1:6380"}, false, proxy.ErrNoCertificate},
	} {
		if err := c.listen.Check(c.secure); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.listen.Address, err, c.want)
		}
	}
	for _, bad := range []string{"", "6380", "unix:", "http://x"} {
		if err := (proxy.Listen{Address: bad}).Check(false); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if err := (proxy.Admin{Address: "0.0.0.0:9121"}).Check(); !errors.Is(err, proxy.ErrNoToken) {
		t.Errorf("admin without a token: %v", err)
	}
}

// TestSocketOfAnother: a socket that somebody serves is not taken from him, one that nobody serves is.
func TestSocketOfAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	must(t, err)
	if _, err := (proxy.Listen{Address: "unix:" + path}).Open(nil); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	must(t, l.Close())
	again, err := (proxy.Listen{Address: "unix:" + path}).Open(nil)
	must(t, err)
	must(t, again.Close())
	must(t, os.WriteFile(path, nil, 0o600))
	if _, err := (proxy.Listen{Address: "unix:" + path}).Open(nil); err == nil {
		t.Error("a file was replaced by a socket")
	}
}

// TestProxyProtocol: the client's address is what the header says; without one, or with version 1, there
// is no connection.
func TestProxyProtocol(t *testing.T) {
	server := redistest.Shared(t)
	var access lines
	s, stop := serve(t, proxy.Options{
		Plan: parsePlan(t, `url: "redis://`+server.Addr()+`"`), Access: slog.New(slog.NewJSONHandler(&access, nil)),
		Listen: []proxy.Listen{{Address: "127.0.0.1:0", ProxyProtocol: true}},
	})
	dial := func(version byte) net.Conn {
		conn, err := net.Dial("tcp", s.Addrs()[0])
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		if version > 0 {
			header := proxyproto.HeaderProxyFromAddrs(version, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}, conn.RemoteAddr())
			_, err = header.WriteTo(conn)
			must(t, err)
		}
		return conn
	}
	talk(t, dial(2))
	for _, version := range []byte{0, 1} {
		conn := dial(version)
		_, err := io.WriteString(conn, "PING\r\nPING\r\nPING\r\n")
		must(t, err)
		if got, err := io.ReadAll(conn); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("version %d: got %q, %v, want the end", version, got, err)
		}
		_ = conn.Close()
	}
	must(t, stop())
	if got := access.String(); !strings.Contains(got, `"client":"192.0.2.7:4711"`) || strings.Count(got, `"reason":"handshake"`) != 2 {
		t.Errorf("access log:\n%s", got)
	}
}

// TestAccessLog: a line for each client, without anything that it said.
func TestAccessLog(t *testing.T) {
	server := redistest.Shared(t)
	var access lines
	s, stop := serve(t, proxy.Options{
		Plan: parsePlan(t, `url: "redis://`+server.Addr()+`"`), Access: slog.New(slog.NewJSONHandler(&access, nil)),
		Listen: []proxy.Listen{{Address: "127.0.0.1:0"}},
	})
	conn, err := net.Dial("tcp", s.Addrs()[0])
	must(t, err)
	c := redistest.NewConn(t, conn)
	c.Do("SET", "mi:topsecret", "verysecret")
	c.Do("AUTH", "topsecret", "verysecret")
	c.Do("NOSUCH", "topsecret", "verysecret")
	c.Close()
	waitFor(t, func() bool { return access.String() != "" })
	must(t, stop())
	var line map[string]any
	must(t, json.Unmarshal([]byte(access.String()), &line))
	if line["reason"] != "client" || line["commands"] != 3.0 || line["bytes_in"] == 0.0 || strings.Contains(access.String(), "secret") {
		t.Errorf("access log:\n%s", access.String())
	}
}

// TestAdmin: metrics, health, readiness and, on loopback, profiles.
func TestAdmin(t *testing.T) {
	server := redistest.Start(t)
	s, _ := serve(t, proxy.Options{
		Plan:   parsePlan(t, `url: "redis://`+server.Addr()+`"`),
		Listen: []proxy.Listen{{Address: "127.0.0.1:0"}}, Admin: proxy.Admin{Address: "127.0.0.1:0", Token: "t0ken"},
	})
	conn, err := net.Dial("tcp", s.Addrs()[0])
	must(t, err)
	talk(t, conn)
	get := func(path, token string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.AdminAddr()+path, nil)
		must(t, err)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Do(req)
		must(t, err)
		defer func() { must(t, res.Body.Close()) }()
		body, err := io.ReadAll(res.Body)
		must(t, err)
		return res.StatusCode, string(body)
	}
	for _, c := range []struct {
		path, token string
		status      int
		has         []string
	}{
		{"/healthz", "", 200, []string{"alive"}},
		{"/readyz", "", 200, []string{"ready"}},
		{"/metrics", "", 401, nil},
		{"/metrics", "wrong", 401, nil},
		{"/metrics", "t0ken", 200, []string{`rekey_proxy_accepted_total 1`, `rekey_proxy_commands_total{class="read"} 1`,
			`rekey_commands_total{class="read",rule="mirror"} 1`, `rekey_added_seconds_count{direction="request"} 2`, "go_goroutines"}},
		{"/debug/pprof/", "", 200, []string{"goroutine"}},
	} {
		status, body := get(c.path, c.token)
		if status != c.status {
			t.Errorf("%s: status %d, want %d: %s", c.path, status, c.status, body)
		}
		for _, want := range c.has {
			if !strings.Contains(body, want) {
				t.Errorf("%s lacks %q", c.path, want)
			}
		}
	}
	server.Kill()
	if status, body := get("/readyz", ""); status != 503 {
		t.Errorf("ready without a server: %d %s", status, body)
	}
	if status, _ := get("/healthz", ""); status != 200 {
		t.Errorf("health without a server: %d", status)
	}
}

// TestReload: certificates, flags and what of the plan may change; the rest is named and stays.
func TestReload(t *testing.T) {
	server := redistest.Shared(t)
	before, after := newAuthority(t), newAuthority(t)
	own := before.issue("server")
	var flags sync.Map
	flags.Store("CW_CACHE_DUAL_WRITE", "0")
	url := `url: "redis://` + server.Addr() + `"`
	flagged := []string{"strategy: mirror}", "strategy: mirror, flags: cache}"}
	p := parsePlan(t, url, flagged...)
	s, _ := serve(t, proxy.Options{
		Plan: p, Certificate: &proxy.Certificate{Cert: own.cert, Key: own.key}, Flags: func() error { return nil },
		Phases: rekey.WithFlags(func(name string) (string, bool) {
			v, ok := flags.Load(name)
			if !ok {
				return "", false
			}
			return v.(string), true
		}),
		Listen: []proxy.Listen{{Address: "tls://127.0.0.1:0"}},
	})
	dial := func(a *authority) (*tls.Conn, error) {
		return tls.Dial("tcp", s.Addrs()[0], &tls.Config{RootCAs: a.pool})
	}
	old, err := dial(before)
	must(t, err)
	open := redistest.NewConn(t, old)
	open.Do("PING")
	if _, err := dial(after); err == nil {
		t.Fatal("the certificate of after counts before")
	}
	next := after.issue("server")
	must(t, os.Rename(next.cert, own.cert))
	must(t, os.Rename(next.key, own.key))
	flags.Store("CW_CACHE_DUAL_WRITE", "1") // guard
	must(t, errors.Join(s.Reload(t.Context(), p), s.ReloadCertificate()))
	conn, err := dial(after)
	must(t, err)
	server.Conn().Do("SET", "cw:test:mi:1", "stale")
	talk(t, conn)
	if v := server.Conn().Do("EXISTS", "cw:test:mi:1"); v.Int != 0 {
		t.Error("the flags were not read again: the phase is not guard")
	}
	if v := open.Do("PING"); string(v.Str) != "PONG" {
		t.Errorf("an open connection after the reload: %v", v)
	}
	open.Close()

	must(t, s.Reload(t.Context(), parsePlan(t, url, append(flagged, "version: 1", "version: 1\nsoak: 3s")...)))
	other := parsePlan(t, url+", sentinel: []", append(flagged, "version: 1", "version: 1\ndatabases: [0, 1]", `"mo:{id...}"`, `"mx:{id...}"`)...)
	if err := s.Reload(t.Context(), other); !errors.Is(err, proxy.ErrRestart) || !strings.HasSuffix(err.Error(), ": databases, rules") {
		t.Errorf("got %v", err)
	}
	must(t, os.WriteFile(own.key, []byte("none"), 0o600))
	if err := s.ReloadCertificate(); err == nil {
		t.Error("a broken key is taken")
	}
	still, err := dial(after)
	must(t, err)
	talk(t, still)
}
