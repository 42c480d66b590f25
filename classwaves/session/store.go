package session

import (
	"context"
	"errors"
	"time"

	"github.com/alexedwards/scs/v2"
)

// store is where scs keeps sessions: Redis, with the database behind it. Its saves are of two kinds.
// A session that scs has just named is created; any other is refreshed, which never brings back one
// that was deleted.
type store Sessions

var _ scs.CtxStore = (*store)(nil)

// errGone is a refresh of a session that was ended meanwhile.
var errGone = errors.New("session: ended meanwhile")

// call is what passes between a request and the store, around scs.
type call struct {
	ctx    context.Context // the request's
	create bool            // Commit makes a session
	lookup lookup          // what Find found out
	saved  content         // what Commit stored
}

// lookup is how a session was found.
type lookup struct {
	stale    bool // the cache does not have it as it is, and must be told
	reseal   bool // it is sealed under a key that is not the first
	uncached bool // only the database knows it
}

type callKey struct{}

// scsContext is the context that scs works in. It shows scs none of the request's values, so that
// another session manager's data in the request is not taken for ours.
type scsContext struct {
	context.Context
	call *call
}

// Value gives the call, and nothing else.
func (c scsContext) Value(key any) any {
	if key == (callKey{}) {
		return c.call
	}
	return nil
}

// callOf is the call that a context of scs belongs to. A caller that is not ours gets one of its own.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{ctx: ctx}
}

// FindCtx implements scs.CtxStore. Expired, ended and unreadable sessions are not found; an error is
// an *unavailable.Error.
func (st *store) FindCtx(ctx context.Context, id string) ([]byte, bool, error) {
	c := callOf(ctx)
	found, how, ok, err := (*Sessions)(st).find(c.ctx, id)
	if err != nil || !ok {
		return nil, false, err
	}
	c.lookup = how
	b, err := found.encode()
	return b, err == nil, err
}

// CommitCtx implements scs.CtxStore. The expiry is in b already, as the session's deadline.
func (st *store) CommitCtx(ctx context.Context, id string, b []byte, _ time.Time) error {
	c := callOf(ctx)
	sent, err := decodeContent(b)
	if err != nil {
		return err
	}
	if c.create {
		c.saved, err = (*Sessions)(st).create(c.ctx, id, sent)
		return err
	}
	c.saved = sent
	return (*Sessions)(st).refresh(c.ctx, id, sent, c.lookup)
}

// DeleteCtx implements scs.CtxStore.
func (st *store) DeleteCtx(ctx context.Context, id string) error {
	return (*Sessions)(st).end(callOf(ctx).ctx, id)
}

// Find implements scs.Store.
func (st *store) Find(id string) ([]byte, bool, error) { return st.FindCtx(context.Background(), id) }

// Commit implements scs.Store.
func (st *store) Commit(id string, b []byte, expiry time.Time) error {
	return st.CommitCtx(context.Background(), id, b, expiry)
}

// Delete implements scs.Store.
func (st *store) Delete(id string) error { return st.DeleteCtx(context.Background(), id) }
