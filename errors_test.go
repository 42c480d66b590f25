package rekey_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
)

// TestErrorsOfTheRecords: whoever cannot join can ask why, and without rekey's internal packages.
func TestErrorsOfTheRecords(t *testing.T) {
	server := redistest.Start(t)
	bare := server.Client()
	noPEM := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(noPEM, []byte("nothing"), 0o600))
	must(t, bare.Set(t.Context(), "cw:test:s:1", "left by an earlier try", 0).Err())
	open := func(text string) error {
		t.Helper()
		const rules = "\nversion: 1\nenvironment: test\nrules:\n  - {name: s, legacy: \"s:{id}\", target: \"cw:{env}:s:{id}\"}\n"
		_, err := rekey.Open(t.Context(), loadPlan(t, rules+text), rekey.WithFleet(rekey.FleetConfig{}))
		var records *rekey.RecordsError
		if !errors.As(err, &records) || strings.Count(err.Error(), "rekey: ") != 1 || !strings.HasPrefix(err.Error(), "rekey: ") {
			t.Errorf("got %v, want a *RecordsError that begins with rekey:, once", err)
		}
		return err
	}
	if err := open(""); !errors.Is(err, rekey.ErrNoServer) {
		t.Errorf("without a server: %v", err)
	}
	if err := open(`server: {url: "` + server.URL() + `"}`); !errors.Is(err, rekey.ErrRestore) {
		t.Errorf("without records: %v", err)
	}
	if err := open(`server: {url: "redis://127.0.0.1:1"}`); !errors.As(err, new(*net.OpError)) {
		t.Errorf("without a server that answers: %v", err)
	}
	open(`server: {url: "` + server.URL() + `?what=1"}`)
	open(`server: {url: "rediss://127.0.0.1:1", tls: {ca: "` + noPEM + `"}}`)
}

// TestReloadAfterClose: an instance that was closed says so each time.
func TestReloadAfterClose(t *testing.T) {
	r, err := rekey.Open(t.Context(), loadPlan(t, testPlan), rekey.WithFlags(func(string) (string, bool) { return "", false }))
	must(t, err)
	must(t, r.Close())
	for range 100 {
		if err := r.ReloadFlags(t.Context()); !errors.Is(err, rekey.ErrClosed) {
			t.Fatalf("got %v, want ErrClosed", err)
		}
	}
}
