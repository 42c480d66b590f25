package clienttest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
)

// goRedisChecks are what an application does with go-redis. Each passes on a bare server.
var goRedisChecks = []struct {
	name string
	run  func(t *testing.T, rdb *redis.Client, key func(string) string)
}{
	{"plain", plainCommands},
	{"pipeline", pipeline},
	{"transaction", transaction},
	{"watch", watch},
	{"conn", oneConnection},
	{"pubsub", pubSub},
	{"script", script},
	{"blocking", blocking},
	{"scan", scan},
	{"stream", stream},
}

func TestGoRedis(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Client()
	for _, s := range stages() {
		for _, proto := range []int{2, 3} {
			t.Run(s.String()+"/RESP"+strconv.Itoa(proto), func(t *testing.T) {
				r := in(t, s)
				rdb := goRedis(t, r, server, func(o *redis.Options) { o.Protocol = proto })
				for _, c := range goRedisChecks {
					must(t, bare.FlushAll(t.Context()).Err())
					t.Run(c.name, func(t *testing.T) { c.run(t, rdb, s.key) })
				}
			})
		}
	}
}

func plainCommands(t *testing.T, rdb *redis.Client, key func(string) string) {
	ctx, k := t.Context(), key("plain")
	if err := rdb.Get(ctx, k).Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET of nothing: %v, want redis.Nil", err)
	}
	must(t, rdb.Set(ctx, k, "1", time.Hour).Err())
	same(t, "INCRBY", rdb.IncrBy(ctx, k, 41).Val(), 42)
	same(t, "GET", rdb.Get(ctx, k).Val(), "42")
	if ttl := rdb.TTL(ctx, k).Val(); ttl <= 59*time.Minute || ttl > time.Hour {
		t.Errorf("TTL %v, want an hour", ttl)
	}
	if set := rdb.SetNX(ctx, k, "no", 0).Val(); set {
		t.Error("SETNX set a key that is there")
	}
	same(t, "EXISTS", rdb.Exists(ctx, k, k, key("none")).Val(), 2)
	err := rdb.LPush(ctx, k, "x").Err()
	if err == nil || err.Error() != "WRONGTYPE Operation against a key holding the wrong kind of value" {
		t.Errorf("LPUSH on a string: %v", err)
	}
	must(t, rdb.HSet(ctx, key("h"), "a", "1", "b", "2").Err())
	same(t, "HGETALL", rdb.HGetAll(ctx, key("h")).Val(), map[string]string{"a": "1", "b": "2"})
	must(t, rdb.ZAdd(ctx, key("z"), redis.Z{Score: 1.5, Member: "m"}).Err())
	same(t, "ZSCORE", strconv.FormatFloat(rdb.ZScore(ctx, key("z"), "m").Val(), 'f', -1, 64), "1.5")
	must(t, rdb.MSet(ctx, key("a"), "1", key("b"), "2", "outside", "3").Err())
	same(t, "MGET", rdb.MGet(ctx, key("a"), key("none"), "outside", key("b")).Val(), []any{"1", nil, "3", "2"})
	same(t, "RENAME", rdb.Rename(ctx, key("a"), key("c")).Val(), "OK")
	same(t, "DEL", rdb.Del(ctx, key("a"), key("b"), key("c"), k).Val(), 3)
}

func pipeline(t *testing.T, rdb *redis.Client, key func(string) string) {
	ctx := t.Context()
	const n = 500
	var counts []*redis.IntCmd
	var reads []*redis.StringCmd
	_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range n {
			counts = append(counts, p.Incr(ctx, key("n")))
			p.Set(ctx, key(strconv.Itoa(i)), i, 0)
			reads = append(reads, p.Get(ctx, key(strconv.Itoa(i))))
		}
		return nil
	})
	must(t, err)
	for i := range n {
		if counts[i].Val() != int64(i+1) || reads[i].Val() != strconv.Itoa(i) {
			t.Fatalf("command %d: %d and %q", i, counts[i].Val(), reads[i].Val())
		}
	}
}

func transaction(t *testing.T, rdb *redis.Client, key func(string) string) {
	ctx := t.Context()
	var incr *redis.IntCmd
	var exists *redis.IntCmd
	var get, bad *redis.StringCmd
	cmds, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		incr = p.Incr(ctx, key("tx"))
		p.RPush(ctx, key("list"), "a")
		bad = p.Get(ctx, key("list")) // the transaction runs on, as on a bare server
		exists = p.Exists(ctx, key("tx"), key("list"), "outside")
		get = p.Get(ctx, key("tx"))
		return nil
	})
	if err == nil || len(cmds) != 5 || bad.Err() == nil {
		t.Errorf("transaction with a wrong type: %v, %d replies, %v", err, len(cmds), bad.Err())
	}
	same(t, "INCR", incr.Val(), 1)
	same(t, "EXISTS", exists.Val(), 2)
	same(t, "GET", get.Val(), "1")
}

func watch(t *testing.T, rdb *redis.Client, key func(string) string) {
	ctx, k := t.Context(), key("watched")
	increment := func(tx *redis.Tx) error {
		n, err := tx.Get(ctx, k).Int()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, k, n+1, 0)
			return nil
		})
		return err
	}
	for range 3 {
		must(t, rdb.Watch(ctx, increment, k))
	}
	same(t, "GET", rdb.Get(ctx, k).Val(), "3")
	err := rdb.Watch(ctx, func(tx *redis.Tx) error {
		must(t, rdb.Set(ctx, k, "other", 0).Err())
		return setMine(ctx, tx, k)
	}, k)
	if !errors.Is(err, redis.TxFailedErr) {
		t.Errorf("EXEC after another's write: %v, want %v", err, redis.TxFailedErr)
	}
	same(t, "GET", rdb.Get(ctx, k).Val(), "other")
}

