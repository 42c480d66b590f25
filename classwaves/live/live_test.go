package live

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/unavailable"
	"github.com/classwaves/rekey/internal/redistest"
)

func TestEventsReachTheOtherProcess(t *testing.T) {
	s := redistest.Shared(t)
	a, b := start(t, s.Client(), nil).ready(t), start(t, s.Client(), nil).ready(t)
	other := start(t, s.Client(), nil, func(c *Config) { c.Environment = "staging" }).ready(t)
	atA, atB, elsewhere, staging := a.join(t, "one"), b.join(t, "one"), b.join(t, "two"), other.join(t, "one")
	for i := range 20 {
		a.publish(t, "one", "metrics", i)
		b.publish(t, "two", "metrics", "two")
	}
	other.publish(t, "one", "metrics", "staging")
	for i := range 20 {
		atA.want("metrics", fmt.Sprint(i))
		atB.want("metrics", fmt.Sprint(i))
		elsewhere.want("metrics", `"two"`)
	}
	staging.want("metrics", `"staging"`)
	if m := b.Metrics(); m.Connections != 2 || m.Sessions != 2 || m.Heard != 40 || m.Published != 20 {
		t.Errorf("got %+v", m)
	}
}

// One client does not read. It is cut off; the others get everything.
func TestASlowClientIsCutOff(t *testing.T) {
	s := redistest.Shared(t)
	p := start(t, s.Client(), nil, func(c *Config) { c.Queue, c.WriteTimeout = 8, waitAtMost }).ready(t)
	slow, quick := p.join(t, "one"), p.join(t, "one")
	big := strings.Repeat("x", 60_000)
	got := make(chan int)
	go func() {
		n := 0
		for quick.next().Kind != "last" {
			n++
			got <- n
		}
		close(got)
	}()
	sent := 0
	for p.Metrics().Slow == 0 {
		p.publish(t, "one", "metrics", big)
		sent++
		if n := <-got; n != sent { // the quick one has it before the next is sent
			t.Fatalf("the quick client has %d of %d", n, sent)
		}
	}
	for range 20 {
		p.publish(t, "one", "metrics", big)
		sent++
		<-got
	}
	p.publish(t, "one", "last", nil)
	if _, open := <-got; open {
		t.Error("more than was sent")
	}
	status, events := slow.status()
	if status != websocket.StatusPolicyViolation || events >= sent {
		t.Errorf("the slow client: got status %v after %d of %d events, want %v", status, events, sent, websocket.StatusPolicyViolation)
	}
	var end *EndError
	if err := <-p.ended; !errors.As(err, &end) || end.Status != 1008 {
		t.Errorf("Serve: got %v", err)
	}
	redistest.WaitFor(t, waitAtMost, func() bool { return p.Metrics().Connections == 1 })
	t.Logf("cut off after %d events of %d bytes", events, len(big))
}

// A client that takes nothing at all does not hold its connection for ever.
func TestAClientThatTakesNothingIsGivenUp(t *testing.T) {
	s := redistest.Shared(t)
	p := start(t, s.Client(), nil, func(c *Config) { c.Queue, c.WriteTimeout = 2, 50*time.Millisecond }).ready(t)
	p.join(t, "one") // and never reads
	big := strings.Repeat("x", 60_000)
	redistest.WaitFor(t, waitAtMost, func() bool {
		p.publish(t, "one", "metrics", big)
		return p.Metrics().Connections == 0
	})
	if err := <-p.ended; err == nil {
		t.Error("Serve: got no error")
	}
}

func TestOrigins(t *testing.T) {
	p := start(t, redistest.Shared(t).Client(), nil, func(c *Config) { c.OriginPatterns = []string{"https://*.classwaves.test"} })
	host := strings.TrimPrefix(p.server.URL, "http://")
	for origin, want := range map[string]int{
		"":                            http.StatusSwitchingProtocols,
		"http://" + host:              http.StatusSwitchingProtocols,
		"https://app.classwaves.test": http.StatusSwitchingProtocols,
		"http://app.classwaves.test":  http.StatusForbidden,
		"https://evil.test":           http.StatusForbidden,
		"null":                        http.StatusForbidden,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		_, response, err := p.dial(t, "one", header)
		if response == nil || response.StatusCode != want || (err == nil) != (want == http.StatusSwitchingProtocols) {
			t.Errorf("origin %q: got %+v (%v), want status %d", origin, response, err, want)
		}
	}
	redistest.WaitFor(t, waitAtMost, func() bool { m := p.Metrics(); return m.Refused == 3 && m.Connections == 3 })
}

