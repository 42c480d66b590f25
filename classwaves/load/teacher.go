package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// teacher is one account. It does one thing after another; its students run beside it.
type teacher struct {
	g       *Generator
	n       int
	rng     *rand.Rand
	id      string // learned at the first login
	account account

	classes []*taught // that go on
	over    []*class  // some that have ended
	all     []*class  // the newest ones, in the order of their creation
	unsure  bool      // an answer left open which logins live
	final   bool      // this is the last look
}

// taught is a class session that goes on, with what its teacher hears of it.
type taught struct {
	*class
	ear *listener // nil while there is none
}

const (
	maxClasses = 2  // of a teacher that go on at the same time
	overMax    = 12 // that are remembered after their end
	allMax     = 40 // of those that a list shows at once
)

func (g *Generator) newTeacher(n int) *teacher {
	return &teacher{g: g, n: n, rng: g.random(n), account: account{max: g.c.MaxSessions}}
}

// ErrLogin says that the first login failed.
var ErrLogin = errors.New("load: the first teacher cannot log in")

// tryLogin finds out whether there is an account to play with.
func (t *teacher) tryLogin(ctx context.Context) error {
	b := t.g.newBrowser()
	defer b.close()
	a := b.do(ctx, t.credentials(t.g.c.Password))
	switch {
	case a.err != nil:
		return fmt.Errorf("%w: %s", ErrLogin, reason(a.err))
	case a.status != http.StatusOK:
		return fmt.Errorf("%w: %d %s; make the accounts with: classwaves teacher add --count %d --email '%s'", ErrLogin, a.status, a.code, t.g.c.Teachers, t.g.c.Email)
	}
	return nil
}

func (t *teacher) credentials(password string) request {
	return request{op: "log in", method: http.MethodPost, path: "/api/v1/login",
		body: map[string]string{"email": t.g.email(t.n), "password": password}}
}

// play does one thing after another until stop, and then looks at everything once more.
func (t *teacher) play(ctx context.Context, stop <-chan struct{}) {
	t.unsure = true // who knows who was logged in before
	for {
		t.step(ctx)
		if !t.g.rest(t.rng, stop) || ctx.Err() != nil {
			break
		}
	}
	t.finish(ctx)
}

// step does one thing.
func (t *teacher) step(ctx context.Context) {
	switch {
	case t.unsure:
		t.recover(ctx)
	case len(t.account.live) == 0:
		t.logIn(ctx, t.g.newBrowser())
	case len(t.classes) == 0:
		t.create(ctx)
	default:
		t.choose()(ctx)
	}
}

// choose draws one of the things that a teacher does.
func (t *teacher) choose() func(context.Context) {
	things := []struct {
		weight int
		do     func(context.Context)
	}{
		{10, t.who}, {6, t.everywhere}, {12, t.list}, {12, t.detail}, {12, t.analytics}, {5, t.groupStatus}, {10, t.dashboard},
		{7, t.useEnded}, {5, t.withoutToken}, {5, t.withWrongToken}, {6, t.pauseOrGoOn}, {3, t.conflict}, {8, t.foreign},
		{9, t.logInAnew}, {3, t.logInAgain}, {3, t.logOut}, {2, t.logOutEverywhere}, {2, t.wrongPassword},
		{2, t.create}, {2, t.endOne}, {3, t.freedCode},
	}
	sum := 0
	for _, thing := range things {
		sum += thing.weight
	}
	n := t.rng.IntN(sum)
	for _, thing := range things {
		if n -= thing.weight; n < 0 {
			return thing.do
		}
	}
	return t.who
}

// any is one of the teacher's logins.
func (t *teacher) any() *login {
	if len(t.account.live) == 0 {
		return nil
	}
	return t.account.live[t.rng.IntN(len(t.account.live))]
}

