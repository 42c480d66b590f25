package clienttest

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
)

// ruEidis makes a rueidis client over an instance, with client-side caching on unless the change
// says otherwise. It speaks RESP3 and pipelines the commands of all goroutines.
func ruEidis(t testing.TB, r *rekey.Rekey, server *redistest.Server, changes ...func(*rueidis.ClientOption)) rueidis.Client {
	t.Helper()
	opt := rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, DialCtxFn: r.DialCtxFn(), ForceSingleClient: true, DisableRetry: true,
	}
	for _, change := range changes {
		change(&opt)
	}
	c, err := rueidis.NewClient(opt)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// rueidisChecks are what an application does with rueidis. Each passes on a bare server.
var rueidisChecks = []struct {
	name string
	run  func(t *testing.T, c rueidis.Client, key func(string) string)
}{
	{"many goroutines", manyGoroutines},
	{"DoMulti", doMulti},
	{"dedicated", dedicated},
	{"pubsub", rueidisPubSub},
	{"blocking", rueidisBlocking},
	{"lua", rueidisLua},
}

func TestRueidis(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Client()
	for _, s := range stages() {
		for name, change := range map[string]func(*rueidis.ClientOption){
			"RESP3": func(o *rueidis.ClientOption) { o.AlwaysPipelining = true },
			"RESP2": func(o *rueidis.ClientOption) { o.AlwaysRESP2, o.DisableCache = true, true },
		} {
			t.Run(s.String()+"/"+name, func(t *testing.T) {
				c := ruEidis(t, in(t, s), server, change)
				for _, check := range rueidisChecks {
					must(t, bare.FlushAll(t.Context()).Err())
					t.Run(check.name, func(t *testing.T) { check.run(t, c, s.key) })
				}
			})
		}
	}
}

// manyGoroutines counts from many goroutines over few connections: every number comes once, and
// each goroutine reads what it wrote.
func manyGoroutines(t *testing.T, c rueidis.Client, key func(string) string) {
	ctx := t.Context()
	const workers, rounds = 16, 25
	var wg sync.WaitGroup
	seen := make([][]int64, workers)
	for w := range workers {
		wg.Go(func() {
			own := key("own:" + strconv.Itoa(w))
			for i := range rounds {
				n, err := c.Do(ctx, c.B().Incr().Key(key("n")).Build()).AsInt64()
				if err != nil {
					t.Errorf("INCR: %v", err)
					return
				}
				seen[w] = append(seen[w], n)
				if err := c.Do(ctx, c.B().Set().Key(own).Value(strconv.Itoa(i)).Build()).Error(); err != nil {
					t.Errorf("SET: %v", err)
				}
				if got, err := c.Do(ctx, c.B().Get().Key(own).Build()).ToString(); err != nil || got != strconv.Itoa(i) {
					t.Errorf("GET: %q, %v; want %d", got, err, i)
				}
			}
		})
	}
	wg.Wait()
	once := make(map[int64]bool)
	for _, numbers := range seen {
		for _, n := range numbers {
			if once[n] || n < 1 || n > workers*rounds {
				t.Fatalf("number %d came twice or is none", n)
			}
			once[n] = true
		}
	}
	same(t, "numbers", len(once), workers*rounds)
}

func doMulti(t *testing.T, c rueidis.Client, key func(string) string) {
	ctx := t.Context()
	var cmds rueidis.Commands
	for i := range 200 {
		cmds = append(cmds, c.B().Set().Key(key(strconv.Itoa(i))).Value(strconv.Itoa(i)).Build(),
			c.B().Mget().Key(key(strconv.Itoa(i)), key("none"), "outside").Build())
	}
	for i, res := range c.DoMulti(ctx, cmds...) {
		if i%2 == 0 {
			must(t, res.Error())
			continue
		}
		values, err := res.ToArray()
		must(t, err)
		if got, _ := values[0].ToString(); got != strconv.Itoa(i/2) || !values[1].IsNil() || !values[2].IsNil() {
			t.Fatalf("MGET %d: %v", i/2, values)
		}
	}
}

