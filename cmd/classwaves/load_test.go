package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/classwaves/rekey/classwaves/load"
)

// loading runs the load command.
func loading(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := command()
	cmd.SetArgs(append([]string{"load"}, args...))
	cmd.SetIn(strings.NewReader("a password\n"))
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	err = cmd.ExecuteContext(t.Context())
	return stdout.String(), err
}

// TestLoadFindsViolations plays against a server that logs everybody in and then fails.
func TestLoadFindsViolations(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/login" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "cw_session", Value: "a"})
		_, _ = w.Write([]byte(`{"teacher":{"id":"t"},"csrfToken":"c"}`)) // the client sees it
	}))
	defer server.Close()
	args := []string{"--url", server.URL, "--teachers", "1", "--duration", "200ms", "--pause", "10ms"}

	out, err := loading(t, args...)
	if !errors.Is(err, errViolated) || isUsage(err) || !strings.Contains(out, "unexpected") {
		t.Errorf("got %v, want a violation:\n%s", err, out)
	}
	out, err = loading(t, append(args, "--json", "--seed", "7")...)
	var report load.Report
	if jsonErr := json.Unmarshal([]byte(out), &report); jsonErr != nil || !errors.Is(err, errViolated) {
		t.Fatalf("got %v, %v from %q, want one object and a violation", err, jsonErr, out)
	}
	if report.Seed != 7 || report.Violations[load.Unexpected] == 0 || report.Ops == 0 {
		t.Errorf("got %+v, want its seed, operations and violations", report)
	}
}

func TestLoadUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--probe", "write=1/1s/1s"}, {"--url", "redis://127.0.0.1"}, {"--email", "nobody@example.org"}, {"--teachers", "-1"}, {"more"},
	} {
		if _, err := loading(t, args...); err == nil || errors.Is(err, errViolated) || args[0] != "more" && !isUsage(err) {
			t.Errorf("%q: got %v, want an error of usage", args, err)
		}
	}
}

func TestLoadPassword(t *testing.T) {
	t.Setenv(loadPassword, "of the environment")
	if got, err := readLoadPassword(strings.NewReader("of standard input\n")); err != nil || got != "of the environment" {
		t.Errorf("got %q, %v, want that of the environment", got, err)
	}
	if got, err := readLoadPassword(strings.NewReader("x")); err != nil || got != "of the environment" {
		t.Errorf("got %q, %v", got, err)
	}
}
