package httpapi

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/classwaves/rekey/classwaves/querycache"
	"github.com/classwaves/rekey/internal/redistest"
)

// TestTheCacheIsToldLater: a change that Redis was not there to hear of is told when it is back, and
// until then nothing is forgotten.
func TestTheCacheIsToldLater(t *testing.T) {
	server := redistest.Start(t, redistest.WithConfig("appendonly yes", "appendfsync always"))
	cache, err := querycache.New(querycache.Config{Redis: server.Client(), Epochs: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cache.Close() }() // nothing is under way
	a := &API{c: Config{Queries: cache}, log: slog.New(slog.DiscardHandler)}
	entry := detailEntry("one")
	if err := cache.Upsert(t.Context(), entry, []byte(`"before"`)); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	a.invalidate(t.Context(), "one", "ada")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- a.Run(ctx) }()
	server.Restart()
	redistest.WaitFor(t, time.Minute, func() bool {
		_, found, err := cache.Lookup(t.Context(), entry)
		return err == nil && !found
	})
	redistest.WaitFor(t, time.Minute, func() bool { a.owed.mu.Lock(); defer a.owed.mu.Unlock(); return len(a.owed.scopes) == 0 })
	stop()
	<-ended
	for i := range maxOwed + 10 {
		a.owed.add(string(rune(i)), nil)
	}
	if n := len(a.owed.take()); n > maxOwed {
		t.Errorf("%d wait to be told, want at most %d", n, maxOwed)
	}
}