func dedicated(t *testing.T, c rueidis.Client, key func(string) string) {
	ctx := t.Context()
	err := c.Dedicated(func(d rueidis.DedicatedClient) error {
		must(t, d.Do(ctx, d.B().Watch().Key(key("w")).Build()).Error())
		replies := d.DoMulti(ctx, d.B().Multi().Build(), d.B().Incr().Key(key("w")).Build(), d.B().Get().Key(key("w")).Build(), d.B().Exec().Build())
		values, err := replies[3].ToArray()
		must(t, err)
		n, err := values[0].AsInt64()
		must(t, err)
		text, err := values[1].ToString()
		must(t, err)
		same(t, "EXEC", []string{strconv.FormatInt(n, 10), text}, []string{"1", "1"})

		must(t, d.Do(ctx, d.B().Watch().Key(key("w")).Build()).Error())
		must(t, c.Do(ctx, c.B().Incr().Key(key("w")).Build()).Error())
		replies = d.DoMulti(ctx, d.B().Multi().Build(), d.B().Incr().Key(key("w")).Build(), d.B().Exec().Build())
		if err := replies[2].Error(); !rueidis.IsRedisNil(err) {
			t.Errorf("EXEC after another's write: %v, want nil", err)
		}
		return nil
	})
	must(t, err)
}

func rueidisPubSub(t *testing.T, c rueidis.Client, key func(string) string) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	channel := key("channel")
	got := make(chan rueidis.PubSubMessage, 1)
	d, release := c.Dedicate()
	defer release()
	wait := d.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: func(m rueidis.PubSubMessage) { got <- m }})
	must(t, d.Do(ctx, d.B().Subscribe().Channel(channel).Build()).Error())
	eventually(t, "the subscription", func() bool {
		n, err := c.Do(ctx, c.B().Publish().Channel(channel).Message("hello").Build()).AsInt64()
		return err == nil && n == 1
	})
	select {
	case m := <-got:
		same(t, "message", []string{m.Channel, m.Message}, []string{channel, "hello"})
	case err := <-wait:
		t.Errorf("the subscription ended: %v", err)
	}
	must(t, d.Do(ctx, d.B().Unsubscribe().Channel(channel).Build()).Error())
}

func rueidisBlocking(t *testing.T, c rueidis.Client, key func(string) string) {
	ctx := t.Context()
	type popped struct {
		values []string
		err    error
	}
	done := make(chan popped, 1)
	go func() {
		v, err := c.Do(ctx, c.B().Blpop().Key(key("none"), key("q")).Timeout(0).Build()).AsStrSlice()
		done <- popped{v, err}
	}()
	must(t, c.Do(ctx, c.B().Rpush().Key(key("q")).Element("v").Build()).Error())
	got := <-done
	must(t, got.err)
	same(t, "BLPOP", got.values, []string{key("q"), "v"})
	err := c.Do(ctx, c.B().Blmove().Source(key("q")).Destination(key("p")).Left().Right().Timeout(0.02).Build()).Error()
	if !rueidis.IsRedisNil(err) {
		t.Errorf("BLMOVE at its end: %v, want nil", err)
	}
}

func rueidisLua(t *testing.T, c rueidis.Client, key func(string) string) {
	ctx := t.Context()
	script := rueidis.NewLuaScript(`redis.call('HINCRBY', KEYS[1], 'n', ARGV[1]) return redis.call('HGET', KEYS[1], 'n')`)
	for i := range 3 {
		got, err := script.Exec(ctx, c, []string{key("lua")}, []string{"2"}).ToString()
		must(t, err)
		same(t, "script", got, strconv.Itoa(2*(i+1)))
	}
	readonly := rueidis.NewLuaScriptReadOnly(`return redis.call('HGET', KEYS[1], 'n')`)
	got, err := readonly.Exec(ctx, c, []string{key("lua")}, nil).ToString()
	must(t, err)
	same(t, "read-only script", got, "6")
}
