package live

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

const waitAtMost = 30 * time.Second

// process is a hub behind an HTTP server: the session is the path.
type process struct {
	*Hub
	server *httptest.Server
	ended  chan error // what each Serve gave
	// may is asked for each connection; nil: nobody is.
	may atomic.Pointer[func(context.Context) error]
}

func start(t testing.TB, rdb redis.UniversalClient, onMessage func(context.Context, []byte) (any, error), changes ...func(*Config)) *process {
	t.Helper()
	c := Config{Redis: rdb, Environment: "test", Retry: 50 * time.Millisecond}
	for _, change := range changes {
		change(&c)
	}
	hub, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Hub: hub, ended: make(chan error, 1000)}
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session := strings.TrimPrefix(r.URL.Path, "/")
		if may := p.may.Load(); may != nil {
			p.ended <- hub.ServeWhile(w, r, session, *may, onMessage)
			return
		}
		p.ended <- hub.Serve(w, r, session, onMessage)
	}))
	t.Cleanup(func() {
		if err := hub.Close(); err != nil {
			t.Errorf("close the hub: %v", err)
		}
		p.server.Close()
	})
	return p
}

// ready waits until the process hears the others.
func (p *process) ready(t testing.TB) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitAtMost)
	defer cancel()
	if err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}

// browser is a client of a session.
type browser struct {
	t    testing.TB
	conn *websocket.Conn
}

func (p *process) dial(t testing.TB, session string, header http.Header) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitAtMost)
	defer cancel()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	conn, response, err := websocket.Dial(ctx, p.server.URL+"/"+session, &websocket.DialOptions{HTTPHeader: header, HTTPClient: &http.Client{Transport: transport}})
	if conn != nil {
		conn.SetReadLimit(1 << 20)
		t.Cleanup(func() { _ = conn.CloseNow() }) // the test may have closed it
	}
	return conn, response, err
}

func (p *process) join(t testing.TB, session string) *browser {
	t.Helper()
	conn, _, err := p.dial(t, session, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, conn}
}

type received struct {
	Kind    string          `json:"kind"`
	Payload json.RawMessage `json:"payload"`
}

// next reads one event.
func (b *browser) next() received {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), waitAtMost)
	defer cancel()
	_, data, err := b.conn.Read(ctx)
	if err != nil {
		b.t.Fatalf("read: %v", err)
	}
	var r received
	if err := json.Unmarshal(data, &r); err != nil {
		b.t.Fatalf("read %q: %v", data, err)
	}
	return r
}

// want reads one event and holds it against a kind and a payload.
func (b *browser) want(kind, payload string) {
	b.t.Helper()
	if got := b.next(); got.Kind != kind || string(got.Payload) != payload {
		b.t.Errorf("got %s %s, want %s %s", got.Kind, got.Payload, kind, payload)
	}
}

// status reads until the connection ends, and gives the status and how many events came before.
func (b *browser) status() (status websocket.StatusCode, events int) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), waitAtMost)
	defer cancel()
	for {
		_, _, err := b.conn.Read(ctx)
		if err != nil {
			return websocket.CloseStatus(err), events
		}
		events++
	}
}

func (b *browser) send(text string) {
	b.t.Helper()
	if err := b.conn.Write(b.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		b.t.Fatalf("write: %v", err)
	}
}

func (p *process) publish(t testing.TB, session, kind string, payload any) {
	t.Helper()
	if err := p.Publish(t.Context(), session, kind, payload); err != nil {
		t.Fatal(err)
	}
}

func withAddr(addr string) func(*redis.Options) {
	return func(o *redis.Options) { o.Addr, o.ContextTimeoutEnabled = addr, true }
}
