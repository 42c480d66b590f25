package rekey_test

import (
	"context"
	"fmt"
	"os"

	"github.com/alicebob/miniredis/v2"
	"github.com/gomodule/redigo/redis"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// examplePlan is what plan.Load("rekey.yaml") would give.
func examplePlan() *plan.Plan {
	p, err := plan.Parse("rekey.yaml", []byte(`
version: 1
environment: prod
rules:
  - {name: sessions, legacy: "secure_session:{id}", target: "cw:{env}:secure_session:{id}", strategy: mirror, flags: cache}
`), os.LookupEnv)
	if err != nil {
		panic(err)
	}
	return p
}

// exampleServer is an embedded server, in place of a real one.
func exampleServer() *miniredis.Miniredis {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		panic(err)
	}
	return server
}

func ExampleOpen() {
	r, err := rekey.Open(context.Background(), examplePlan(), rekey.WithPhases(map[string]phase.Phase{"sessions": phase.Dual}))
	if err != nil {
		panic(err)
	}
	defer func() { _ = r.Close() }()
	fmt.Println(r.Phases()["sessions"])
	// Output: dual
}

// The one line that changes in an application that uses go-redis is the Dialer.
func ExampleRekey_Dialer() {
	server := exampleServer()
	defer server.Close()
	ctx := context.Background()
	r, err := rekey.Open(ctx, examplePlan(), rekey.WithPhases(map[string]phase.Phase{"sessions": phase.Dual}))
	if err != nil {
		panic(err)
	}
	defer func() { _ = r.Close() }()

	rdb := goredis.NewClient(&goredis.Options{Addr: server.Addr(), Dialer: r.Dialer(nil)})
	defer func() { _ = rdb.Close() }()
	if err := rdb.Set(ctx, "secure_session:a", "alice", 0).Err(); err != nil {
		panic(err)
	}
	fmt.Println(rdb.Get(ctx, "secure_session:a").Val())
	fmt.Println(server.Keys())
	// Output:
	// alice
	// [cw:prod:secure_session:a secure_session:a]
}

// redigo takes the same function.
func ExampleRekey_Dialer_redigo() {
	server := exampleServer()
	defer server.Close()
	r, err := rekey.Open(context.Background(), examplePlan(), rekey.WithPhases(map[string]phase.Phase{"sessions": phase.Prefixed}))
	if err != nil {
		panic(err)
	}
	defer func() { _ = r.Close() }()

	conn, err := redis.Dial("tcp", server.Addr(), redis.DialContextFunc(r.Dialer(nil)))
	if err != nil {
		panic(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Do("SADD", "secure_session:a", "x", "y"); err != nil {
		panic(err)
	}
	fmt.Println(redis.Int(conn.Do("SCARD", "secure_session:a")))
	fmt.Println(server.Keys())
	// Output:
	// 2 <nil>
	// [cw:prod:secure_session:a]
}

func ExampleRekey_DialCtxFn() {
	server := exampleServer()
	defer server.Close()
	ctx := context.Background()
	r, err := rekey.Open(ctx, examplePlan(), rekey.WithPhases(map[string]phase.Phase{"sessions": phase.Guard}))
	if err != nil {
		panic(err)
	}
	defer func() { _ = r.Close() }()

	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, DialCtxFn: r.DialCtxFn(),
		DisableCache: true, // the embedded server has no client-side caching
	})
	if err != nil {
		panic(err)
	}
	defer client.Close()
	if err := client.Do(ctx, client.B().Set().Key("secure_session:a").Value("alice").Build()).Error(); err != nil {
		panic(err)
	}
	fmt.Println(server.Keys())
	// Output: [secure_session:a]
}

// A Manual source changes phases while connections are open.
func ExampleManual() {
	source := rekey.NewManual(nil)
	r, err := rekey.Open(context.Background(), examplePlan(), rekey.WithSource(source))
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Phases()["sessions"])
	if err := r.Close(); err != nil {
		panic(err)
	}
	fmt.Println(r.Close())
	// Output:
	// legacy
	// <nil>
}

func ExampleRekey_Stats() {
	server := exampleServer()
	defer server.Close()
	ctx := context.Background()
	r, err := rekey.Open(ctx, examplePlan(), rekey.WithPhases(map[string]phase.Phase{"sessions": phase.Dual}))
	if err != nil {
		panic(err)
	}
	defer func() { _ = r.Close() }()
	rdb := goredis.NewClient(&goredis.Options{Addr: server.Addr(), Dialer: r.Dialer(nil)})
	defer func() { _ = rdb.Close() }()

	if err := server.Set("secure_session:a", "from the old release"); err != nil {
		panic(err)
	}
	rdb.Get(ctx, "secure_session:a")
	rdb.Get(ctx, "secure_session:a")
	s := r.Stats().Rules["sessions"]
	fmt.Println("reads", s.Commands["read"], "of which fell back", s.Fallbacks)
	// Output: reads 2 of which fell back 1
}

func ExampleWithFlags() {
	environment := map[string]string{"CW_CACHE_PREFIX_ENABLED": "1", "CW_CACHE_DUAL_WRITE": "1"}
	lookup := func(name string) (string, bool) { v, ok := environment[name]; return v, ok }
	ctx := context.Background()
	r, err := rekey.Open(ctx, examplePlan(), rekey.WithFlags(lookup))
	if err != nil {
		panic(err)
	}
	defer func() { _ = r.Close() }()
	fmt.Println(r.Phases()["sessions"])

	environment["CW_CACHE_LEGACY_READ"] = "0"
	if err := r.ReloadFlags(ctx); err != nil {
		panic(err)
	}
	fmt.Println(r.Phases()["sessions"])
	// Output:
	// dual
	// settled
}

// In a fleet the phases come from records in the plan's server, which rekey run and rekey advance move. The
// application says who it is, and no more.
func ExampleWithFleet() {
	server := exampleServer()
	defer server.Close()
	p, err := plan.Parse("rekey.yaml", []byte(`
version: 1
environment: prod
server: {url: "redis://`+server.Addr()+`"}
rules:
  - {name: sessions, legacy: "secure_session:{id}", target: "cw:{env}:secure_session:{id}"}
`), os.LookupEnv)
	if err != nil {
		panic(err)
	}
	r, err := rekey.Open(context.Background(), p, rekey.WithFleet(rekey.FleetConfig{Name: "classroom", Version: "1.4.2"}))
	if err != nil {
		panic(err)
	}
	defer func() { _ = r.Close() }()
	fmt.Println(r.Phases()["sessions"])
	// Output: legacy
}
