package accesscode_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/classwaves/accesscode"
)

// Example gives a class session a code, by which students join it until it ends.
func Example() {
	server, err := miniredis.Run() // in production a Redis that the fleet shares
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()

	codes, err := accesscode.New(accesscode.Config{Redis: rdb, Directory: newDirectory()})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	code, err := codes.Create(ctx, "maths-3b")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("a code of", len(code), "characters")

	typed := " " + strings.ToLower(code[:3]) + "-" + strings.ToLower(code[3:])
	session, found, err := codes.Resolve(ctx, typed)
	fmt.Println(session, found, err)

	if err := codes.Release(ctx, "maths-3b"); err != nil {
		log.Fatal(err)
	}
	_, found, err = codes.Resolve(ctx, typed)
	fmt.Println(found, err)

	// Output:
	// a code of 6 characters
	// maths-3b true <nil>
	// false <nil>
}
