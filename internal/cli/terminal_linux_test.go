package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/classwaves/rekey/internal/redistest"
)

// onTerminal runs a command line whose output is a terminal, and returns all that the terminal got.
func onTerminal(t *testing.T, env map[string]string, args ...string) string {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = screen.Close() }()
	fd := int(screen.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&got, screen) // EIO when nobody has the terminal any more
	}()
	lookup := func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
	code := Run(t.Context(), args, strings.NewReader(""), terminal, terminal, lookup)
	if err := terminal.Close(); err != nil {
		t.Fatal(err)
	}
	<-read
	if code != exitDone {
		t.Fatalf("rekey %s: exit code %d: %s", strings.Join(args, " "), code, got.String())
	}
	return got.String()
}

// A terminal that can nothing but show text, as that of an editor's shell is, shows escape sequences as they are written.
func TestDumbTerminal(t *testing.T) {
	server := redistest.Shared(t)
	path := planFile(t, cliPlan)
	for _, args := range [][]string{
		{"status", "-f", path, "--redis", server.URL()},
		{"verify", "sessions", "--assume-phase", "dual", "-f", path, "--redis", server.URL()},
		{"demo", "--seconds", "0.2", "--keys", "48"},
	} {
		for kind, drawn := range map[string]bool{"xterm": true, "dumb": false} {
			got := onTerminal(t, map[string]string{"TERM": kind}, args...)
			if strings.ContainsRune(got, '\x1b') != drawn {
				t.Errorf("TERM=%s rekey %s: drawn is %v, want %v: %q", kind, args[0], !drawn, drawn, got)
			}
		}
	}
}
