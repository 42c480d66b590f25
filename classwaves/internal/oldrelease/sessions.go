package oldrelease

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ttl"
)

// MaxSessions is how many sessions a teacher may have.
const MaxSessions = 3

// login is what a session's key holds. (The release encrypted it; that changes nothing here.)
type login struct {
	Teacher string `json:"teacherId"`
	Created int    `json:"createdAt"` // a count in place of a clock
}

// Login stores a session and enforces the limit: the oldest of those that the set shows go. at orders
// sessions by age.
func (p *Process) Login(ctx context.Context, teacher, session string, at int) error {
	set, err := keys.TeacherSessions(teacher)
	if err != nil {
		return err
	}
	members, err := p.Members(ctx, set)
	if err != nil {
		return err
	}
	ages := make(map[string]int)
	for _, m := range members {
		s, found, err := p.session(ctx, m)
		if err != nil {
			return err
		}
		if !found {
			if err := p.Remove(ctx, set, m); err != nil {
				return err
			}
			continue
		}
		ages[m] = s.Created
	}
	live := slices.SortedFunc(maps.Keys(ages), func(a, b string) int { return cmp.Compare(ages[a], ages[b]) })
	for len(live) >= MaxSessions {
		if err := p.Logout(ctx, teacher, live[0]); err != nil {
			return err
		}
		live = live[1:]
	}
	text, err := json.Marshal(login{teacher, at})
	if err != nil {
		return err
	}
	name, err := keys.SecureSession(session)
	if err != nil {
		return err
	}
	if err := p.Set(ctx, name, string(text), ttl.SecureSession); err != nil {
		return err
	}
	return p.Add(ctx, set, session, ttl.TeacherSessions)
}

// session reads a session; what does not decode is none.
func (p *Process) session(ctx context.Context, id string) (s login, found bool, err error) {
	name, err := keys.SecureSession(id)
	if err != nil {
		return s, false, err
	}
	text, found, err := p.Get(ctx, name)
	if err != nil || !found {
		return s, false, err
	}
	if json.Unmarshal([]byte(text), &s) != nil {
		return login{}, false, nil
	}
	return s, true, nil
}

// LoggedIn tells whether a session is accepted.
func (p *Process) LoggedIn(ctx context.Context, id string) (bool, error) {
	_, found, err := p.session(ctx, id)
	return found, err
}

// Logout ends a session.
func (p *Process) Logout(ctx context.Context, teacher, session string) error {
	name, err := keys.SecureSession(session)
	if err != nil {
		return err
	}
	set, err := keys.TeacherSessions(teacher)
	if err != nil {
		return err
	}
	if err := p.Delete(ctx, name); err != nil {
		return err
	}
	return p.Remove(ctx, set, session)
}

// LogoutEverywhere ends the sessions that the set shows.
func (p *Process) LogoutEverywhere(ctx context.Context, teacher string) (n int, err error) {
	set, err := keys.TeacherSessions(teacher)
	if err != nil {
		return 0, err
	}
	members, err := p.Members(ctx, set)
	if err != nil {
		return 0, err
	}
	for _, m := range members {
		if err := p.Logout(ctx, teacher, m); err != nil {
			return n, err
		}
		n++
	}
	return n, p.Delete(ctx, set)
}

// Rebuild writes a teacher's set anew from what a read of it shows, without the sessions that are gone.
func (p *Process) Rebuild(ctx context.Context, teacher string) error {
	set, err := keys.TeacherSessions(teacher)
	if err != nil {
		return err
	}
	members, err := p.Members(ctx, set)
	if err != nil {
		return err
	}
	if err := p.Delete(ctx, set); err != nil {
		return err
	}
	for _, m := range members {
		live, err := p.LoggedIn(ctx, m)
		if err != nil {
			return err
		}
		if !live {
			continue
		}
		if err := p.Add(ctx, set, m, ttl.TeacherSessions); err != nil {
			return err
		}
	}
	return nil
}

// Rotate gives a session a new id. What is stored under it is the text that was read, encoded once more:
// it decodes to no session.
func (p *Process) Rotate(ctx context.Context, from, to string) error {
	source, err := keys.SecureSession(from)
	if err != nil {
		return err
	}
	text, found, err := p.Get(ctx, source)
	if err != nil || !found {
		return err
	}
	again, err := json.Marshal(text)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	target, err := keys.SecureSession(to)
	if err != nil {
		return err
	}
	if err := p.Set(ctx, target, string(again), ttl.SecureSession); err != nil {
		return err
	}
	return p.Delete(ctx, source)
}
