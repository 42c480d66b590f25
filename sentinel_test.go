package rekey_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestSentinelClients: clients ask the sentinels by the dialer that they are given for the server, in every phase. A
// sentinel describes its own command, and the table does not know it.
func TestSentinelClients(t *testing.T) {
	server := redistest.Start(t)
	sentinel := server.Sentinel("group")
	for _, phases := range []map[string]phase.Phase{
		nil,
		{"sessions": phase.Dual, "limits": phase.Move},
		{"sessions": phase.Prefixed, "limits": phase.Prefixed},
	} {
		r, err := rekey.Open(t.Context(), loadPlan(t, testPlan), rekey.WithPhases(phases))
		must(t, err)
		defer func() { must(t, r.Close()) }()

		one := redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: "group", SentinelAddrs: []string{sentinel}, Dialer: r.Dialer(nil), MaxRetries: -1,
		})
		if err := one.Set(t.Context(), "secure_session:a", "v", 0).Err(); err != nil {
			t.Errorf("%v: go-redis: %v", phases, err)
		}
		must(t, one.Close())

		two, err := rueidis.NewClient(rueidis.ClientOption{
			InitAddress: []string{sentinel}, Sentinel: rueidis.SentinelOption{MasterSet: "group"}, DialCtxFn: r.DialCtxFn(),
		})
		if err != nil {
			t.Errorf("%v: rueidis: %v", phases, err)
			continue
		}
		if v, err := two.Do(t.Context(), two.B().Get().Key("secure_session:a").Build()).ToString(); err != nil || v != "v" {
			t.Errorf("%v: rueidis: %q, %v", phases, v, err)
		}
		two.Close()
	}
}

// TestSentinelsAreInNoRecord: the number of a connection to a sentinel is that of somebody else's on the server, who
// would pass the audit as this process and be closed with it.
func TestSentinelsAreInNoRecord(t *testing.T) {
	server := redistest.Start(t)
	sentinel := server.Sentinel("group")
	p := loadPlan(t, `
version: 1
environment: test
server: {url: "redis://group", sentinel: ["`+sentinel+`"]}
rules:
  - {name: s, legacy: "s:{id}", target: "cw:{env}:s:{id}", flags: cache}
`)
	bare := server.Client()
	store := fleet.NewStore(p, bare)
	for _, opt := range []rekey.Option{
		rekey.WithFleet(rekey.FleetConfig{}),
		rekey.WithFlags(func(string) (string, bool) { return "", false }),
	} {
		r, err := rekey.Open(t.Context(), p, opt)
		must(t, err)
		rdb := redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: "group", SentinelAddrs: []string{sentinel}, Dialer: r.Dialer(nil), PoolSize: 1,
		})
		must(t, rdb.Set(t.Context(), "s:1", "v", 0).Err())
		// One connection to the server, and two to the sentinel: questions, and what it announces.
		redistest.WaitFor(t, fleetWithin, func() bool { return r.Stats().Conns == 3 })
		recorded := func() (n int64) { // an observer's are written a moment later
			all, _, err := store.Instances(context.Background())
			must(t, err)
			for _, i := range all {
				n += bare.SCard(t.Context(), store.Keys().Conns(i.ID)).Val()
			}
			return n
		}
		redistest.WaitFor(t, fleetWithin, func() bool { return recorded() == 1 })
		must(t, rdb.Close())
		must(t, r.Close())
	}
}

// TestNoPhaseWaitsForASentinel: a sentinel has no keys, so nothing that it leaves unanswered, and nothing that a client
// leaves unread, holds a change of phase up. It may be gone for good.
func TestNoPhaseWaitsForASentinel(t *testing.T) {
	server := redistest.Start(t)
	sentinel := server.Sentinel("group")
	p := loadPlan(t, "server: {url: \"redis://group\", sentinel: [\""+sentinel+"\"]}\n"+testPlan)
	phases := rekey.NewManual(nil)
	r, err := rekey.Open(t.Context(), p, rekey.WithSource(phases))
	must(t, err)
	defer func() { must(t, r.Close()) }()
	conn, err := r.Dialer(nil)(t.Context(), "tcp", sentinel)
	must(t, err)
	defer func() { must(t, conn.Close()) }()
	const ping, pong = "*1\r\n$4\r\nPING\r\n", "+PONG\r\n"
	_, err = conn.Write([]byte(ping))
	must(t, err)
	_, err = io.ReadFull(conn, make([]byte, len(pong)))
	must(t, err)

	_, err = conn.Write([]byte(ping)) // the reply to which nobody reads
	must(t, err)
	phases.Set(map[string]phase.Phase{"sessions": phase.Guard})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, r.WaitReached(ctx))
}
