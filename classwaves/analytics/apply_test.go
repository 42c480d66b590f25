package analytics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ttl"
	"github.com/classwaves/rekey/classwaves/unavailable"
	"github.com/classwaves/rekey/internal/redistest"
)

const (
	writers = 50
	each    = 20 // events of a writer
)

// hammer has every writer count events, spread over a few groups, and gives how many were acknowledged.
func hammer(t *testing.T, processes []*Analytics) {
	t.Helper()
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			a := processes[w%len(processes)]
			for i := range each {
				for _, e := range []Event{joined(fmt.Sprintf("s0-%d", i%5)), {Kind: Engagement, GroupID: fmt.Sprintf("s0-%d", i%5), Score: 40}} {
					if _, err := a.Apply(context.Background(), "s0", e); err != nil {
						t.Errorf("writer %d: %v", w, err)
						return
					}
				}
			}
		})
	}
	work.Wait()
}

// wantAll holds the session and its groups against what the writers sent.
func wantAll(t *testing.T, a *Analytics) {
	t.Helper()
	m := sessionOf(t, a, "s0")
	if m.Participants != writers*each || m.EngagementSamples != writers*each || m.AverageEngagement != 40 || m.ActiveGroups != 5 {
		t.Errorf("session: got %+v, want %d participants and samples of 40 in 5 groups", m, writers*each)
	}
	for i := range 5 {
		if g := groupOf(t, a, fmt.Sprintf("s0-%d", i)); g.Participants != writers*each/5 || g.EngagementSamples != writers*each/5 {
			t.Errorf("group %d: got %d participants and %d samples, want %d", i, g.Participants, g.EngagementSamples, writers*each/5)
		}
	}
}

