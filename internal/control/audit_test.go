package control_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/control"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// stranger is a connection that is in nobody's record.
func (w *world) stranger(change func(*redis.Options)) *redis.Conn {
	w.t.Helper()
	conn := w.server.Client(func(o *redis.Options) {
		if change != nil {
			change(o)
		}
	}).Conn()
	w.t.Cleanup(func() { _ = conn.Close() }) // nothing is buffered
	if err := conn.Ping(w.t.Context()).Err(); err != nil {
		w.t.Fatal(err)
	}
	return conn
}

func (w *world) audit(o control.AuditOptions) control.AuditReport {
	w.t.Helper()
	report, err := control.Audit(w.t.Context(), w.store, w.plan, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

func named(name string) func(*redis.Options) { return func(o *redis.Options) { o.ClientName = name } }

func TestAudit(t *testing.T) {
	w := worldOn(t, redistest.Start(t), testPlan)
	a := w.join("a")
	a.connect()
	w.server.Replica()
	if r := w.audit(control.AuditOptions{}); !r.Clean || r.Fleet != 1 || r.Own == 0 {
		t.Errorf("got %+v, want a clean fleet with one connection", r)
	}
	w.do("ACL", "SETUSER", "exporter", "on", ">pw", "~*", "+@all")
	w.stranger(named("cron"))
	w.stranger(asUser("exporter", "pw"))
	r := w.audit(control.AuditOptions{})
	if r.Clean || r.Found != 2 || !slices.ContainsFunc(r.Strangers, func(s control.Stranger) bool { return s.Name == "cron" && s.Command == "ping" }) ||
		!slices.ContainsFunc(r.Strangers, func(s control.Stranger) bool { return s.User == "exporter" }) {
		t.Errorf("got %+v, want two strangers", r)
	}
	last, ok, err := control.LastAudit(t.Context(), w.store)
	if err != nil || !ok || last.Found != 2 || last.Clean {
		t.Errorf("the last audit: got %+v, %v, %v", last, ok, err)
	}
	if s := w.status(); s.Audit == nil || s.Audit.Found != 2 {
		t.Errorf("status: got audit %+v", s.Audit)
	}
	for _, allow := range [][]string{{"cron", "exporter"}, {"127.0.0.1"}, {"127.0.0.0/8"}, {r.Strangers[0].Addr, r.Strangers[1].Addr}} {
		var r control.AuditReport
		redistest.WaitFor(t, within, func() bool { // rekey's own connections have no name when they have just been opened
			r = w.audit(control.AuditOptions{Allow: allow})
			return r.Allowed == 2
		})
		if !r.Clean {
			t.Errorf("with %v allowed: got %+v", allow, r)
		}
	}
	if r := w.audit(control.AuditOptions{Allow: []string{"10.0.0.0/8", "cro", "127.0.0.2"}}); r.Found != 2 {
		t.Errorf("with others allowed: got %+v", r)
	}
}

// An adoption wants the instances of the fleet stopped too.
func TestWriters(t *testing.T) {
	w := worldOn(t, redistest.Start(t), testPlan+"audit: {allow: [cron, 10.0.0.0/8]}\n")
	w.join("a").connect()
	w.server.Replica()
	w.stranger(named("cron"))
	w.stranger(named("web"))
	redistest.WaitFor(t, within, func() bool { // rekey's own connections have no name when they have just been opened
		got, err := control.Writers(t.Context(), w.store, w.plan)
		if err != nil {
			t.Fatal(err)
		}
		return len(got) == 2 && slices.ContainsFunc(got, func(s control.Stranger) bool { return s.Name == "web" })
	})
}

// The plan's list counts too.
func TestAuditAllowedByThePlan(t *testing.T) {
	w := newWorld(t, testPlan+"audit: {allow: [cron]}\n")
	w.stranger(named("cron"))
	if r := w.audit(control.AuditOptions{}); !r.Clean || r.Allowed != 1 {
		t.Errorf("got %+v", r)
	}
}

// The audit belongs to the gate of dual, and of every step back.
func TestStrangersHoldTheStep(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	outside := w.stranger(named("cron"))
	c := w.open(w.options())
	mustBlock(t, blocked(t, c.Run(t.Context(), []string{"sessions"}, 0)), control.Strangers, "named cron", "--allow-stranger")
	if got := w.phase("sessions"); got != phase.Guard {
		t.Errorf("got %v, want guard", got)
	}
	mustBlock(t, blocked(t, c.Rollback(t.Context(), []string{"sessions"}, 0)), control.Strangers, "named cron")
	if err := outside.Close(); err != nil {
		t.Fatal(err)
	}
	w.closeOthers()
	if err := c.Run(t.Context(), []string{"sessions"}, phase.Dual); err != nil {
		t.Fatal(err)
	}
	for _, e := range w.log() {
		if e.To == "dual" && !strings.Contains(string(e.Evidence), `"clean":true`) {
			t.Errorf("the log does not say that the audit was clean: %s", e.Evidence)
		}
	}
}

// A client that opens a connection for each command is another one at each look, and a stranger all the same. It
// closes the one before when it has the next, so that no look is made while it has none.
func TestAClientThatComesAndGoesHoldsTheStep(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	ctx, stop := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			before := io.Closer(io.NopCloser(nil))
			for ctx.Err() == nil {
				client := redis.NewClient(&redis.Options{Addr: w.server.Addr(), ClientName: "cron"})
				client.Set(ctx, "session:1", 1, 0)
				_ = before.Close()                                   // nothing is buffered
				time.Sleep(time.Duration(20+5*i) * time.Millisecond) // it is what such a client does
				before = client
			}
			_ = before.Close() // nor here
		})
	}
	redistest.WaitFor(t, within, func() bool { return strings.Count(w.client.ClientList(t.Context()).Val(), "cmd=set ") >= 4 })
	c := w.open(w.options())
	err := c.Run(t.Context(), []string{"sessions"}, 0)
	report := w.audit(control.AuditOptions{})
	redistest.WaitFor(t, within, func() bool { // allowed by its name, which a connection does not have when it has just been opened
		return w.audit(control.AuditOptions{Allow: []string{"cron"}}).Clean
	})
	stop()
	clients.Wait()
	mustBlock(t, blocked(t, err), control.Strangers, "named cron", "--allow-stranger 127.0.0.1")
	if got := w.phase("sessions"); got != phase.Guard {
		t.Errorf("got %v, want guard", got)
	}
	if report.Clean || !slices.ContainsFunc(report.Strangers, func(s control.Stranger) bool { return s.Command == "set" }) {
		t.Errorf("got %+v, want one who sets keys", report)
	}
	if err := c.Run(t.Context(), []string{"sessions"}, phase.Dual); err != nil {
		t.Errorf("after the client has ended: %v", err)
	}
}

