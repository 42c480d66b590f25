package csrf_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/csrf"
)

func Example() {
	server := miniredis.NewMiniRedis() // in place of a real one
	if err := server.Start(); err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()
	tokens, err := csrf.New(csrf.Config{Redis: rdb})
	if err != nil {
		panic(err)
	}
	sessionOf := func(*http.Request) (string, bool) { return "the authenticated session", true }
	handler := tokens.Middleware(sessionOf, nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "done")
	}))

	token, err := tokens.Token(context.Background(), "the authenticated session") // goes into the page
	if err != nil {
		panic(err)
	}
	for _, sent := range []string{"", "guessed", token} {
		r := httptest.NewRequest(http.MethodPost, "/sessions", nil)
		if sent != "" {
			r.Header.Set(csrf.Header, sent)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 403 CSRF_TOKEN_MISSING
	// 403 CSRF_TOKEN_INVALID
	// 200 done
}
