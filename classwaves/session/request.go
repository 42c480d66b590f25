package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/classwaves/rekey/classwaves/keys"
)

// request is what a request knows of its session. It is looked up when somebody asks, once.
type request struct {
	w      http.ResponseWriter
	id     string // of the cookie
	traits traits

	mu      sync.Mutex
	known   bool
	session Session
	err     error
}

type requestKey struct{}

func requestOf(ctx context.Context) (*request, error) {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r, nil
	}
	return nil, ErrMiddleware
}

// Middleware gives requests their session. It demands none: handlers do, with [Sessions.Authenticate],
// and those that do not cost nothing. Responses pass through untouched, so streams and upgrades to
// WebSockets work; Login and Logout set their cookie in the header, and must be called before the
// header is written.
func (s *Sessions) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Cookie")
		req := &request{w: w, traits: s.traits(r)}
		if cookie, err := r.Cookie(CookieName); err == nil {
			req.id = cookie.Value
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, req)))
	})
}

// Authenticate returns the session of the request. The error is [ErrNone] or [ErrFingerprint] (401), or an
// *unavailable.Error when neither Redis nor the database could say (503). A request asks once; for a
// connection that stays open see [Sessions.Check].
func (s *Sessions) Authenticate(ctx context.Context) (Session, error) {
	req, err := requestOf(ctx)
	if err != nil {
		return Session{}, err
	}
	req.mu.Lock()
	defer req.mu.Unlock()
	if !req.known {
		req.session, req.err = s.authenticate(ctx, req)
		req.known = true
	}
	return req.session, req.err
}

func (s *Sessions) authenticate(ctx context.Context, req *request) (Session, error) {
	if req.id == "" {
		return Session{}, ErrNone
	}
	c := &call{ctx: ctx}
	scsCtx, err := s.scs.Load(scsContext{ctx, c}, req.id)
	if err != nil {
		return Session{}, err
	}
	found, ok := s.scs.Get(scsCtx, contentKey).(content)
	if !ok {
		return Session{}, ErrNone
	}
	if agent, network := req.traits.differ(req.id, found); agent || network {
		s.metrics.refused.WithLabelValues("fingerprint").Inc()
		s.queue.mismatch(Mismatch{Hash: HashID(req.id), Agent: agent, Network: network, Count: 1, At: s.cfg.Now()})
		return Session{}, ErrFingerprint
	}
	if s.due(found, c.lookup) {
		found.Last = max(found.Last, s.cfg.Now().UnixMilli())
		s.scs.Put(scsCtx, contentKey, found)
		switch _, _, err := s.scs.Commit(scsCtx); {
		case errors.Is(err, errGone):
			return Session{}, ErrNone
		case err != nil:
			return Session{}, err
		}
	}
	return found.session(req.id), nil
}

// Check says whether a session is still alive: nil, [ErrNone], or an *unavailable.Error. It is for
// connections that stay open longer than a request; it is no sign of life.
func (s *Sessions) Check(ctx context.Context, session Session) error {
	_, _, ok, err := s.find(ctx, session.ID)
	if err == nil && !ok {
		return ErrNone
	}
	return err
}

// Login makes a session for a teacher whose password was right, and gives the client its cookie. It
// must be called inside Middleware, before the response's header is written. The session that the client
// had before is ended. The error is a *keys.InvalidError for an id that cannot stand in a key, or an
// *unavailable.Error when the database cannot store the session; Redis may be away.
//
// A session can be over when Login returns it, if later logins or a log-out everywhere came at the same
// time.
func (s *Sessions) Login(r *http.Request, teacherID string) (Session, error) {
	ctx := r.Context()
	req, err := requestOf(ctx)
	if err != nil {
		return Session{}, err
	}
	if _, err := keys.TeacherSessions(teacherID); err != nil {
		return Session{}, fmt.Errorf("session: login: %w", err)
	}
	before, beforeErr := s.Authenticate(ctx)

	c := &call{ctx: ctx, create: true}
	scsCtx, err := s.scs.Load(scsContext{ctx, c}, "")
	if err != nil {
		return Session{}, fmt.Errorf("session: login: %w", err)
	}
	if err := s.scs.RenewToken(scsCtx); err != nil { // 32 bytes of crypto/rand
		return Session{}, fmt.Errorf("session: login: %w", err)
	}
	now := s.cfg.Now()
	id := s.scs.Token(scsCtx)
	s.scs.SetDeadline(scsCtx, now.Add(s.cfg.AbsoluteLimit))
	s.scs.Put(scsCtx, contentKey, content{
		Teacher: teacherID, Created: now.UnixMilli(), Last: now.UnixMilli(),
		Agent: req.traits.agentMark(id), Network: req.traits.networkMark(id),
	})
	if _, _, err := s.scs.Commit(scsCtx); err != nil {
		return Session{}, err
	}
	if beforeErr == nil {
		_ = s.end(ctx, before.ID) // Run goes on trying; the limit would end it too
	}
	s.dropCookie(req)
	// A cookie's age counts by the client's clock, so from now, whatever the clock of the limits says.
	s.scs.WriteSessionCookie(scsCtx, req.w, id, time.Now().Add(s.cfg.AbsoluteLimit))

	req.mu.Lock()
	defer req.mu.Unlock()
	req.id, req.known, req.session, req.err = id, true, c.saved.session(id), nil
	return req.session, nil
}

// Logout ends the session of the request, in the database and in Redis, and takes the cookie back.
// Without a session it does nothing. With [ErrFingerprint] the session lives on. An *unavailable.Error
// means that the database could not be told: the session is ended in Redis if that could be reached,
// the cookie stays, and the client is to try again.
func (s *Sessions) Logout(ctx context.Context) error {
	req, err := requestOf(ctx)
	if err != nil {
		return err
	}
	_, err = s.Authenticate(ctx)
	if errors.Is(err, ErrFingerprint) {
		return err
	}
	if req.id != "" { // absent in Redis may still be alive in the database
		c := &call{ctx: ctx}
		if err := (*store)(s).DeleteCtx(scsContext{ctx, c}, req.id); err != nil {
			return err
		}
	}
	s.forget(req)
	return nil
}

// LogoutEverywhere ends every session of a teacher, those of the old release among them, and returns
// how many there were. A session whose login is later stays. An *unavailable.Error means that the
// database could not be told: what Redis knew is ended, and the client is to try again.
func (s *Sessions) LogoutEverywhere(ctx context.Context, teacherID string) (n int, err error) {
	ended, err := s.endAll(ctx, teacherID)
	if req, outside := requestOf(ctx); outside == nil && err == nil && slices.Contains(ended, req.id) {
		s.forget(req)
	}
	return len(ended), err
}

// forget takes the cookie back.
func (s *Sessions) forget(req *request) {
	req.mu.Lock()
	defer req.mu.Unlock()
	had := req.id != ""
	req.id, req.known, req.session, req.err = "", true, Session{}, ErrNone
	s.dropCookie(req)
	if had {
		s.scs.WriteSessionCookie(context.Background(), req.w, "", time.Time{})
	}
}

// dropCookie takes back a cookie that was set for the same response.
func (s *Sessions) dropCookie(req *request) {
	header := req.w.Header()
	kept := slices.DeleteFunc(slices.Clone(header["Set-Cookie"]), func(line string) bool {
		return len(line) > len(CookieName) && line[:len(CookieName)+1] == CookieName+"="
	})
	header.Del("Set-Cookie")
	for _, line := range kept {
		header.Add("Set-Cookie", line)
	}
}
