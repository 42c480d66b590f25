package httpapi

import (
	"context"
	"sync"
	"time"

	"github.com/classwaves/rekey/classwaves/querycache"
)

// invalidate tells the query cache that a class session has changed. The request has done what it was
// for: what the cache cannot be told now it is told by [API.Run].
func (a *API) invalidate(ctx context.Context, id, teacher string) {
	scopes := []querycache.Scope{
		{Type: querycache.SessionDetail, Prefix: id, Tags: []string{tagOfSession(id)}},
		{Type: querycache.GroupStatus, Prefix: id, Tags: []string{tagOfSession(id)}},
		{Type: querycache.SessionList, Prefix: teacher, Tags: []string{tagOfTeacher(teacher)}},
	}
	if err := a.c.Queries.Invalidate(ctx, scopes...); err != nil {
		a.owed.add(id, scopes)
		a.log.WarnContext(ctx, "query cache not invalidated yet", "request_id", requestID(ctx), "error", err)
	}
}

// owedAgain is the pause between two attempts to tell the cache.
const owedAgain = time.Second

// maxOwed bounds what waits to be told. Beyond it entries live as long as their type says.
const maxOwed = 10_000

// owed is what the query cache could not be told when it changed.
type owed struct {
	mu     sync.Mutex
	scopes map[string][]querycache.Scope // by class session
}

func (o *owed) add(id string, scopes []querycache.Scope) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.scopes == nil {
		o.scopes = make(map[string][]querycache.Scope)
	}
	if len(o.scopes) < maxOwed {
		o.scopes[id] = scopes
	}
}

// take gives everything, and forgets it.
func (o *owed) take() map[string][]querycache.Scope {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.scopes
	o.scopes = nil
	return taken
}

// Run tells the query cache what it could not be told in time, until the context ends.
func (a *API) Run(ctx context.Context) error {
	tick := time.NewTicker(owedAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		for id, scopes := range a.owed.take() {
			if err := a.c.Queries.Invalidate(ctx, scopes...); err != nil {
				a.owed.add(id, scopes) // newer news of the same session is of the same scopes
			}
		}
	}
}