func TestFiftyWritersLoseNothing(t *testing.T) {
	for _, n := range []int{1, 4, writers} {
		t.Run(fmt.Sprintf("%d processes", n), func(t *testing.T) {
			s, db := redistest.Shared(t), newMemory(1)
			var processes []*Analytics
			for range n {
				processes = append(processes, start(t, client(s), db))
			}
			hammer(t, processes)
			wantAll(t, processes[0])
			var batches, updates uint64
			for _, a := range processes {
				batches, updates = batches+a.Metrics().Batches, updates+a.Metrics().Updates
			}
			t.Logf("%d events in %d round trips", updates, batches)

			// And the database gets all of it.
			for _, a := range processes {
				if err := a.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if got := db.storedParticipants(t, "s0"); got != writers*each {
				t.Errorf("database: got %d participants, want %d", got, writers*each)
			}
		})
	}
}

// naive is how the release before this one counted: it reads the figures, adds, and writes them.
func naive(ctx context.Context, rdb *redis.Client) error {
	key, err := keys.AnalyticsSession("s0")
	if err != nil {
		return err
	}
	var f figures
	raw, err := rdb.Get(ctx, key).Bytes()
	if err == nil {
		err = json.Unmarshal(raw, &f)
	}
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	f.Participants++
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return rdb.Set(ctx, key, data, ttl.AnalyticsSession).Err()
}

func TestReadModifyWriteLoses(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	var work sync.WaitGroup
	for range writers {
		work.Go(func() {
			for range each {
				if err := naive(context.Background(), rdb); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	key, err := keys.AnalyticsSession("s0")
	if err != nil {
		t.Fatal(err)
	}
	var f figures
	if err := json.Unmarshal([]byte(rdb.Get(t.Context(), key).Val()), &f); err != nil {
		t.Fatal(err)
	}
	if f.Participants >= writers*each {
		t.Errorf("got all %d of %d: the test of the naive form shows nothing", f.Participants, writers*each)
	}
	t.Logf("%d of %d were lost", writers*each-f.Participants, writers*each)
}

func TestApplyRefuses(t *testing.T) {
	db := newMemory(3)
	db.sessions["s1"] = SessionInfo{ID: "s1", TeacherID: "t0", Ended: true}
	rdb := redistest.Shared(t).Client()
	a := start(t, rdb, db)
	var eventErr *EventError
	var invalid *keys.InvalidError
	for name, c := range map[string]struct {
		session string
		event   Event
		want    func(error) bool
	}{
		"unknown kind":         {"s0", Event{Kind: "applause", GroupID: "s0-a"}, func(err error) bool { return errors.As(err, &eventErr) }},
		"no kind":              {"s0", Event{GroupID: "s0-a"}, func(err error) bool { return errors.As(err, &eventErr) }},
		"no group":             {"s0", Event{Kind: ParticipantJoined}, func(err error) bool { return errors.As(err, &eventErr) }},
		"colon in group":       {"s0", joined("s0-a:b"), func(err error) bool { return errors.As(err, &eventErr) }},
		"broken bytes":         {"s0", joined("s0-\xff"), func(err error) bool { return errors.As(err, &eventErr) }},
		"score below":          {"s0", Event{Kind: Engagement, GroupID: "s0-a", Score: -1}, func(err error) bool { return errors.As(err, &eventErr) }},
		"score above":          {"s0", Event{Kind: Participation, GroupID: "s0-a", Score: 100.5}, func(err error) bool { return errors.As(err, &eventErr) }},
		"score of a join":      {"s0", Event{Kind: ParticipantJoined, GroupID: "s0-a", Score: 1}, func(err error) bool { return errors.As(err, &eventErr) }},
		"colon in session":     {"s:0", joined("s0-a"), func(err error) bool { return errors.As(err, &invalid) }},
		"empty session":        {"", joined("s0-a"), func(err error) bool { return errors.As(err, &invalid) }},
		"broken session":       {"s\xff", joined("s0-a"), func(err error) bool { return errors.As(err, &invalid) }},
		"unknown session":      {"s9", joined("s0-a"), func(err error) bool { return errors.Is(err, ErrNoSession) }},
		"ended session":        {"s1", joined("s1-a"), func(err error) bool { return errors.Is(err, ErrEnded) }},
		"group of another one": {"s0", joined("s2-a"), func(err error) bool { return errors.Is(err, ErrNoGroup) }},
		"unknown group":        {"s0", joined("nowhere"), func(err error) bool { return errors.Is(err, ErrNoGroup) }},
	} {
		if _, err := a.Apply(t.Context(), c.session, c.event); err == nil || !c.want(err) || unavailable.Is(err) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	if n := rdb.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys were written", n)
	}
}

// A caller that gives up before its event is being written takes it back.
func TestApplyOfACallerThatGaveUp(t *testing.T) {
	a := start(t, redistest.Shared(t).Client(), newMemory(1))
	apply(t, a, "s0", joined("s0-a"))
	h := a.peek("s0")
	release, err := h.take(t.Context()) // somebody else is writing
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan error, 2)
	go func() { _, err := a.Apply(ctx, "s0", joined("s0-a")); answers <- err }()
	waiting := func(n int) func() bool {
		return func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.next != nil && len(h.next.calls) == n
		}
	}
	redistest.WaitFor(t, waitAtMost, waiting(1))
	cancel()
	if err := <-answers; !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
	go func() { _, err := a.Apply(context.WithoutCancel(ctx), "s0", joined("s0-b")); answers <- err }()
	redistest.WaitFor(t, waitAtMost, waiting(1))
	release()
	if err := <-answers; err != nil {
		t.Fatal(err)
	}
	if got := sessionOf(t, a, "s0").Participants; got != 2 {
		t.Errorf("got %d participants, want 2", got)
	}
}

// The last word on readiness wins, also where the clock of who says it is behind.
func TestReadinessDoesNotTrustClocks(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	ahead := start(t, s.Client(), db, behindBy(-hour))
	behind := start(t, s.Client(), db, behindBy(hour))
	for i, step := range []struct {
		who  *Analytics
		kind Kind
		want int64
	}{
		{ahead, GroupReady, 1}, {behind, GroupNotReady, 0}, {ahead, GroupReady, 1}, {behind, GroupReady, 1}, {behind, GroupNotReady, 0}, {ahead, GroupNotReady, 0}, {behind, GroupReady, 1},
	} {
		apply(t, step.who, "s0", Event{Kind: step.kind, GroupID: "s0-a"})
		for _, a := range []*Analytics{ahead, behind} {
			if got := sessionOf(t, a, "s0").ReadyGroups; got != step.want {
				t.Fatalf("step %d: got %d ready, want %d", i, got, step.want)
			}
		}
	}
}

// Subscribers are told of every change, in order within a process, with versions that tell the order
// over all of them.
func TestPublishesEveryChange(t *testing.T) {
	var mu sync.Mutex
	var told []SessionMetrics
	a := start(t, redistest.Shared(t).Client(), newMemory(1), func(c *Config) {
		c.Publish = func(_ context.Context, id string, m SessionMetrics) error {
			mu.Lock()
			defer mu.Unlock()
			if id != m.SessionID {
				t.Errorf("session %q, figures of %q", id, m.SessionID)
			}
			told = append(told, m)
			return errors.New("nobody listens") // is counted and changes nothing
		}
	})
	hammer(t, []*Analytics{a})
	mu.Lock()
	defer mu.Unlock()
	if !slices.IsSortedFunc(told, func(a, b SessionMetrics) int { return int(a.Version - b.Version) }) {
		t.Error("the versions are not in order")
	}
	if last := told[len(told)-1]; last.Participants != writers*each {
		t.Errorf("the last message: got %d participants, want %d", last.Participants, writers*each)
	}
	if m := a.Metrics(); m.PublishErrors != uint64(len(told)) || m.Batches != uint64(len(told)) {
		t.Errorf("got %d messages, %d errors of publishing, %d batches", len(told), m.PublishErrors, m.Batches)
	}
}