// closeOthers closes what is not rekey's own.
func (w *world) closeOthers() {
	w.t.Helper()
	r := w.audit(control.AuditOptions{})
	for _, s := range r.Strangers {
		w.do("CLIENT", "KILL", "ID", itoa(s.ID))
	}
}

// A connection that is admitted a moment after it was opened is nobody's stranger.
func TestAConnectionThatIsAboutToBeAdmitted(t *testing.T) {
	w := newWorld(t, testPlan)
	a := w.join("a")
	var moments moments
	moments.auditedWhile(w, 1, 20, func(ctx context.Context) {
		client, over := moments.begin(w)
		conn := client.Conn()
		id := conn.ClientID(ctx).Val()
		_, err := w.store.Admit(ctx, a.id, id, false)
		over()
		if err == nil { // the test ends it anywhere
			conn.Get(ctx, "session:1")
		}
		_ = client.Close()
	})
}

// Nor is one on which an instance closes another, which is never admitted.
func TestAConnectionThatClosesAnother(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	var moments moments
	moments.auditedWhile(w, 4, 8, func(ctx context.Context) {
		client, over := moments.begin(w)
		client.ClientKillByFilter(ctx, "ID", "1")
		client.ClientUnblock(ctx, 1)
		_ = client.Close() // nothing is buffered
		over()
	})
}

// moments are the times for which connections are outside, by the address that an audit tells of.
type moments struct {
	mu     sync.Mutex
	lasted map[string]func() time.Duration
}

// begin makes a client whose connection is outside until over is called.
func (m *moments) begin(w *world) (client *redis.Client, over func()) {
	var ended atomic.Pointer[time.Time]
	client = redis.NewClient(&redis.Options{Addr: w.server.Addr(), Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		began := time.Now()
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.lasted[conn.LocalAddr().String()] = func() time.Duration {
				if end := ended.Load(); end != nil {
					return end.Sub(began)
				}
				return time.Since(began)
			}
		}
		return conn, err
	}})
	return client, func() {
		now := time.Now()
		ended.Store(&now)
	}
}

// auditedWhile makes audits while clients come and go, and wants nobody told of. On a busy machine a moment may last: who was
// outside for as long as an audit looks is one of its strangers.
func (m *moments) auditedWhile(w *world, clients, audits int, comesAndGoes func(context.Context)) {
	w.t.Helper()
	m.lasted = make(map[string]func() time.Duration)
	ctx, stop := context.WithCancel(w.t.Context())
	var work sync.WaitGroup
	for range clients {
		work.Go(func() {
			for ctx.Err() == nil {
				comesAndGoes(ctx)
			}
		})
	}
	defer func() { stop(); work.Wait() }()
	clean := 0
	for range audits {
		r := w.audit(control.AuditOptions{})
		if r.Clean {
			clean++
		}
		m.mu.Lock()
		for _, s := range r.Strangers {
			if lasted := m.lasted[s.Addr]; lasted == nil || lasted() < control.LooksLast {
				w.t.Errorf("got %+v", s)
			}
		}
		m.mu.Unlock()
	}
	if clean == 0 {
		w.t.Errorf("no audit of %d was clean", audits)
	}
}