func TestLimitsOfConnections(t *testing.T) {
	p := start(t, redistest.Shared(t).Client(), nil, func(c *Config) { c.MaxPerSession, c.MaxTotal = 2, 3 })
	refused := func(session string) {
		t.Helper()
		if _, response, err := p.dial(t, session, nil); err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("got %+v, %v, want status 503", response, err)
		}
		if err := <-p.ended; !errors.Is(err, ErrFull) {
			t.Errorf("Serve: got %v, want %v", err, ErrFull)
		}
	}
	first := p.join(t, "one")
	p.join(t, "one")
	refused("one")
	p.join(t, "two")
	refused("two")
	if err := first.conn.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Error(err)
	}
	if err := <-p.ended; err != nil {
		t.Errorf("Serve of a connection that the client closed: got %v", err)
	}
	redistest.WaitFor(t, waitAtMost, func() bool { return p.Metrics().Connections == 2 })
	p.join(t, "one")
	if _, response, err := p.dial(t, "a:b", nil); err == nil || response.StatusCode != http.StatusBadRequest {
		t.Errorf("a session that is none: got %+v, %v", response, err)
	}
}

func echo(_ context.Context, msg []byte) (any, error) {
	switch string(msg) {
	case "silence":
		return nil, nil
	case "wrong":
		return nil, fmt.Errorf("wrapped: %w", &Error{Code: "NO_SUCH_GROUP", Message: "there is none"})
	case "down":
		return nil, unavailable.Wrap("count", errors.New("secret address"))
	case "broken":
		return nil, errors.New("secret")
	case "unsayable":
		return make(chan int), nil
	}
	return string(msg), nil
}

func TestMessagesAreAnswered(t *testing.T) {
	p := start(t, redistest.Shared(t).Client(), echo)
	b, other := p.join(t, "one"), p.join(t, "one")
	for _, msg := range []string{"hello", "silence", "wrong", "down", "broken", "unsayable"} {
		b.send(msg)
	}
	b.want("reply", `"hello"`)
	b.want("error", `{"code":"NO_SUCH_GROUP","message":"there is none"}`)
	b.want("error", `{"code":"UNAVAILABLE","message":"try again later"}`)
	b.want("error", `{"code":"INTERNAL"}`)
	b.want("error", `{"code":"INTERNAL"}`)
	other.send("mine")
	other.want("reply", `"mine"`) // and nothing of the first one's
}

func TestLimitsOfMessages(t *testing.T) {
	slowly := func(c *Config) { c.MaxMessage, c.MessageRate, c.MessageBurst = 100, 0.001, 3 }
	p := start(t, redistest.Shared(t).Client(), echo, slowly)
	long := p.join(t, "one")
	long.send(strings.Repeat("x", 101))
	if status, _ := long.status(); status != websocket.StatusMessageTooBig {
		t.Errorf("too long: got status %v", status)
	}
	many := p.join(t, "one")
	for range 4 {
		many.send("hello")
	}
	if status, replies := many.status(); status != websocket.StatusPolicyViolation || replies > 3 {
		t.Errorf("too many: got status %v after %d replies", status, replies)
	}
	binary := p.join(t, "one")
	if err := binary.conn.Write(t.Context(), websocket.MessageBinary, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if status, _ := binary.status(); status != websocket.StatusUnsupportedData {
		t.Errorf("binary: got status %v", status)
	}
	mute := start(t, redistest.Shared(t).Client(), nil).join(t, "one")
	mute.send("hello")
	if status, _ := mute.status(); status != websocket.StatusPolicyViolation {
		t.Errorf("not taken: got status %v", status)
	}
	if m := p.Metrics(); m.Flooded != 1 {
		t.Errorf("got %+v", m)
	}
	if err := p.Publish(t.Context(), "one", "metrics", strings.Repeat("x", p.MaxEvent)); !errors.Is(err, ErrTooLong) {
		t.Errorf("an event that is too long: got %v", err)
	}
	var invalid *keys.InvalidError
	if err := p.Publish(t.Context(), "a:b", "metrics", 1); !errors.As(err, &invalid) {
		t.Errorf("an event of no session: got %v", err)
	}
}

// A client that is there and never says a word stays; one that does not answer a ping goes.
func TestPing(t *testing.T) {
	p := start(t, redistest.Shared(t).Client(), nil, func(c *Config) { c.Ping = time.Second }).ready(t)
	alive := p.join(t, "one")
	ctx, cancel := context.WithCancel(t.Context())
	var pinged sync.WaitGroup
	pinged.Go(func() { // reading answers pings
		_, _, err := alive.conn.Read(ctx)
		if err != nil && ctx.Err() == nil {
			t.Errorf("the living client: %v", err)
		}
	})
	p.join(t, "one") // never reads, so never answers
	redistest.WaitFor(t, waitAtMost, func() bool { m := p.Metrics(); return m.Dead == 1 && m.Connections == 1 })
	if err := <-p.ended; err == nil {
		t.Error("Serve of the dead one: got no error")
	}
	cancel()
	pinged.Wait()
}

// A login that has ended ends its connection; one of which nothing is known goes on.
func TestALoginEndsWhileItListens(t *testing.T) {
	p := start(t, redistest.Shared(t).Client(), nil, func(c *Config) { c.Ping = time.Second }).ready(t)
	var asked atomic.Int64
	var answer atomic.Pointer[error]
	may := func(context.Context) error {
		asked.Add(1)
		if err := answer.Load(); err != nil {
			return *err
		}
		return nil
	}
	p.may.Store(&may)
	b := p.join(t, "one")
	ended := make(chan error, 1)
	go func() { // reading answers pings
		_, _, err := b.conn.Read(t.Context())
		ended <- err
	}()
	more := func(err error) {
		t.Helper()
		answer.Store(&err)
		n := asked.Load()
		redistest.WaitFor(t, waitAtMost, func() bool { return asked.Load() > n+1 })
	}
	more(nil)
	more(unavailable.Wrap("ask", errors.New("away")))
	if m := p.Metrics(); m.Connections != 1 {
		t.Fatalf("got %+v, want one connection", m)
	}
	gone := errors.New("logged out")
	answer.Store(&gone)
	if err := <-ended; websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("got %v, want status 1008", err)
	}
	if err := <-p.ended; err == nil {
		t.Error("ServeWhile gave no error")
	}
}

