package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/session"
)

func Example() {
	server := miniredis.NewMiniRedis() // in place of a real one
	if err := server.Start(); err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()

	key, err := session.ParseKey("k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=") // from the environment, in earnest
	if err != nil {
		panic(err)
	}
	sessions, err := session.New(session.Config{Redis: rdb, Backing: session.NewMemory(), Keys: []session.Key{key}})
	if err != nil {
		panic(err)
	}
	go func() { _ = sessions.Run(context.Background()) }() // until Close
	defer func() { _ = sessions.Close() }()

	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		// ... the password is right ...
		if _, err := sessions.Login(r, "anna"); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, r *http.Request) {
		s, err := sessions.Authenticate(r.Context())
		switch {
		case err == nil:
			fmt.Fprint(w, s.TeacherID)
		case errors.Is(err, session.ErrNone), errors.Is(err, session.ErrFingerprint):
			http.Error(w, "log in first", http.StatusUnauthorized)
		default:
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /logout", func(_ http.ResponseWriter, r *http.Request) {
		if err := sessions.Logout(r.Context()); err != nil {
			panic(err)
		}
	})
	handler := sessions.Middleware(mux)

	var cookies []*http.Cookie
	ask := func(method, path string) {
		r := httptest.NewRequest(method, path, nil)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if set := w.Result().Cookies(); len(set) > 0 && cookies == nil {
			cookies = set
		}
		fmt.Println(strings.TrimSpace(fmt.Sprintln(method, path, w.Code, w.Body)))
	}
	ask("POST", "/login")
	ask("GET", "/me")
	ask("POST", "/logout")
	ask("GET", "/me") // with the cookie of before
	// Output:
	// POST /login 200
	// GET /me 200 anna
	// POST /logout 200
	// GET /me 401 log in first
}
