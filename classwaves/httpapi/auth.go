package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/session"
)

type loginKey struct{}

// login of the request's context: what authenticated put there.
func loginOf(r *http.Request) session.Session {
	s, _ := r.Context().Value(loginKey{}).(session.Session)
	return s
}

// authenticated lets a teacher's requests through, and knows who it is.
func (a *API) authenticated(next http.Handler) http.Handler {
	return a.handle(func(w http.ResponseWriter, r *http.Request) error {
		s, err := a.c.Sessions.Authenticate(r.Context())
		if err != nil {
			return err
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), loginKey{}, s)))
		return nil
	})
}

// teacherID is the subject of limits by user.
func (a *API) teacherID(r *http.Request) string { return loginOf(r).TeacherID }

// sessionID is whose CSRF token a request needs.
func (a *API) sessionID(r *http.Request) (string, bool) {
	id := loginOf(r).ID
	return id, id != ""
}

// teacherBody is a teacher as the API shows one.
type teacherBody struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// loginBody is who is logged in, with the token that changing requests must carry.
type loginBody struct {
	Teacher   teacherBody `json:"teacher"`
	CSRFToken string      `json:"csrfToken"`
}

func (a *API) login(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Email    string `json:"email"`
		Password string `json:"password"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	ctx := r.Context()
	t, found, err := a.c.Database.TeacherByEmail(ctx, strings.ToLower(strings.TrimSpace(in.Email)))
	if err != nil {
		return err
	}
	encoded := t.PasswordHash
	if !found {
		encoded = a.c.Passwords.Dummy() // the same work, so that the time tells nobody who is a teacher
	}
	ok, err := a.c.Passwords.Check(ctx, encoded, in.Password)
	if err != nil {
		return err
	}
	if !ok || !found {
		return errCredentials
	}
	a.rehash(ctx, t, in.Password)
	s, err := a.c.Sessions.Login(r, t.ID)
	if err != nil {
		return err
	}
	// Without a token the login holds; the client gets one from GET /me when the cache is back. Package csrf
	// counts and logs the outage.
	token, _ := a.c.CSRF.Token(ctx, s.ID)
	write(w, http.StatusOK, loginBody{teacherBody{t.ID, t.Name, t.Email}, token})
	return nil
}

// rehash stores a better hash in the place of one that was made with less than is asked for today. If
// it cannot, the next login does.
func (a *API) rehash(ctx context.Context, t database.Teacher, secret string) {
	if !a.c.Passwords.NeedsRehash(t.PasswordHash) {
		return
	}
	hash, err := a.c.Passwords.Hash(ctx, secret)
	if err == nil {
		_, err = a.c.Database.ReplacePasswordHash(ctx, t.ID, t.PasswordHash, hash)
	}
	if err != nil {
		a.log.WarnContext(ctx, "password not hashed again", "request_id", requestID(ctx), "error", err)
	}
}

func (a *API) logout(w http.ResponseWriter, r *http.Request) error {
	ctx, id := r.Context(), loginOf(r).ID
	if err := a.c.Sessions.Logout(ctx); err != nil {
		return err
	}
	a.forgetToken(ctx, id)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) logoutEverywhere(w http.ResponseWriter, r *http.Request) error {
	ctx, s := r.Context(), loginOf(r)
	n, err := a.c.Sessions.LogoutEverywhere(ctx, s.TeacherID)
	if err != nil {
		return err
	}
	a.forgetToken(ctx, s.ID)
	write(w, http.StatusOK, struct {
		Sessions int `json:"sessions"`
	}{n})
	return nil
}

// forgetToken removes the CSRF token of a session that has ended. If it fails, which package csrf counts, the
// token dies of itself, and without its session it is good for nothing.
func (a *API) forgetToken(ctx context.Context, session string) {
	_ = a.c.CSRF.Forget(ctx, session)
}

func (a *API) me(w http.ResponseWriter, r *http.Request) error {
	ctx, s := r.Context(), loginOf(r)
	t, found, err := a.c.Database.Teacher(ctx, s.TeacherID)
	if err != nil {
		return err
	}
	if !found {
		return errUnauthenticated // the account is gone, the session is not yet
	}
	token, err := a.c.CSRF.Token(ctx, s.ID)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, loginBody{teacherBody{t.ID, t.Name, t.Email}, token})
	return nil
}
