package analytics

import (
	"context"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
)

// end ends a session in the database.
func (m *memory) end(id string) {
	m.set(func(m *memory) { m.sessions[id] = SessionInfo{ID: id, TeacherID: "t0", Ended: true} })
}

// wantFinal wants a session that no process counts for any more.
func wantFinal(t *testing.T, participants int64, processes ...*Analytics) {
	t.Helper()
	for i, x := range processes {
		if _, err := x.Apply(t.Context(), "s0", joined("s0-a")); err != ErrEnded {
			t.Errorf("process %d: got error %v, want %v", i, err, ErrEnded)
		}
		if m := sessionOf(t, x, "s0"); !m.Ended || m.Participants != participants {
			t.Errorf("process %d: got %+v", i, m)
		}
	}
}

// Whoever ended the session hung up before it was told. Nobody tells it again.
func TestEndedByOneWhoHungUp(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	a, b := start(t, client(s), db), start(t, client(s), db)
	apply(t, a, "s0", joined("s0-a"))
	apply(t, b, "s0", joined("s0-b"))
	db.end("s0")
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	if err := a.Ended(gone, "s0"); err == nil {
		t.Fatal("it was told: the test shows nothing")
	}
	if _, err := a.Apply(t.Context(), "s0", joined("s0-a")); err != ErrEnded {
		t.Errorf("before Run: got error %v, want %v", err, ErrEnded)
	}
	stop := running(t, a)
	redistest.WaitFor(t, waitAtMost, func() bool { return sessionOf(t, b, "s0").Ended })
	stop()
	wantFinal(t, 2, a, b)
	if err := b.Flush(t.Context()); err != nil { // a may have been stopped before it saw what b counted
		t.Fatal(err)
	}
	if got := db.storedParticipants(t, "s0"); got != 2 {
		t.Errorf("got %d participants in the database, want 2", got)
	}
}

// The database fails between the end and its telling, in a process that holds nothing of the session. Even
// one that stops brings the end into the stores first.
func TestEndedWhileTheDatabaseFails(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	a, b := start(t, client(s), db), start(t, client(s), db)
	apply(t, b, "s0", joined("s0-a"))
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	db.end("s0")
	db.set(func(m *memory) { m.down = true })
	client(s).FlushAll(t.Context())
	if err := a.Ended(t.Context(), "s0"); err == nil {
		t.Fatal("it was told: the test shows nothing")
	}
	if err := a.Flush(t.Context()); err == nil {
		t.Error("nothing said that the end is told to nobody")
	}
	db.set(func(m *memory) { m.down = false })
	if err := a.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	wantFinal(t, 1, a, b)
	if err := a.Ended(t.Context(), "nobody"); err != ErrNoSession || a.owes("nobody") {
		t.Errorf("a session that there is not: got error %v, owed %v", err, a.owes("nobody"))
	}
}

// The process that ended the session was killed before it told anybody: who holds it hears of it at its next
// sync, and figures that are final already stay as they are.
func TestEndedByOneWhoDied(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	a, b := start(t, client(s), db), start(t, client(s), db)
	apply(t, a, "s0", joined("s0-a"))
	apply(t, b, "s0", joined("s0-b"))
	db.end("s0")
	if _, err := a.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantFinal(t, 2, a, b)
	before := sessionOf(t, a, "s0")
	if _, err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := sessionOf(t, b, "s0"); after.Version != before.Version {
		t.Errorf("the sync of another took the final figures from version %d to %d", before.Version, after.Version)
	}
	for i, x := range []*Analytics{a, b} {
		x.settle(t.Context())
		if m := x.Metrics(); m.Held != 0 || m.Unstored != 0 {
			t.Errorf("process %d: still held: %+v", i, m)
		}
	}
}

// An event that was let in before the end and is written after it is refused, also while no store knows.
func TestEndedBeforeAnEventIsWritten(t *testing.T) {
	s, db := redistest.Shared(t), newMemory(1)
	a := start(t, client(s), db)
	apply(t, a, "s0", joined("s0-a"))
	h := a.peek("s0")
	release, err := h.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 1)
	go func() { _, err := a.Apply(t.Context(), "s0", joined("s0-a")); refused <- err }()
	redistest.WaitFor(t, waitAtMost, func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.next != nil })
	h.ended.Store(true)
	release()
	select {
	case err := <-refused:
		if err != ErrEnded {
			t.Errorf("got error %v, want %v", err, ErrEnded)
		}
	case <-time.After(waitAtMost):
		t.Fatal("the event waits")
	}
}
