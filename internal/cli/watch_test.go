package cli

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

func TestWatchScreen(t *testing.T) {
	now := statusAt
	var s tea.Model = watchScreen{every: time.Second, clock: func() time.Time { return now }, look: func() watchedStatus { return watchedStatus{mixedStatus(), nil} }}
	see := func() string { return ansi.Strip(s.View().Content) }
	send := func(msg tea.Msg) tea.Cmd {
		var cmd tea.Cmd
		s, cmd = s.Update(msg)
		return cmd
	}
	if got := see(); !strings.HasPrefix(got, "reading ...") {
		t.Errorf("before it has read: %q", got)
	}
	send(s.Init()())
	got := see()
	for _, want := range []string{"plan      rekey.yaml", "web-1", "sessions, dual to settled", "q ends"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if !s.View().AltScreen {
		t.Error("it scrolls the terminal away")
	}

	// The screen of a server that went away stays, with its age.
	now = now.Add(5 * time.Second)
	send(watchedStatus{nil, errors.New("rekey: the server is gone")})
	if got := see(); !strings.Contains(got, "the server is gone; the screen is 5s old") || !strings.Contains(got, "web-1") {
		t.Errorf("got %s", got)
	}

	// It fits the terminal: fewer instances, then fewer lines.
	send(watchedStatus{mixedStatus(), nil})
	for _, size := range []tea.WindowSizeMsg{{Width: 60, Height: 23}, {Width: 40, Height: 8}} {
		send(size)
		lines := strings.Split(see(), "\n")
		if len(lines) > size.Height {
			t.Errorf("%d lines in a terminal of %d", len(lines), size.Height)
		}
		for _, l := range lines {
			if n := len([]rune(l)); n > size.Width {
				t.Errorf("a line of %d in a terminal of %d: %q", n, size.Width, l)
			}
		}
	}
	if got := see(); !strings.Contains(got, "too small") {
		t.Errorf("got %s", got)
	}
	for _, key := range []tea.KeyPressMsg{{Code: 'q', Text: "q"}, {Code: tea.KeyEscape}, {Code: 'c', Mod: tea.ModCtrl}} {
		_, cmd := s.Update(key)
		if cmd == nil {
			t.Errorf("%s does not end it", key)
		} else if _, ok := cmd().(tea.QuitMsg); !ok {
			t.Errorf("%s does not end it", key)
		}
	}
}

// growing is an output that may be read while it is written.
type growing struct {
	mu   sync.Mutex
	text strings.Builder
}

func (g *growing) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.Write(b)
}

func (g *growing) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.String()
}

// watching runs a status --watch until the test ends it.
func (b *bench) watching(args ...string) (out *growing, end func() int) {
	ctx, cancel := context.WithCancel(b.t.Context())
	out = &growing{}
	code := make(chan int, 1)
	args = append([]string{"status", "--watch", "--every", "100ms", "-f", b.path, "--redis", b.server.URL()}, args...)
	go func() {
		code <- Run(ctx, args, strings.NewReader(""), out, out, func(string) (string, bool) { return "", false })
	}()
	ended := sync.OnceValue(func() int { cancel(); return <-code })
	b.t.Cleanup(func() { ended() })
	return out, ended
}

// Without a terminal a line is printed for each thing that has changed, and a signal ends it with 0.
func TestWatchPlain(t *testing.T) {
	b := newBench(t)
	r := newRecords(t, b.server)
	out, end := b.watching()
	says := func(text string) {
		t.Helper()
		redistest.WaitFor(t, 10*time.Second, func() bool { return strings.Contains(out.String(), text) })
	}
	says("no instance has joined")
	r.found()
	r.join("web-1", phase.Legacy, phase.Legacy)
	says("1 instance: 1 live")
	says("sessions   legacy, reached by 1 of 1")
	r.target("sessions", phase.Guard)
	says("sessions   guard, reached by 0 of 1; held up by web-1")
	r.join("web-1", phase.Guard, phase.Legacy)
	says("sessions   guard, reached by 1 of 1\n")
	if code := end(); code != exitDone {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(out.String(), "limits "); n > 3 {
		t.Errorf("%d lines on a rule that did not move:\n%s", n, out)
	}
}

func TestWatchJSON(t *testing.T) {
	b := newBench(t)
	out, end := b.watching("--json")
	redistest.WaitFor(t, 10*time.Second, func() bool { return strings.Count(out.String(), "\n") >= 2 })
	end()
	for _, o := range objects(t, out.String()) {
		if o["type"] != "status" {
			t.Errorf("got %v", o)
		}
	}
}

// A server that goes away is said once, and the watch goes on.
func TestWatchOutage(t *testing.T) {
	s := redistest.Start(t)
	b := &bench{t, s, s.Client(), planFile(t, cliPlan)}
	out, end := b.watching()
	redistest.WaitFor(t, 10*time.Second, func() bool { return strings.Contains(out.String(), "no instance has joined") })
	s.Kill()
	redistest.WaitFor(t, 10*time.Second, func() bool { return strings.Contains(out.String(), "status ") })
	s.Restart()
	newRecords(t, s).found()
	redistest.WaitFor(t, 10*time.Second, func() bool { return strings.Contains(out.String(), "sessions   legacy") })
	if code := end(); code != exitDone {
		t.Errorf("exit code %d", code)
	}
}
