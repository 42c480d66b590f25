package sweep_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// application is writers that go through the engine, in one phase, and each of which alone knows what its keys are to be.
type application struct {
	prefix string
	rules  *intercept.Rules
	stop   chan struct{}
	done   sync.WaitGroup
	writes atomic.Int64
	wrong  chan error

	mu    sync.Mutex
	truth map[string]string // string keys as the writers left them; "" deleted
}

const writersPerTest, keysPerWriter = 4, 60

// serve starts the writers, with what they know of their keys: they set, change, expire, delete and create the very keys that the sweep walks.
func serve(t *testing.T, server *redistest.Server, p *plan.Plan, rule string, in phase.Phase, seed uint64, known map[string]string) *application {
	t.Helper()
	phases := []phase.Phase{phase.Legacy, phase.Legacy, phase.Legacy}
	index, _ := p.Index(rule)
	phases[index] = in
	app := &application{
		prefix: prefixes[rule],
		rules:  &intercept.Rules{Set: p.Names(), Stats: intercept.NewStats(p.Names().Len())},
		stop:   make(chan struct{}), wrong: make(chan error, writersPerTest), truth: make(map[string]string),
	}
	app.rules.SetTable(&intercept.Table{Version: 1, Phases: phases})
	for w := range writersPerTest {
		conn := intercept.NewConn(server.Dial(), app.rules, intercept.Hooks{})
		random := rand.New(rand.NewPCG(seed, uint64(w)))
		mine := make(map[string]string)
		for name, value := range known {
			if strings.HasPrefix(name, fmt.Sprintf("%s%d:", app.prefix, w)) {
				mine[name] = value
			}
		}
		app.done.Go(func() {
			defer conn.Close()
			if err := app.write(conn, w, random, mine); err != nil {
				app.wrong <- err
			}
		})
	}
	t.Cleanup(app.end)
	return app
}

// end stops the writers and waits for them.
func (app *application) end() {
	select {
	case <-app.stop:
	default:
		close(app.stop)
	}
	app.done.Wait()
}

// write is one writer: it knows each of its string keys, and reads them back.
func (app *application) write(conn net.Conn, w int, random *rand.Rand, mine map[string]string) error {
	reader := bufio.NewReader(conn)
	do := func(words ...string) (string, error) {
		args := make([][]byte, len(words))
		for i, word := range words {
			args[i] = []byte(word)
		}
		if _, err := conn.Write(resp.AppendCommand(nil, args...)); err != nil {
			return "", err
		}
		raw, err := redistest.ReadReply(reader)
		if err != nil {
			return "", err
		}
		v, _, err := resp.Parse(raw)
		if v.IsError() {
			return "", fmt.Errorf("%q: %s", words, v.Str)
		}
		return string(v.Str), err
	}
	defer func() {
		app.mu.Lock()
		defer app.mu.Unlock()
		for name, value := range mine {
			app.truth[name] = value
		}
	}()
	for n := 0; ; n++ {
		select {
		case <-app.stop:
			return nil
		default:
		}
		name := fmt.Sprintf("%s%d:%d {*}", app.prefix, w, random.IntN(keysPerWriter))
		other := fmt.Sprintf("%sshared:%d", app.prefix, random.IntN(20))
		value := fmt.Sprint(n)
		var err error
		switch random.IntN(13) {
		case 0, 1:
			_, err = do("SET", name, value)
			mine[name] = value
		case 2:
			_, err = do("APPEND", name, "+")
			mine[name] += "+"
		case 3:
			_, err = do("DEL", name)
			mine[name] = ""
		case 4, 5:
			var got string
			if got, err = do("GET", name); err == nil && got != mine[name] {
				return fmt.Errorf("%q: got %q, want %q", name, got, mine[name])
			}
		case 6:
			_, err = do("SET", other+":soon", value, "PX", fmt.Sprint(1+random.IntN(20)))
		case 7:
			_, err = do("SADD", other+":set", value, fmt.Sprint(random.IntN(400)))
		case 8:
			_, err = do("SPOP", other+":set")
		case 9:
			_, err = do("HSET", other+":hash", fmt.Sprint(random.IntN(400)), value)
		case 10:
			_, err = do("XADD", other+":stream", "MAXLEN", "50", "*", "f", value)
		case 11:
			_, err = do("RPUSH", other+":list", value)
			if err == nil {
				_, err = do("LTRIM", other+":list", "-30", "-1")
			}
		case 12:
			_, err = do("UNLINK", other+":set", other+":hash", other+":list")
		}
		if err != nil {
			return err
		}
		app.writes.Add(1)
	}
}

// check ends the application and looks whether it was ever answered wrongly, and whether what it wrote last is under the
// name that is read.
func (app *application) check(t *testing.T, c *redis.Client, read func(legacy string) string) {
	t.Helper()
	app.end()
	select {
	case err := <-app.wrong:
		t.Errorf("a writer: %v", err)
	default:
	}
	if len(app.truth) == 0 || app.writes.Load() < 100 {
		t.Fatalf("only %d writes of %d keys beside the sweep: the test shows nothing", app.writes.Load(), len(app.truth))
	}
	for name, want := range app.truth {
		got, err := c.Get(t.Context(), read(name)).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", read(name), got, want)
		}
	}
}

// count is how many keys match under one name and, of those, lack the other.
func count(t testing.TB, c *redis.Client, glob string, other func(string) string) (all, alone int) {
	t.Helper()
	names, err := c.Keys(t.Context(), glob).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		// Both at one moment, and a key about to expire is none of the two.
		var a, b, ttl *redis.Cmd
		_, err := c.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			a, b, ttl = p.Do(t.Context(), "EXISTS", name), p.Do(t.Context(), "EXISTS", other(name)), p.Do(t.Context(), "PTTL", name)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if left, _ := ttl.Int(); a.Val() == int64(1) && (left == -1 || left > 5) {
			if all++; b.Val() == int64(0) {
				alone++
			}
		}
	}
	return all, alone
}
