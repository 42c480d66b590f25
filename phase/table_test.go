package phase

import (
	"slices"
	"strings"
	"testing"
)

// What the tests want was typed in a second time from the text of the protocol, not from the tables.

func names(phases []Phase) string {
	var out []string
	for _, p := range phases {
		out = append(out, p.String())
	}
	return strings.Join(out, " ")
}

func TestPhasesOfAStrategy(t *testing.T) {
	for _, c := range []struct {
		strategy Strategy
		of, walk string
	}{
		{Mirror, "legacy guard dual settled drain sealed prefixed", "legacy guard dual settled sealed prefixed"},
		{Relocate, "legacy hold move prefixed", "legacy hold move prefixed"},
		{0, "", ""},
		{3, "", ""},
	} {
		if got := names(Of(c.strategy)); got != c.of {
			t.Errorf("Of(%v): got %q, want %q", c.strategy, got, c.of)
		}
		if got := names(Walk(c.strategy)); got != c.walk {
			t.Errorf("Walk(%v): got %q, want %q", c.strategy, got, c.walk)
		}
	}
	Of(Mirror)[0] = Move
	Walk(Mirror)[0] = Move
	if Of(Mirror)[0] != Legacy || Walk(Mirror)[0] != Legacy {
		t.Error("a caller can change the table")
	}
}

func TestBeside(t *testing.T) {
	want := map[Strategy]map[string]string{
		Mirror: {
			"legacy": "guard", "guard": "legacy dual", "dual": "guard settled drain sealed", "settled": "dual sealed",
			"drain": "dual sealed prefixed", "sealed": "dual settled drain prefixed", "prefixed": "drain sealed",
		},
		Relocate: {"legacy": "hold", "hold": "legacy move", "move": "hold prefixed", "prefixed": "move"},
	}
	for s, rows := range want {
		for a := Phase(0); int(a) <= Count; a++ {
			row, mine := rows[a.String()]
			for b := Phase(0); int(b) <= Count; b++ {
				want := mine && (a == b || slices.Contains(strings.Fields(row), b.String()))
				if got := Beside(s, a, b); got != want {
					t.Errorf("%v: %v beside %v: got %v, want %v", s, a, b, got, want)
				}
			}
		}
	}
	if Beside(0, Legacy, Legacy) || Beside(3, Legacy, Guard) {
		t.Error("phases of no strategy stand beside each other")
	}
}

func TestSteps(t *testing.T) {
	// from, to, necessary gates, gates asked for by default, audit.
	want := map[Strategy][]string{
		Mirror: {
			"legacy > guard", "guard > dual no-target audit",
			"dual > settled copied (verified quiet)", "dual > sealed copied (verified quiet) audit", "dual > drain",
			"drain > sealed copied (verified quiet) audit", "settled > sealed audit",
			"drain > prefixed no-legacy", "sealed > prefixed no-legacy",
			"sealed < drain no-stray audit", "sealed < settled no-stray audit", "sealed < dual no-stray audit",
			"dual < guard reversed audit",
			"guard < legacy audit", "settled < dual audit", "drain < dual audit", "prefixed < drain audit", "prefixed < sealed audit",
		},
		Relocate: {
			"legacy > hold no-target", "hold > move audit", "move > prefixed relocated",
			"hold < legacy returned audit", "move < hold audit", "prefixed < move audit",
		},
	}
	for s, rows := range want {
		var got []string
		for _, step := range Steps(s) {
			got = append(got, describe(step))
			same, ok := StepBetween(s, step.From, step.To)
			if !ok || describe(same) != describe(step) {
				t.Errorf("StepBetween(%v, %v, %v): got %v, %v", s, step.From, step.To, describe(same), ok)
			}
		}
		slices.Sort(got)
		slices.Sort(rows)
		if !slices.Equal(got, rows) {
			t.Errorf("%v:\ngot  %q\nwant %q", s, got, rows)
		}
	}
}

func describe(s Step) string {
	way := " > "
	if s.Back {
		way = " < "
	}
	text := s.From.String() + way + s.To.String()
	for _, g := range s.Gates {
		text += " " + g.String()
	}
	if len(s.Asked) > 0 {
		var asked []string
		for _, g := range s.Asked {
			asked = append(asked, g.String())
		}
		text += " (" + strings.Join(asked, " ") + ")"
	}
	if s.Audit {
		text += " audit"
	}
	return text
}

