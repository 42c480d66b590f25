package load

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func exit(code int) { os.Exit(code) }

func TestAccount(t *testing.T) {
	a := account{max: 3}
	var all []*login
	for range 5 {
		l := &login{browser: &browser{}}
		all = append(all, l)
		a.opened(l)
	}
	if !slices.Equal(a.live, all[2:]) || !slices.Equal(a.ended, all[:2]) || all[0].ended == "" || all[2].ended != "" {
		t.Fatalf("after 5 logins %d live and %d have ended, want the last 3 and the first 2", len(a.live), len(a.ended))
	}
	a.close(all[3], "logged out")
	a.drop(all[0])
	if !slices.Equal(a.live, []*login{all[2], all[4]}) || !slices.Equal(a.ended, []*login{all[1], all[3]}) {
		t.Errorf("%d live and %d have ended, want 2 and 2", len(a.live), len(a.ended))
	}
	if n := a.closeAll("everywhere"); n != 2 || len(a.live) != 0 || len(a.ended) != 4 {
		t.Errorf("%d were ended, %d live, want 2 and 0", n, len(a.live))
	}
	for range 3 * endedMax {
		a.opened(&login{browser: &browser{}})
	}
	if len(a.ended) != endedMax {
		t.Errorf("%d ended logins are remembered, want %d", len(a.ended), endedMax)
	}
}

func TestBudget(t *testing.T) {
	for _, tt := range []struct {
		name   string
		b      budget
		passed bool
		want   Kind
	}{
		{"first", budget{points: 3}, true, ""},
		{"first, refused", budget{points: 3}, false, LimitCut},
		{"last", budget{points: 3, passed: 2}, true, ""},
		{"last, refused", budget{points: 3, passed: 2}, false, LimitCut},
		{"last, refused, and one may have been counted", budget{points: 3, passed: 2, open: 1}, false, ""},
		{"one too many", budget{points: 3, passed: 3}, true, LimitExceeded},
		{"one too many, refused", budget{points: 3, passed: 3}, false, ""},
		{"shut out, let through", budget{points: 3, passed: 2, open: 1, refused: true}, true, LimitExceeded},
	} {
		kind, wrong := tt.b.verdict(tt.passed)
		if kind != tt.want || wrong != (tt.want != "") {
			t.Errorf("%s: got %q %v, want %q", tt.name, kind, wrong, tt.want)
		}
	}
	now := time.Now()
	b := budget{points: 3, window: time.Minute, block: time.Hour}
	if !b.known(now) {
		t.Error("the first hit is not known")
	}
	b.first = now
	if !b.known(now.Add(57*time.Second)) || b.known(now.Add(59*time.Second)) {
		t.Error("what happens at the end of a window is not known")
	}
	b.refused, b.blocked = true, now
	if !b.known(now.Add(59*time.Minute)) || b.known(now.Add(time.Hour-time.Second)) {
		t.Error("what happens at the end of a block is not known")
	}
}

func TestPeaks(t *testing.T) {
	began := time.Now()
	var p peaks
	for _, step := range []struct {
		version    int64
		after      time.Duration
		late, back bool
	}{
		{5, 0, false, false},
		{6, time.Second, false, false},
		{5, 2 * time.Second, true, false},                    // 6 was heard a moment ago
		{6, 2 * time.Second, false, false},                   // twice
		{4, 3*time.Second + 1, true, true},                   // 5 was heard long ago
		{5, 3*time.Second + 1, true, false},                  // 6 was not
		{9, 10 * time.Second, false, false},                  //
		{8, 11 * time.Second, true, false},                   // between 6, of long ago, and 9
		{5, 11 * time.Second, true, true},                    // before 6
		{8, 10*time.Second + 1, true, false},                 //
		{8, 13*time.Second + 2, true, true},                  // 9 was heard long ago by now
		{10, 20 * time.Second, false, false},                 //
		{9, 20*time.Second + 1, true, false},                 //
		{10, 21 * time.Second, false, false},                 //
		{7, 20*time.Second + 2*time.Millisecond, true, true}, // 9
	} {
		late, back := p.heard(step.version, began.Add(step.after))
		if late != step.late || back != step.back {
			t.Errorf("version %d after %v: got late %v, back %v, want %v, %v", step.version, step.after, late, back, step.late, step.back)
		}
	}
}

