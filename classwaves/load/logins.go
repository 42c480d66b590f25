package load

import (
	"context"
	"encoding/hex"
	"net/http"
	"slices"
	"time"
)

// logIn logs in on a browser; nil if that failed.
func (t *teacher) logIn(ctx context.Context, b *browser) *login {
	b.connect() // attempts are limited by address
	q := t.credentials(t.g.c.Password)
	b.login = ""
	return t.loggedIn(ctx, b, q)
}

// loggedIn asks for a login and takes it into the account.
func (t *teacher) loggedIn(ctx context.Context, b *browser, q request) *login {
	before := b.login
	a := b.do(ctx, q)
	if !t.g.decided(ctx, q.op, a) {
		t.unsure = true
		return nil
	}
	var out me
	switch {
	case a.status == http.StatusUnauthorized:
		t.g.record.violate(FailedLogin, "log in: 401 %s with the right password", a.code)
		return nil
	case a.status != http.StatusOK || a.decode(&out) != nil:
		t.g.unexpected(q.op, a)
		t.unsure = true
		return nil
	case b.login == before:
		t.g.record.violate(FailedLogin, "log in: no cookie")
		return nil
	case out.CSRFToken == "" && !t.g.c.Faults:
		t.g.record.violate(FailedLogin, "log in: no CSRF token")
	}
	if t.id == "" {
		t.id = out.Teacher.ID
	}
	if out.Teacher.ID != t.id {
		t.g.record.violate(ForeignSession, "log in: as another teacher than before")
	}
	t.g.record.count(func(r *Report) { r.Logins++ })
	l := &login{browser: b, cookie: b.login, token: out.CSRFToken, at: time.Now()}
	t.account.opened(l)
	return l
}

// logInAnew is another browser of the teacher's. The oldest login ends when there are too many.
func (t *teacher) logInAnew(ctx context.Context) {
	before := slices.Clone(t.account.live)
	t.logIn(ctx, t.g.newBrowser())
	t.allRefused(ctx, before)
}

// logInAgain is a login on a browser that has one, which ends.
func (t *teacher) logInAgain(ctx context.Context) {
	old := t.any()
	old.connect()
	old.login = old.cookie
	if l := t.loggedIn(ctx, old.browser, t.credentials(t.g.c.Password)); l != nil && old.ended == "" {
		t.account.close(old, "replaced by another login of its browser")
		t.refused(ctx, old)
	}
}

// logOut ends one login.
func (t *teacher) logOut(ctx context.Context) {
	const op = "log out"
	l := t.any()
	a, ok := t.ask(ctx, l, op, http.MethodPost, "/api/v1/logout", nil)
	switch {
	case !ok:
	case a.status != http.StatusNoContent:
		t.g.unexpected(op, a)
		t.unsure = true
	default:
		t.account.close(l, "logged out")
		t.refused(ctx, l)
	}
}

// logOutEverywhere ends all of them.
func (t *teacher) logOutEverywhere(ctx context.Context) {
	const op = "log out everywhere"
	var out struct {
		Sessions int `json:"sessions"`
	}
	a, ok := t.ask(ctx, t.any(), op, http.MethodPost, "/api/v1/logout-everywhere", nil)
	switch {
	case !ok:
		return
	case a.status != http.StatusOK || a.decode(&out) != nil:
		t.g.unexpected(op, a)
		t.unsure = true
		return
	}
	before := slices.Clone(t.account.live)
	if n := t.account.closeAll("logged out everywhere"); out.Sessions != n && !t.g.c.Faults {
		t.g.record.violate(Miscounted, "%s: %d logins ended, and there were %d", op, out.Sessions, n)
	}
	t.allRefused(ctx, before)
}

// useEnded tries a login that has ended.
func (t *teacher) useEnded(ctx context.Context) {
	if n := len(t.account.ended); n > 0 {
		t.refused(ctx, t.account.ended[t.rng.IntN(n)])
	}
}

// allRefused tries those of some logins that have ended.
func (t *teacher) allRefused(ctx context.Context, logins []*login) {
	for _, l := range logins {
		if l.ended != "" {
			t.refused(ctx, l)
		}
	}
}

// refused tries a login that has ended: it must not be accepted again.
func (t *teacher) refused(ctx context.Context, l *login) {
	const op = "use an ended login"
	l.login = l.cookie
	a := l.do(ctx, request{op: op, method: http.MethodGet, path: "/api/v1/me"})
	switch {
	case !t.g.decided(ctx, op, a) || a.status == http.StatusUnauthorized:
	case a.status == http.StatusOK && t.settling(l.over):
	case a.status == http.StatusOK:
		t.g.record.violate(RevivedSession, "%s: accepted, %s", op, l.ended)
		t.account.drop(l)
		t.unsure = true
	default:
		t.g.unexpected(op, a)
	}
}

// wrongPassword must not log in.
func (t *teacher) wrongPassword(ctx context.Context) {
	b := t.g.newBrowser()
	defer b.close()
	q := t.credentials(t.g.c.Password + "!")
	q.op = "log in wrongly"
	switch a := b.do(ctx, q); {
	case !t.g.decided(ctx, q.op, a):
	case a.status == http.StatusOK || b.login != "":
		t.g.record.violate(WrongLogin, "log in: accepted with a wrong password")
		t.unsure = true
	case a.status != http.StatusUnauthorized:
		t.g.unexpected(q.op, a)
	}
}

// withoutToken asks for a change without a CSRF token.
func (t *teacher) withoutToken(ctx context.Context) { t.forge(ctx, "", "CSRF_TOKEN_MISSING") }

// withWrongToken asks for a change with a token that is not the login's.
func (t *teacher) withWrongToken(ctx context.Context) {
	var wrong string
	switch n := len(t.account.ended); t.rng.IntN(3) {
	case 0:
		wrong = "0"
	case 1:
		if n > 0 {
			wrong = t.account.ended[t.rng.IntN(n)].token
		}
	}
	if wrong == "" {
		var random [32]byte
		for i := range random {
			random[i] = byte(t.rng.Uint32())
		}
		wrong = hex.EncodeToString(random[:])
	}
	t.forge(ctx, wrong, "CSRF_TOKEN_INVALID")
}

func (t *teacher) forge(ctx context.Context, token, want string) {
	const op = "forge"
	l := t.any()
	l.login = l.cookie
	a := l.do(ctx, request{op: op, method: http.MethodPost, path: "/api/v1/sessions", token: token, body: newClass{Title: "Forged"}})
	switch {
	case !t.g.decided(ctx, op, a):
		if a.code != "CSRF_UNAVAILABLE" && a.status != http.StatusServiceUnavailable {
			t.unsure = true
		}
	case a.status == http.StatusForbidden && a.code == want:
	case a.status == http.StatusUnauthorized:
		t.lost(l, op, a)
	case a.status == http.StatusCreated:
		t.g.record.violate(CSRFAccepted, "a change was made without the session's token, where %s was to be expected", want)
	default:
		t.g.unexpected(op, a)
	}
}
