package demo

import (
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

func TestScreen(t *testing.T) {
	var s tea.Model = newScreen()
	see := func() string { return ansi.Strip(s.View().Content) }
	if got := see(); !strings.Contains(got, "filling the keyspace") {
		t.Errorf("before it begins: %q", got)
	}
	for _, msg := range []tea.Msg{
		tea.WindowSizeMsg{Width: 80, Height: 24},
		Setup{Server: "embedded", Strategy: "mirror", Instances: []string{"app-1", "app-2"}, Libraries: []string{"go-redis", "rueidis"}, Kinds: 11, Keys: 4040, Phases: []string{"legacy", "guard"}, Seed: 9},
		Step{Instance: 1, From: "legacy", To: "guard", Index: 1},
		Sweep{Kind: "backfill", Rules: []string{"a", "b"}, Matched: 1500, Changed: 1200, Proves: "it is so", Part: 1, Done: true},
		Sweep{Kind: "verify", Rules: []string{"a", "b"}, Matched: 20, Part: 0.5},
		Tick{At: time.Second, Part: 0.25, Ops: 12345, Fallbacks: 7, Moved: 1200, Lost: 3},
	} {
		s, _ = s.Update(msg)
	}
	got := see()
	for _, want := range []string{
		"rekey demo · strategy mirror", "4,040 keys of 11 kinds", "25%",
		"app-1  go-redis   ●         ·", "app-2  rueidis    ·         ●",
		"✓ backfill  2 rules, 1,500 keys seen, 1,200 copied: it is so", "▸ verify", "20 keys seen",
		"12,345 operations", "7 fallbacks", "1,200 keys moved", "lost 3", "stale 0",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	height := strings.Count(got, "\n")
	for range 20 {
		s, _ = s.Update(Check{Keys: 5, Where: "prefixed"})
	}
	if now := strings.Count(see(), "\n"); now != height {
		t.Errorf("the screen has %d lines after more checks, %d before", now, height)
	}
}
