package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

func TestMain(m *testing.M) { redistest.Main(m) }

const sessionKeys = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// process is the server's command in this process.
type process struct {
	t        *testing.T
	out, err *output
	stop     context.CancelFunc
	ended    chan error
}

// output is what a command printed so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	p := &process{t: t, out: new(output), err: new(output), stop: stop, ended: make(chan error, 1)}
	cmd := command()
	cmd.SetArgs(append([]string{"--listen", "127.0.0.1:0"}, args...))
	cmd.SetOut(p.out)
	cmd.SetErr(p.err)
	go func() { p.ended <- cmd.ExecuteContext(ctx) }()
	t.Cleanup(stop)
	return p
}

var address = regexp.MustCompile(`is at (http://\S+)`)

// url waits until the server says where it is.
func (p *process) url() (url string) {
	p.t.Helper()
	redistest.WaitFor(p.t, time.Minute, func() bool {
		select {
		case err := <-p.ended:
			p.t.Fatalf("the server ended: %v\n%s", err, p.err)
		default:
		}
		if m := address.FindStringSubmatch(p.out.String()); m != nil {
			url = m[1]
		}
		return url != ""
	})
	return url
}

func (p *process) end() {
	p.t.Helper()
	p.stop()
	if err := <-p.ended; err != nil {
		p.t.Errorf("the end: %v", err)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return res.StatusCode, string(body)
}

// TestEverythingEmbedded: without a word it serves, and says how to log in.
func TestEverythingEmbedded(t *testing.T) {
	p := start(t)
	url := p.url()
	m := regexp.MustCompile(`log in as (\S+) with the password (\S+)`).FindStringSubmatch(p.out.String())
	if m == nil {
		t.Fatalf("printed %q", p.out)
	}
	res, err := http.Post(url+"/api/v1/login", "application/json", strings.NewReader(`{"email":"`+m[1]+`","password":"`+m[2]+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("login: %d, %v", res.StatusCode, err)
	}
	if status, body := get(t, url+"/readyz"); status != http.StatusOK || !strings.Contains(body, `"status":"ok"`) {
		t.Errorf("readyz: %d %s", status, body)
	}
	p.end()
}

// TestAFlagIsAFileAndAHangup: a rollout changes a file and sends SIGHUP; what cannot be obeyed changes
// nothing.
func TestAFlagIsAFileAndAHangup(t *testing.T) {
	t.Setenv("CW_SESSION_KEYS", sessionKeys)
	server := redistest.Start(t)
	file := filepath.Join(t.TempDir(), "flags.env")
	flags := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags("CW_ENV=test\nCW_CACHE_PREFIX_ENABLED=0\n")
	p := start(t, "--redis", server.URL(), "--env-file", file)
	url := p.url()
	hangUp := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	phase := func(sessions, limits string) {
		t.Helper()
		var shown string
		redistest.WaitFor(t, time.Minute, func() bool {
			_, shown = get(t, url+"/metrics/cache")
			return strings.Contains(shown, `"secure_sessions":"`+sessions+`"`) && strings.Contains(shown, `"rate_limits":"`+limits+`"`)
		})
	}
	heard := func(said, text, sessions, limits string) {
		t.Helper()
		before := strings.Count(p.err.String(), said)
		flags(text)
		hangUp()
		redistest.WaitFor(t, time.Minute, func() bool { return strings.Count(p.err.String(), said) > before })
		phase(sessions, limits)
	}
	obeyed := func(text, sessions, limits string) { t.Helper(); heard("flags reloaded", text, sessions, limits) }
	refused := func(text, sessions, limits string) { t.Helper(); heard("flags not reloaded", text, sessions, limits) }
	phase("legacy", "legacy")
	obeyed("CW_ENV=test\nCW_CACHE_PREFIX_ENABLED=0\nCW_CACHE_DUAL_WRITE=1\n", "guard", "legacy")
	for _, wrong := range []string{"CW_CACHE_PREFIX_ENABLED=perhaps\nCW_CACHE_DUAL_WRITE=1\n", "CW_CACHE_PREFIX_ENABLED=0\nCW_CACHE_DUAL_WRITE=0\nCW_CACHE_LEGACY_GONE=1\n", "no line of a file of flags", "", "CW_CACHE_DUAL_WRITE=1"} {
		refused(wrong, "guard", "legacy")
	}
	const cut = "CW_ENV=test\nCW_CACHE_PREFIX_ENABLED=1\nCW_CACHE_DUAL_WRITE=1\n"
	obeyed(cut+"CW_RL_PREFIX_ENABLED=1\n", "dual", "move")
	refused(cut, "dual", "move")
	// From hold unset is the step to legacy.
	obeyed(cut+"CW_RL_PREFIX_ENABLED=0\n", "dual", "hold")
	obeyed(cut, "dual", "legacy")
	// With the gates on the limiter waits for a sweep, and goes on waiting with a file that lost the word.
	obeyed(cut+"CW_RL_PREFIX_ENABLED=1\nCW_CACHE_GATED=1\n", "dual", "legacy")
	refused(cut+"CW_RL_PREFIX_ENABLED=1\n", "dual", "legacy")
	obeyed(cut+"CW_RL_PREFIX_ENABLED=1\nCW_CACHE_GATED=0\n", "dual", "move")
	p.end()
}

// TestRefusedFlagsAreNotLookedUp: flags that choose no phase are not those that a process which waits for a gate looks up.
func TestRefusedFlagsAreNotLookedUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "flags.env")
	write := func(value string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("CW_CACHE_PREFIX_ENABLED="+value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("0")
	s, err := newSettings(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		value, want string
		err         error
	}{
		{"1", "1", nil},
		{"perhaps", "1", fmt.Errorf("rule r: %w", &phase.FlagError{})},
		{"0", "0", errors.New("the server is away")},
	} {
		write(c.value)
		reload(t.Context(), s, func(context.Context) error { return c.err }, slog.New(slog.DiscardHandler))
		if got, _ := s.lookup(phase.CachePrefixEnabled); got != c.want {
			t.Errorf("%s, %v: the flag is %q, want %q", c.value, c.err, got, c.want)
		}
	}
}

// TestEpochsAreAFlag: cached queries have tag versions where CW_CACHE_EPOCHS_ENABLED says so, and only there.
func TestEpochsAreAFlag(t *testing.T) {
	t.Setenv("CW_SESSION_KEYS", sessionKeys)
	t.Setenv("CW_ENV", "test")
	for _, value := range []string{"", "0", "1"} {
		t.Setenv("CW_CACHE_EPOCHS_ENABLED", value)
		server := redistest.Shared(t)
		p := start(t, "--redis", server.URL())
		url := p.url()
		m := regexp.MustCompile(`log in as (\S+) with the password (\S+)`).FindStringSubmatch(p.out.String())
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}
		login, err := client.Post(url+"/api/v1/login", "application/json", strings.NewReader(`{"email":"`+m[1]+`","password":"`+m[2]+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = login.Body.Close()
		list, err := client.Get(url + "/api/v1/sessions")
		if err != nil {
			t.Fatal(err)
		}
		_ = list.Body.Close()
		if list.StatusCode != http.StatusOK {
			t.Fatalf("the list of classes: %d", list.StatusCode)
		}
		rdb := server.Client()
		redistest.WaitFor(t, time.Minute, func() bool { return len(rdb.Keys(t.Context(), "query_cache:*").Val()) > 0 })
		if versions := rdb.Keys(t.Context(), "tagver:*").Val(); (len(versions) > 0) != (value == "1") {
			t.Errorf("with %q: tag versions %v", value, versions)
		}
		p.end()
	}
}

// TestRedisIsAwayAtTheStart: the server starts, says that it is degraded, and is well when Redis is
// there, without a restart.
func TestRedisIsAwayAtTheStart(t *testing.T) {
	t.Setenv("CW_SESSION_KEYS", sessionKeys)
	server := redistest.Start(t)
	server.Kill()
	p := start(t, "--redis", server.URL())
	url := p.url()
	ready := func(want string) {
		t.Helper()
		redistest.WaitFor(t, time.Minute, func() bool {
			status, body := get(t, url+"/readyz")
			return status == http.StatusOK && strings.Contains(body, want)
		})
	}
	ready(`"redis":"unavailable"`)
	server.Restart()
	ready(`"status":"ok"`)
	p.end()
}

// TestAFleetIsOneOption: with --fleet the process joins the fleet's records, and needs nothing else.
func TestAFleetIsOneOption(t *testing.T) {
	t.Setenv("CW_SESSION_KEYS", sessionKeys)
	t.Setenv("CW_ENV", "test")
	server := redistest.Start(t)
	p := start(t, "--redis", server.URL(), "--fleet")
	url := p.url()
	if _, shown := get(t, url+"/metrics"); !strings.Contains(shown, `rekey_phase_acknowledged{rule="secure_sessions"} 1`) {
		t.Errorf("the process says of its phases:\n%s", shown)
	}
	const prefix = "cw:test:rekey:"
	if n := server.Client().HLen(t.Context(), prefix+"fleet").Val(); n != 1 {
		t.Errorf("%d instances in the fleet, want 1", n)
	}
	p.end()
	if n := server.Client().HLen(t.Context(), prefix+"fleet").Val(); n != 0 {
		t.Errorf("%d instances in the fleet after the end, want none", n)
	}
}

// TestWrongCommandLines: each says what is wrong, without what is secret.
func TestWrongCommandLines(t *testing.T) {
	t.Setenv("CW_SESSION_KEYS", "")
	dir := t.TempDir()
	noDatabase := filepath.Join(dir, "no.db")
	if err := os.WriteFile(noDatabase, []byte("this is no database, and it is long enough to look like one"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		env   map[string]string
		args  []string
		want  string
		usage bool
	}{
		{"unknown command", nil, []string{"launch"}, `no command "launch"`, true},
		{"unknown flag", nil, []string{"--lisen", "x"}, "unknown flag", true},
		{"limit", nil, []string{"--limit", "general=1"}, "NAME=POINTS/WINDOW/BLOCK", true},
		{"limit of nothing", nil, []string{"--limit", "general=0/1m/1m"}, "points are a number from 1", true},
		{"limit's name", nil, []string{"--limit", "all=1/1m/1m"}, "NAME general", true},
		{"limit's time", nil, []string{"--limit", "join=1/soon/1m"}, `"soon" is no time`, true},
		{"proxy", nil, []string{"--trusted-proxy", "10.0.0.1"}, "is no network", true},
		{"origin", nil, []string{"--origin", "not an origin"}, "origin", false},
		{"log", nil, []string{"--log", "loud"}, "text, json or none", true},
		{"epochs", map[string]string{"CW_CACHE_EPOCHS_ENABLED": "yes"}, nil, "CW_CACHE_EPOCHS_ENABLED must be 0 or 1", true},
		{"flags", map[string]string{"CW_CACHE_PREFIX_ENABLED": "0", "CW_CACHE_LEGACY_GONE": "1"}, nil, "CW_CACHE_LEGACY_GONE", false},
		{"environment", map[string]string{"CW_ENV": "a:b"}, nil, "a:b", false},
		{"env file", nil, []string{"--env-file", filepath.Join(dir, "none.env")}, "no such file", false},
		{"no keys", nil, []string{"--redis", "redis://127.0.0.1:1"}, "CW_SESSION_KEYS", false},
		{"no keys for a database", nil, []string{"--database", "sqlite:" + filepath.Join(dir, "x.db")}, "CW_SESSION_KEYS", false},
		{"a key", map[string]string{"CW_SESSION_KEYS": "k1:AAEC"}, []string{"--redis", "redis://127.0.0.1:1"}, "32 bytes", true},
		{"redis", map[string]string{"CW_SESSION_KEYS": sessionKeys}, []string{"--redis", "http://user:hunter2@host"}, "redis://", false},
		{"database", map[string]string{"CW_SESSION_KEYS": sessionKeys}, []string{"--database", "mysql://user:hunter2@host/db"}, "sqlite:", false},
		{"no database", map[string]string{"CW_SESSION_KEYS": sessionKeys}, []string{"--database", "sqlite:" + noDatabase}, "not a database", false},
		{"a fleet that cannot be asked", map[string]string{"CW_SESSION_KEYS": sessionKeys}, []string{"--redis", "redis://127.0.0.1:1", "--fleet"}, "rekey: ", false},
		{"address", nil, []string{"--listen", "127.0.0.1:99999"}, "99999", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := command()
			cmd.SetArgs(append([]string{"--listen", "127.0.0.1:0"}, c.args...))
			cmd.SetOut(io.Discard)
			cmd.SetErr(io.Discard)
			err := cmd.ExecuteContext(ctx)
			if err == nil || ctx.Err() != nil {
				t.Fatalf("it served, or hung: %v", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q in it", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is in %q", err)
			}
			if got := isUsage(err); got != c.usage {
				t.Errorf("usage error: got %v, want %v (%v)", got, c.usage, err)
			}
			if errors.Is(err, context.Canceled) {
				t.Error("canceled")
			}
		})
	}
}
