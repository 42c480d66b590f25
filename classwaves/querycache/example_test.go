package querycache_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/querycache"
)

func Example() {
	server, err := miniredis.Run()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()}) // with rekey: and Dialer: r.Dialer(nil)
	defer client.Close()

	cache, err := querycache.New(querycache.Config{Redis: client, Epochs: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close()

	type session struct{ Title string }
	database := session{"Waves"}
	entry := querycache.Entry{Type: querycache.SessionDetail, Key: "s1", Tags: []string{"class:s1", "teacher:t1"}}
	show := func() {
		s, err := querycache.Load(context.Background(), cache, entry, func(context.Context) (session, error) {
			fmt.Println("asking the database")
			return database, nil
		})
		fmt.Println(s.Title, err)
	}
	show()
	show()

	database.Title = "Tides"
	err = cache.Invalidate(context.Background(), querycache.Scope{
		Type: querycache.SessionDetail, Prefix: "s1", Tags: []string{"class:s1"},
	})
	fmt.Println("invalidated:", err)
	show()
	// Output:
	// asking the database
	// Waves <nil>
	// Waves <nil>
	// invalidated: <nil>
	// asking the database
	// Tides <nil>
}