func setMine(ctx context.Context, tx *redis.Tx, k string) error {
	_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, k, "mine", 0)
		return nil
	})
	return err
}

func oneConnection(t *testing.T, rdb *redis.Client, key func(string) string) {
	ctx := t.Context()
	conn := rdb.Conn()
	defer func() { must(t, conn.Close()) }()
	must(t, conn.ClientSetName(ctx, "mine").Err())
	must(t, conn.Set(ctx, key("k"), "v", 0).Err())
	same(t, "CLIENT GETNAME", conn.ClientGetName(ctx).Val(), "mine")
	must(t, conn.Select(ctx, 1).Err())
	if err := conn.Get(ctx, key("k")).Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET in another database: %v, want redis.Nil", err)
	}
	must(t, conn.Set(ctx, key("k"), "of database 1", 0).Err())
	must(t, conn.Select(ctx, 0).Err())
	same(t, "GET", conn.Get(ctx, key("k")).Val(), "v")
}

func pubSub(t *testing.T, rdb *redis.Client, key func(string) string) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	channel := key("channel") // a channel is no key: its name stays
	sub := rdb.Subscribe(ctx, channel)
	defer func() { _ = sub.Close() }() // its second end may find it closed
	must(t, sub.PSubscribe(ctx, key("chan*")))
	for range 2 {
		_, err := sub.Receive(ctx)
		must(t, err)
	}
	same(t, "PUBLISH", rdb.Publish(ctx, channel, "hello").Val(), 2)
	for range 2 {
		m, err := sub.ReceiveMessage(ctx)
		must(t, err)
		same(t, "message", []string{m.Channel, m.Payload}, []string{channel, "hello"})
	}
	must(t, sub.Unsubscribe(ctx, channel))
	_, err := sub.Receive(ctx)
	must(t, err)
	same(t, "PUBLISH", rdb.Publish(ctx, channel, "once").Val(), 1)
	m, err := sub.ReceiveMessage(ctx)
	must(t, err)
	same(t, "message", []string{m.Channel, m.Pattern, m.Payload}, []string{channel, key("chan*"), "once"})
}

var addTo = redis.NewScript(`return redis.call('INCRBY', KEYS[1], ARGV[1])`)

func script(t *testing.T, rdb *redis.Client, key func(string) string) {
	ctx := t.Context()
	must(t, rdb.ScriptFlush(ctx).Err())
	for i := range 3 { // EVALSHA, NOSCRIPT, EVAL; then EVALSHA
		n, err := addTo.Run(ctx, rdb, []string{key("s")}, 5).Int()
		must(t, err)
		same(t, "script", n, 5*(i+1))
	}
	same(t, "GET", rdb.Get(ctx, key("s")).Val(), "15")
	same(t, "SCRIPT EXISTS", rdb.ScriptExists(ctx, addTo.Hash()).Val(), []bool{true})
}

func blocking(t *testing.T, rdb *redis.Client, key func(string) string) {
	ctx := t.Context()
	same(t, "RPUSH", rdb.RPush(ctx, key("q"), "a").Val(), 1)
	same(t, "BLPOP", rdb.BLPop(ctx, time.Second, key("none"), key("q")).Val(), []string{key("q"), "a"})
	if err := rdb.Do(ctx, "BLPOP", key("q"), "0.02").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("BLPOP at its end: %v, want redis.Nil", err)
	}
	type popped struct {
		values []string
		err    error
	}
	done := make(chan popped, 1)
	go func() {
		v, err := rdb.BRPop(ctx, 0, key("q")).Result()
		done <- popped{v, err}
	}()
	must(t, rdb.RPush(ctx, key("q"), "late").Err())
	got := <-done
	must(t, got.err)
	same(t, "BRPOP", got.values, []string{key("q"), "late"})
}

func scan(t *testing.T, rdb *redis.Client, key func(string) string) {
	ctx := t.Context()
	want := make([]string, 300)
	for i := range want {
		want[i] = key("scan:" + strconv.Itoa(i))
		must(t, rdb.Set(ctx, want[i], i, 0).Err())
	}
	must(t, rdb.Set(ctx, "outside", "x", 0).Err())
	var got []string
	it := rdb.Scan(ctx, 0, key("scan:*"), 7).Iterator()
	for it.Next(ctx) {
		got = append(got, it.Val())
	}
	must(t, it.Err())
	slices.Sort(got)
	slices.Sort(want)
	same(t, "SCAN", slices.Compact(got), want)

	members := make([]any, 200)
	for i := range members {
		members[i] = i
	}
	must(t, rdb.SAdd(ctx, key("set"), members...).Err())
	n := 0
	for it := rdb.SScan(ctx, key("set"), 0, "", 5).Iterator(); it.Next(ctx); {
		n++
	}
	same(t, "SSCAN", n, len(members))
}

func stream(t *testing.T, rdb *redis.Client, key func(string) string) {
	ctx := t.Context()
	id, err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: key("x"), Values: []string{"f", "1"}}).Result()
	must(t, err)
	must(t, rdb.XGroupCreate(ctx, key("x"), "g", "0").Err())
	got, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{key("x"), ">"}, Block: -1}).Result()
	must(t, err)
	if len(got) != 1 || got[0].Stream != key("x") || len(got[0].Messages) != 1 || got[0].Messages[0].ID != id {
		t.Errorf("XREADGROUP: got %v, want entry %s of %s", got, id, key("x"))
	}
	same(t, "XACK", rdb.XAck(ctx, key("x"), "g", id).Val(), 1)
	same(t, "XLEN", rdb.XLen(ctx, key("x")).Val(), 1)
}