// Listening finds who uses legacy names, also one who is allowed to be there; not the fleet, nor rekey itself,
// nor names that are nobody's.
func TestMonitor(t *testing.T) {
	w := newWorld(t, testPlan)
	a := w.join("a")
	inside, outside, allowed, silent := a.connect(), w.stranger(named("cron")), w.stranger(named("exporter")), w.stranger(named("silent"))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			inside.Get(ctx, "session:1")
			outside.Set(ctx, "session:1", "session:2 \"\x00\n", 0)
			outside.MGet(ctx, "limit:1", "else:1")
			allowed.Get(ctx, "session:1")
			silent.Set(ctx, "else", "session:1", 0)
		}
	}()
	type seen struct {
		name, rule, command string
		allowed             bool
	}
	var r control.AuditReport
	var got []seen
	redistest.WaitFor(t, within, func() bool { // they may not come to all of their commands while they are listened to
		r, got = w.audit(control.AuditOptions{Monitor: 200 * time.Millisecond, Allow: []string{"exporter"}}), nil
		for _, u := range r.Uses {
			if u.Times == 0 {
				t.Errorf("%+v was seen no times", u)
			}
			got = append(got, seen{u.Name, u.Rule, u.Command, u.Allowed})
		}
		return len(got) >= 3
	})
	stop()
	<-done
	for _, want := range []seen{{"cron", "sessions", "set", false}, {"cron", "limits", "mget", false}, {"exporter", "sessions", "get", true}} {
		if !slices.Contains(got, want) {
			t.Errorf("got %+v, want %+v in it", got, want)
		}
	}
	if len(got) != 3 || r.Clean {
		t.Errorf("got %+v, clean %v, want three uses", got, r.Clean)
	}
}

// One who came and went while it was listened to is told of by his address.
func TestMonitorOfOneWhoIsGone(t *testing.T) {
	w := newWorld(t, testPlan)
	w.join("a")
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			client := redis.NewClient(&redis.Options{Addr: w.server.Addr()})
			client.Get(ctx, "session:1")
			_ = client.Close() // that is what the test is about
		}
	}()
	var r control.AuditReport
	redistest.WaitFor(t, within, func() bool { // he may not come while he is listened to
		r = w.audit(control.AuditOptions{Monitor: 200 * time.Millisecond})
		return len(r.Uses) > 0
	})
	stop()
	<-done
	if r.Clean {
		t.Errorf("got %+v, want uses of one who is gone", r)
	}
}

// Listening ends with its context.
func TestMonitorIsInterrupted(t *testing.T) {
	w := newWorld(t, testPlan)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := control.Audit(ctx, w.store, w.plan, control.AuditOptions{Monitor: time.Hour})
		ended <- err
	}()
	redistest.WaitFor(t, within, func() bool { return strings.Contains(w.client.ClientList(t.Context()).Val(), "cmd=monitor") })
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was interrupted", err)
	}
}

func TestAuditWithoutRights(t *testing.T) {
	w := worldOn(t, redistest.Start(t), testPlan)
	w.do("ACL", "SETUSER", "blind", "on", ">pw", "~*", "&*", "+@all", "-client|list")
	w.do("ACL", "SETUSER", "deaf", "on", ">pw", "~*", "&*", "+@all", "-monitor")
	for user, right := range map[string]string{"blind": "+client|list", "deaf": "+monitor"} {
		store := fleet.NewStore(w.plan, w.server.Client(asUser(user, "pw")))
		_, err := control.Audit(t.Context(), store, w.plan, control.AuditOptions{Monitor: time.Second, Allow: []string{"127.0.0.1"}})
		wantWords(t, err, right)
	}
}

// What an instance sends on a connection before it is admitted, and on one to close another, uses no keys.
func TestUsesKeys(t *testing.T) {
	for _, name := range []string{"", "NULL", "hello", "auth", "select", "client", "client|id", "client|setinfo", "client|kill", "client|unblock", "info", "multi", "exec", "command|info"} {
		if control.UsesKeys(name) {
			t.Errorf("%q uses keys", name)
		}
	}
	for _, name := range []string{"get", "set", "del", "mget", "blpop", "evalsha", "fcall", "xgroup|create", "module.command"} {
		if !control.UsesKeys(name) {
			t.Errorf("%q uses no keys", name)
		}
	}
}

func TestUnquote(t *testing.T) {
	for line, want := range map[string][]string{
		`"GET" "a"`:           {"GET", "a"},
		`"SET" "a b" ""`:      {"SET", "a b", ""},
		`"a\"b\\" "\x00\n\r"`: {"a\"b\\", "\x00\n\r"},
		`"cut of`:             {"cut of"},
		``:                    nil,
	} {
		var got []string
		for _, w := range control.Unquote(line) {
			got = append(got, string(w))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}