// ask asks as a teacher who is logged in, with what that needs. ok says that the answer is one to look
// at: logins and tokens were accepted.
func (t *teacher) ask(ctx context.Context, l *login, op, method, path string, body any) (a answer, ok bool) {
	if l == nil {
		return a, false
	}
	q := request{op: op, method: method, path: path, body: body}
	if method != http.MethodGet {
		if l.token == "" && !t.fetchToken(ctx, l) {
			return a, false
		}
		q.token = l.token
	}
	l.login = l.cookie
	a = l.do(ctx, q)
	if !t.g.decided(ctx, op, a) {
		if method != http.MethodGet && a.code != "CSRF_UNAVAILABLE" {
			t.unsure = true // whatever was asked for may have been done
		}
		return a, false
	}
	switch {
	case a.status == http.StatusUnauthorized:
		t.lost(l, op, a)
		return a, false
	case a.status == http.StatusForbidden:
		t.g.record.violate(CSRFRefused, "%s: 403 %s with the token of the session", op, a.code)
		l.token = "" // fetched anew
		return a, false
	}
	return a, true
}

// lost counts a login that was refused although it lives.
func (t *teacher) lost(l *login, op string, a answer) {
	if t.settling(l.at) {
		return
	}
	t.g.record.violate(LostSession, "%s: 401 %s, logged in for %v, one of %d logins", op, a.code,
		time.Since(l.at).Round(time.Millisecond), len(t.account.live))
	t.account.drop(l)
	t.unsure = true
}

// settling says whether something was done so lately that it need not be known everywhere, and counts it.
func (t *teacher) settling(done time.Time) bool {
	if !t.g.c.Faults || time.Since(done) > t.g.c.Settle {
		return false
	}
	t.g.record.count(func(r *Report) { r.Lagging++ })
	return true
}

// me is who is logged in.
type me struct {
	Teacher struct {
		ID    string `json:"id"`
		Email string `json:"email"`
	} `json:"teacher"`
	CSRFToken string `json:"csrfToken"`
}

// fetchToken gets the token of a login that has none: it was made while the cache was away.
func (t *teacher) fetchToken(ctx context.Context, l *login) bool {
	out, ok := t.whoIs(ctx, l)
	if ok {
		l.token = out.CSRFToken
	}
	return ok
}

func (t *teacher) whoIs(ctx context.Context, l *login) (out me, ok bool) {
	const op = "who am I"
	a, ok := t.ask(ctx, l, op, http.MethodGet, "/api/v1/me", nil)
	if !ok {
		return out, false
	}
	if a.status != http.StatusOK || a.decode(&out) != nil || out.CSRFToken == "" {
		t.g.unexpected(op, a)
		return out, false
	}
	if out.Teacher.ID != t.id {
		t.g.record.violate(ForeignSession, "%s: another teacher than the one who logged in", op)
	}
	return out, true
}

func (t *teacher) who(ctx context.Context) { t.whoIs(ctx, t.any()) }

// everywhere looks at every login: each of the last three is good.
func (t *teacher) everywhere(ctx context.Context) {
	for _, l := range slices.Clone(t.account.live) {
		t.whoIs(ctx, l)
	}
}

// recover ends all logins, of which it is not known any more which live, and begins anew.
func (t *teacher) recover(ctx context.Context) {
	l := t.logIn(ctx, t.g.newBrowser())
	if l == nil {
		return
	}
	t.unsure = false
	if a, ok := t.ask(ctx, l, "log out everywhere", http.MethodPost, "/api/v1/logout-everywhere", nil); !ok || a.status != http.StatusOK {
		t.unsure = true
		return
	}
	t.account.closeAll("logged out everywhere")
	t.logIn(ctx, t.g.newBrowser())
}

// finish looks at everything once more, ends it and logs out.
func (t *teacher) finish(ctx context.Context) {
	t.final = true
	for i := 0; i < 20 && (t.unsure || len(t.account.live) == 0) && ctx.Err() == nil; i++ {
		t.step(ctx)
		wait(ctx.Done(), t.g.c.Pause)
	}
	for len(t.classes) > 0 {
		c := t.classes[0]
		c.halt()
		if t.any() != nil && ctx.Err() == nil {
			t.end(ctx, c, true)
		}
		if len(t.classes) > 0 && t.classes[0] == c { // it did not end
			t.forget(c)
		}
	}
	if t.any() != nil && ctx.Err() == nil {
		t.logOutEverywhere(ctx)
		for range min(4, len(t.account.ended)) {
			t.useEnded(ctx)
		}
	}
	for _, l := range slices.Concat(t.account.live, t.account.ended) {
		l.close()
	}
}
