package analytics

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/classwaves/rekey/internal/redistest"
)

// drawEvents draws events of a few groups.
func drawEvents(t *rapid.T, label string) []Event {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Event {
		e := Event{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), GroupID: fmt.Sprintf("s0-%d", rapid.IntRange(0, 3).Draw(t, "group"))}
		if e.Kind == Engagement || e.Kind == Participation {
			e.Score = float64(rapid.IntRange(0, 100_000).Draw(t, "score")) / 1000
		}
		return e
	}), 0, 8).Draw(t, label)
}

// drawHistory draws the parts of a few writers, each at several moments of its own.
func drawHistory(t *rapid.T) map[string][]part {
	history := make(map[string][]part)
	clock := time.UnixMilli(1_700_000_000_000)
	for w := range rapid.IntRange(0, 4).Draw(t, "writers") {
		p := part{Groups: map[string]tally{}}
		writer := fmt.Sprintf("w%d", w)
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			clock = clock.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "ms")) * time.Millisecond)
			p = p.with(drawEvents(t, "events"), clock, nil)
			history[writer] = append(history[writer], p)
		}
	}
	return history
}

// drawRecord draws a record that has each writer's part at some moment, or not at all.
func drawRecord(t *rapid.T, history map[string][]part, label string) *record {
	r := newRecord(SessionInfo{ID: "s0", TeacherID: "t0", Ended: rapid.Bool().Draw(t, label+" ended")})
	for writer, parts := range history {
		if i := rapid.IntRange(-1, len(parts)-1).Draw(t, label); i >= 0 {
			r.Parts[writer] = parts[i]
		}
	}
	return r
}

func copyOf(r *record) *record {
	c := *r
	c.Parts = maps.Clone(r.Parts)
	return &c
}

func merged(a, b *record) *record {
	c := copyOf(a)
	c.merge(b)
	return c
}

// Whatever arrives in whatever order, and however often, gives the same record.
func TestMergeIsCommutativeAssociativeAndIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		history := drawHistory(t)
		a, b, c := drawRecord(t, history, "a"), drawRecord(t, history, "b"), drawRecord(t, history, "c")
		if got, want := merged(b, a), merged(a, b); !reflect.DeepEqual(got, want) {
			t.Fatalf("b, a: got %+v, want %+v", got, want)
		}
		if got, want := merged(a, merged(b, c)), merged(merged(a, b), c); !reflect.DeepEqual(got, want) {
			t.Fatalf("a, (b, c): got %+v, want %+v", got, want)
		}
		if ab := merged(a, b); ab.merge(a) || ab.merge(b) {
			t.Fatal("merging once more changes something")
		}
		if ab := merged(a, b); ab.version() < a.version() || (ab.version() == a.version()) != reflect.DeepEqual(ab, a) {
			t.Fatalf("version %d of %d does not grow with what changed", ab.version(), a.version())
		}
	})
}

// The server's script and the database's side say the same.
func TestScriptSumsUpAsGoDoes(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	now := time.UnixMilli(1_700_000_123_456)
	a := start(t, rdb, newMemory(1), func(c *Config) { c.Now = func() time.Time { return now } })
	rapid.Check(t, func(rt *rapid.T) {
		rdb.FlushAll(t.Context())
		history := drawHistory(rt)
		first, second := drawRecord(rt, history, "first"), drawRecord(rt, history, "second")
		if _, _, _, err := a.merge(t.Context(), first, merging{create: true}); err != nil {
			rt.Fatal(err)
		}
		ids := []string{"s0-0", "s0-1", "s0-2", "s0-3"}
		f, groups, absent, err := a.merge(t.Context(), second, merging{groups: ids})
		if err != nil || absent {
			rt.Fatalf("absent %v, error %v", absent, err)
		}
		want := merged(first, second)
		want.sum(now)
		if f != want.figures {
			rt.Fatalf("session: got %+v, want %+v", f, want.figures)
		}
		for i, id := range ids {
			if w := want.group(id, now); groups[i] != w {
				rt.Fatalf("group %d: got %+v, want %+v", i, groups[i], w)
			}
		}
		stored, err := a.entry(t.Context(), "s0")
		if err != nil || !reflect.DeepEqual(asJSON(t, stored), asJSON(t, want)) {
			rt.Fatalf("entry: got %s, want %s (%v)", asJSON(t, stored), asJSON(t, want), err)
		}
	})
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The figures of groups are the session's; the release before this one had zeros there.
func TestGroupsFeedTheSession(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	a := start(t, rdb, newMemory(1))
	got := apply(
		t, a, "s0",
		joined("s0-a"), joined("s0-a"), joined("s0-b"), joined("s0-c"),
		Event{Kind: ParticipantLeft, GroupID: "s0-c"},
		Event{Kind: GroupReady, GroupID: "s0-a"}, Event{Kind: GroupReady, GroupID: "s0-b"}, Event{Kind: GroupNotReady, GroupID: "s0-b"},
		Event{Kind: Engagement, GroupID: "s0-a", Score: 50}, Event{Kind: Engagement, GroupID: "s0-b", Score: 75.5},
		Event{Kind: Participation, GroupID: "s0-b", Score: 33.333},
		Event{Kind: AlertRaised, GroupID: "s0-a"}, Event{Kind: AlertRaised, GroupID: "s0-b"}, Event{Kind: AlertCleared, GroupID: "s0-b"},
	)
	want := SessionMetrics{
		SessionID: "s0", TeacherID: "t0", ActiveGroups: 2, ReadyGroups: 1, Participants: 3,
		AverageEngagement: 62.75, EngagementSamples: 2, AverageParticipation: 33.333, ParticipationSamples: 1,
		ActiveAlerts: 1, Version: 14, LastUpdate: got.LastUpdate, CalculatedAt: got.CalculatedAt,
	}
	if got != want {
		t.Errorf("apply: got %+v, want %+v", got, want)
	}
	if got := sessionOf(t, a, "s0"); got != want {
		t.Errorf("session: got %+v, want %+v", got, want)
	}
	b := groupOf(t, a, "s0-b")
	if wantB := (GroupMetrics{
		GroupID: "s0-b", SessionID: "s0", Active: true, Participants: 1, AverageEngagement: 75.5, EngagementSamples: 1,
		AverageParticipation: 33.333, ParticipationSamples: 1, Version: 14, LastUpdate: b.LastUpdate, CalculatedAt: b.CalculatedAt,
	}); b != wantB {
		t.Errorf("group: got %+v, want %+v", b, wantB)
	}
	if time.Since(got.LastUpdate) > time.Minute || time.Since(got.CalculatedAt) > time.Minute {
		t.Errorf("times: %v, %v", got.LastUpdate, got.CalculatedAt)
	}
}
