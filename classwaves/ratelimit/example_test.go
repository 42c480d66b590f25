package ratelimit_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/ratelimit"
)

// Example limits requests by the address of the client, and log-ins by the user whom they are for.
func Example() {
	server, err := miniredis.Run() // in production a Redis that the fleet shares
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()

	limiter, err := ratelimit.New(ratelimit.Config{Redis: rdb})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = limiter.Close() }()

	search := ratelimit.Limit{Name: "search", Points: 2, Window: time.Minute, Block: 5 * time.Minute}
	handler := limiter.Middleware(search, ratelimit.ClientAddr(nil), nil)(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for range 3 {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/search", nil))
		h := w.Header()
		fmt.Printf("%d limit=%s remaining=%s reset=%s retry-after=%q\n", w.Code, h.Get("RateLimit-Limit"),
			h.Get("RateLimit-Remaining"), h.Get("RateLimit-Reset"), h.Get("Retry-After"))
	}

	d, err := limiter.Take(context.Background(), ratelimit.Auth, "ada@example.com")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("log-in allowed:", d.Allowed, "remaining:", d.Remaining)

	// Output:
	// 204 limit=2 remaining=1 reset=60 retry-after=""
	// 204 limit=2 remaining=0 reset=60 retry-after=""
	// 429 limit=2 remaining=0 reset=300 retry-after="300"
	// log-in allowed: true remaining: 4
}
