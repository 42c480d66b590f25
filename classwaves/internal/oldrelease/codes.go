package oldrelease

import (
	"context"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ttl"
)

// Assign makes a code lead to a class session, whatever it led to before: the release looked for a
// collision in its database only, and codes of ended sessions came round again.
func (p *Process) Assign(ctx context.Context, code, session string) error {
	there, err := keys.AccessCode(code)
	if err != nil {
		return err
	}
	back, err := keys.SessionAccessCode(session)
	if err != nil {
		return err
	}
	if err := p.Set(ctx, back, code, ttl.AccessCode); err != nil {
		return err
	}
	return p.Set(ctx, there, session, ttl.AccessCode)
}

// Resolve is where a code leads.
func (p *Process) Resolve(ctx context.Context, code string) (session string, found bool, err error) {
	name, err := keys.AccessCode(code)
	if err != nil {
		return "", false, err
	}
	return p.Get(ctx, name)
}

// Release ends a class session's code.
func (p *Process) Release(ctx context.Context, session string) error {
	back, err := keys.SessionAccessCode(session)
	if err != nil {
		return err
	}
	code, found, err := p.Get(ctx, back)
	if err != nil || !found {
		return err
	}
	there, err := keys.AccessCode(code)
	if err != nil {
		return err
	}
	if err := p.Delete(ctx, there); err != nil {
		return err
	}
	return p.Delete(ctx, back)
}
