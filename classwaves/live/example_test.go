package live_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/alicebob/miniredis/v2"
	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/live"
)

// Two processes share a Redis. A browser that is connected to one hears what the other publishes.
func Example() {
	ctx := context.Background()
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		panic(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()

	process := func() *live.Hub {
		hub, err := live.New(live.Config{Redis: rdb, Environment: "production"})
		if err != nil {
			panic(err)
		}
		if err := hub.Ready(ctx); err != nil {
			panic(err)
		}
		return hub
	}
	here, there := process(), process()
	defer func() { _, _ = here.Close(), there.Close() }()

	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The caller has looked at who asks. An error was answered, or is how the connection ended.
		_ = here.Serve(w, r, "biology", nil)
	}))
	defer web.Close()
	browser, _, err := websocket.Dial(ctx, web.URL, nil)
	if err != nil {
		panic(err)
	}
	defer func() { _ = browser.CloseNow() }()

	if err := there.Publish(ctx, "biology", "metrics", map[string]int{"participants": 28}); err != nil {
		panic(err)
	}
	_, event, err := browser.Read(ctx)
	fmt.Println(string(event), err)
	// Output: {"kind":"metrics","payload":{"participants":28}} <nil>
}