// A step is made by one instance after the other, so there is one exactly where two phases may stand beside each other.
func TestStepsAreWhatMayStandBeside(t *testing.T) {
	for _, s := range []Strategy{Mirror, Relocate} {
		for a := Phase(0); int(a) <= Count; a++ {
			for b := Phase(0); int(b) <= Count; b++ {
				_, got := StepBetween(s, a, b)
				if want := a != b && Beside(s, a, b); got != want {
					t.Errorf("%v: step from %v to %v: got %v, want %v", s, a, b, got, want)
				}
			}
		}
	}
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		strategy   Strategy
		from, goal Phase
		way        string
	}{
		{Mirror, Legacy, Prefixed, "guard dual settled sealed prefixed"},
		{Mirror, Prefixed, Legacy, "sealed settled dual guard legacy"},
		{Mirror, Legacy, Drain, "guard dual drain"},
		{Mirror, Drain, Prefixed, "sealed prefixed"},
		{Mirror, Drain, Legacy, "dual guard legacy"},
		{Mirror, Prefixed, Drain, "sealed drain"},
		{Mirror, Settled, Drain, "dual drain"},
		{Mirror, Drain, Settled, "dual settled"},
		{Mirror, Dual, Dual, ""},
		{Mirror, Dual, Move, ""},
		{Relocate, Legacy, Prefixed, "hold move prefixed"},
		{Relocate, Prefixed, Legacy, "move hold legacy"},
		{0, Legacy, Prefixed, ""},
	} {
		var way []Phase
		for at := c.from; len(way) < Count; {
			next, ok := Next(c.strategy, at, c.goal)
			if !ok {
				break
			}
			way, at = append(way, next), next
		}
		if got := names(way); got != c.way {
			t.Errorf("%v from %v to %v: got %q, want %q", c.strategy, c.from, c.goal, got, c.way)
		}
	}
}

// Whatever the two ends, the way takes legal steps only and arrives.
func TestNextArrives(t *testing.T) {
	for _, s := range []Strategy{Mirror, Relocate} {
		for _, from := range Of(s) {
			for _, goal := range Of(s) {
				at := from
				for range Count {
					next, ok := Next(s, at, goal)
					if !ok {
						break
					}
					if _, legal := StepBetween(s, at, next); !legal {
						t.Errorf("%v from %v to %v: there is no step from %v to %v", s, from, goal, at, next)
					}
					at = next
				}
				if at != goal {
					t.Errorf("%v from %v to %v: the way ends at %v", s, from, goal, at)
				}
			}
		}
	}
}

func TestGates(t *testing.T) {
	want := map[string]string{
		"no-target": "purge", "copied": "backfill", "no-legacy": "cleanup", "no-stray": "cleanup", "reversed": "reverse",
		"relocated": "relocate", "returned": "reverse", "verified": "verify", "quiet": "",
	}
	got := map[string]string{}
	for g := NoTarget; g.known(); g++ {
		got[g.String()] = g.Sweep()
		if back, err := ParseGate(g.String()); err != nil || back != g {
			t.Errorf("ParseGate(%q): got %v, %v", g, back, err)
		}
		if g.Proves() == "" || g.Proves() == g.String() {
			t.Errorf("%v does not say what it proves", g)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got gates %v, want %v", got, want)
	}
	for name, sweep := range want {
		if s, ok := got[name]; !ok || s != sweep {
			t.Errorf("gate %s: got sweep %q, %v, want %q", name, s, ok, sweep)
		}
	}
	if _, err := ParseGate("open"); err == nil || Gate(0).String() != "gate(0)" || Gate(99).Sweep() != "" {
		t.Error("an unknown gate passes for a known one")
	}
}

func TestNamesAndBack(t *testing.T) {
	for p := Legacy; p <= Move; p++ {
		back, err := Parse(p.String())
		if err != nil || back != p {
			t.Errorf("Parse(%q): got %v, %v", p, back, err)
		}
		text, err := p.MarshalText()
		var again Phase
		if err != nil || again.UnmarshalText(text) != nil || again != p {
			t.Errorf("%v as text: got %q, %v, %v", p, text, err, again)
		}
		if got, want := p.Parked(), p == Legacy || p == Prefixed; got != want {
			t.Errorf("%v parked: got %v, want %v", p, got, want)
		}
	}
	for _, s := range []Strategy{Mirror, Relocate} {
		if back, err := ParseStrategy(s.String()); err != nil || back != s {
			t.Errorf("ParseStrategy(%q): got %v, %v", s, back, err)
		}
	}
	if Relocate.String() != "move" {
		t.Errorf("the second strategy is called %q, want move", Relocate)
	}
	for _, name := range []string{"", "Legacy", "phase(1)", "relocate"} {
		if p, err := Parse(name); err == nil {
			t.Errorf("Parse(%q): got %v, want an error", name, p)
		}
		if s, err := ParseStrategy(name); err == nil {
			t.Errorf("ParseStrategy(%q): got %v, want an error", name, s)
		}
	}
	if _, err := Phase(0).MarshalText(); err == nil || Phase(0).String() != "phase(0)" || Phase(42).String() != "phase(42)" || Strategy(0).String() != "strategy(0)" {
		t.Error("an unknown value passes for a known one")
	}
}