// The server is killed and comes back: events go on, and everybody is told that some may be missing.
func TestRedisIsKilledAndComesBack(t *testing.T) {
	s := redistest.Start(t)
	a, b := start(t, s.Client(), nil).ready(t), start(t, s.Client(), nil).ready(t)
	atA, atB := a.join(t, "one"), b.join(t, "one")
	a.publish(t, "one", "metrics", 1)
	atA.want("metrics", "1")
	atB.want("metrics", "1")
	s.Kill()
	redistest.WaitFor(t, waitAtMost, func() bool { return a.Metrics().Lost == 1 && b.Metrics().Lost == 1 })
	if err := a.Publish(t.Context(), "one", "metrics", 2); !unavailable.Is(err) {
		t.Errorf("Redis killed: got %v, want an error of an outage", err)
	}
	atA.want("metrics", "2") // of its own process
	s.Restart()
	atA.want("resync", "")
	atB.want("resync", "")
	a.publish(t, "one", "metrics", 3)
	atA.want("metrics", "3")
	atB.want("metrics", "3")
	if m := b.Metrics(); m.Resubscribed != 1 || m.Connections != 1 {
		t.Errorf("got %+v", m)
	}
}

// The network swallows everything: the subscription is given up though no connection broke.
func TestASilentServerIsGivenUp(t *testing.T) {
	s := redistest.Shared(t)
	link := redistest.SlowLink(t, s.Addr())
	rdb := s.Client(withAddr(link.Addr()))
	p := start(t, rdb, nil, func(c *Config) { c.Silence = 300 * time.Millisecond }).ready(t)
	b := p.join(t, "one")
	link.Stall(redistest.ToClient)
	redistest.WaitFor(t, waitAtMost, func() bool { return p.Metrics().Lost == 1 })
	link.Resume(redistest.ToClient)
	b.want("resync", "")
	start(t, s.Client(), nil).publish(t, "one", "metrics", 1)
	b.want("metrics", "1")
}

// A hub that is made while Redis is away begins when that is there.
func TestRedisComesLater(t *testing.T) {
	s := redistest.Start(t)
	s.Kill()
	p := start(t, s.Client(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Ready(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	b := p.join(t, "one")
	s.Restart()
	p.ready(t)
	p.publish(t, "one", "metrics", 1)
	b.want("metrics", "1")
}

// Close tells every client, waits for every Serve, and may be called again.
func TestClose(t *testing.T) {
	p := start(t, redistest.Shared(t).Client(), echo).ready(t)
	const n = 10
	var browsers []*browser
	for i := range n {
		browsers = append(browsers, p.join(t, fmt.Sprint(i%3)))
	}
	var reading sync.WaitGroup
	for _, b := range browsers {
		reading.Go(func() {
			if status, _ := b.status(); status != websocket.StatusGoingAway {
				t.Errorf("got status %v, want %v", status, websocket.StatusGoingAway)
			}
		})
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	reading.Wait()
	for range n {
		if err := <-p.ended; err != nil {
			t.Errorf("Serve: got %v", err)
		}
	}
	if m := p.Metrics(); m.Connections != 0 || m.Sessions != 0 {
		t.Errorf("got %+v", m)
	}
	if _, response, err := p.dial(t, "one", nil); err == nil || response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after Close: got %+v, %v", response, err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := p.Ready(t.Context()); err != nil && !errors.Is(err, ErrClosed) {
		t.Errorf("Ready: got %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	for name, c := range map[string]Config{
		"no Redis":       {Environment: "test"},
		"no environment": {Redis: rdb},
		"environment":    {Redis: rdb, Environment: "a:b"},
		"queue":          {Redis: rdb, Environment: "test", Queue: -1},
		"ping":           {Redis: rdb, Environment: "test", Ping: time.Microsecond},
		"message":        {Redis: rdb, Environment: "test", MaxMessage: -1},
		"rate":           {Redis: rdb, Environment: "test", MessageRate: -1},
	} {
		if h, err := New(c); err == nil {
			t.Errorf("%s: not refused", name)
			_ = h.Close()
		}
	}
}