func TestFiguresBetweenTwoLooks(t *testing.T) {
	c := &class{}
	for range 3 {
		c.joined.begin()
		c.joined.finish()
	}
	c.left.begin() // perhaps gone
	c.raised.begin()
	c.raised.finish()
	c.engagement.begin()
	c.engagement.finish()
	c.engagement.sum.Add(40)
	before := c.look()
	c.joined.begin() // perhaps there
	after := c.look()
	right := figures{Participants: 3, ActiveAlerts: 1, EngagementSamples: 1, AverageEngagement: 40}
	for _, tt := range []struct {
		name   string
		change func(*figures)
		wrong  bool
	}{
		{"as it is", func(*figures) {}, false},
		{"one has gone", func(f *figures) { f.Participants = 2 }, false},
		{"one has come", func(f *figures) { f.Participants = 4 }, false},
		{"two have gone", func(f *figures) { f.Participants = 1 }, true},
		{"two have come", func(f *figures) { f.Participants = 5 }, true},
		{"no alert", func(f *figures) { f.ActiveAlerts = 0 }, true},
		{"a sample too many", func(f *figures) { f.EngagementSamples = 2 }, true},
		{"a sample of the other kind", func(f *figures) { f.ParticipationSamples = 1 }, true},
		{"an average, while others are at it", func(f *figures) { f.AverageEngagement = 41 }, false},
	} {
		f := right
		tt.change(&f)
		if text := f.wrong(before, after); (text != "") != tt.wrong {
			t.Errorf("%s: got %q", tt.name, text)
		}
	}
	c.left.finish()
	c.joined.undo()
	still := c.look()
	if !still.still() || before.still() {
		t.Fatal("a class at rest is one whose counts agree")
	}
	right.Participants = 2
	if text := right.wrong(still, still); text != "" {
		t.Errorf("at rest: %s", text)
	}
	right.AverageEngagement = 40.01
	if text := right.wrong(still, still); !strings.Contains(text, "average") {
		t.Errorf("a wrong average at rest: got %q", text)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	if h.quantile(0.5) != 0 {
		t.Error("of nothing there is a quantile")
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	h.add(time.Hour)
	h.add(0)
	for part, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond} {
		if got := h.quantile(part); got < want*95/100 || got > want*106/100 {
			t.Errorf("quantile %v is %v, want about %v", part, got, want)
		}
	}
	if got := h.quantile(1); got < 4*time.Minute {
		t.Errorf("the longest is %v, want what does not fit in", got)
	}
}

func TestParseProbe(t *testing.T) {
	p, err := ParseProbe("join=20/1h/30m")
	if want := (Probe{Limit: "join", Points: 20, Window: time.Hour, Block: 30 * time.Minute, Users: 3}); err != nil || p != want {
		t.Errorf("got %+v, %v, want %+v", p, err, want)
	}
	for _, text := range []string{"", "join", "join=20", "join=20/1h", "join=x/1h/1h", "join=20/1/1h", "join=0/1h/1h", "join=100/1h/1h", "join=20/1ms/1h", "write=20/1h/1h", "join=20/1h/1h/1h"} {
		if p, err := ParseProbe(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, p)
		}
	}
}

func TestConfig(t *testing.T) {
	right := func() Config { return Config{URL: "http://127.0.0.1:1/", Email: "a%d@b.c", Password: "p"} }
	c := right()
	if err := c.complete(); err != nil || c.URL != "http://127.0.0.1:1" || c.Teachers != 4 || c.Pause == 0 {
		t.Errorf("got %+v, %v", c, err)
	}
	if !c.ownAddresses() && linux {
		t.Error("users have no addresses of their own towards loopback")
	}
	c.URL = "https://teach.example.org"
	if c.ownAddresses() {
		t.Error("users have loopback addresses towards a host far away")
	}
	for name, change := range map[string]func(*Config){
		"no URL":        func(c *Config) { c.URL = "" },
		"odd URL":       func(c *Config) { c.URL = "redis://x" },
		"no email":      func(c *Config) { c.Email = "" },
		"no password":   func(c *Config) { c.Password = "" },
		"one email":     func(c *Config) { c.Email = "a@b.c" },
		"teachers":      func(c *Config) { c.Teachers = -1 },
		"students":      func(c *Config) { c.Students = -1 },
		"unknown probe": func(c *Config) { c.Probes = []Probe{{Limit: "x"}} },
	} {
		c := right()
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
