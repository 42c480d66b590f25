package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { exit(code) }))
}

// config is a quick load on a fake.
func config(f *fake) Config {
	return Config{
		URL: f.URL, Email: "load-%d@example.org", Password: fakePassword, Teachers: 3, Students: 2,
		Pause: 4 * time.Millisecond, Patience: 2 * time.Second, Settle: 200 * time.Millisecond,
		Probes: []Probe{
			{Limit: "join", Points: fakePoints, Window: time.Hour, Block: time.Hour, Users: 2, Over: 300 * time.Millisecond},
			{Limit: "auth", Points: fakePoints, Window: time.Hour, Block: time.Hour, Users: 1, Over: 300 * time.Millisecond},
		},
	}
}

// play runs a load until enough says so, or for too long.
func play(t *testing.T, c Config, enough func(*Report) bool) Report {
	t.Helper()
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d", g.Seed())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	watch := make(chan struct{})
	go func() {
		defer close(watch)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if r := g.Report(); enough(&r) {
					cancel()
				}
			}
		}
	}()
	r, err := g.Run(ctx)
	cancel()
	<-watch
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRightServer plays against a server that does nothing wrong: whatever it does, there is no violation,
// and everything is done.
func TestRightServer(t *testing.T) {
	f := newFake(t, "")
	r := play(t, config(f), func(r *Report) bool { return r.Ops > 4000 })
	if r.Violated() != 0 {
		t.Errorf("%d violations, want none: %+v", r.Violated(), r.Examples)
	}
	for _, op := range []string{
		"change wrongly", "create a class", "end a class", "forge", "join", "join by an old code", "list classes", "log in", "log in wrongly",
		"log out", "log out everywhere", "look at a class", "look at figures", "look at groups", "look at others' classes", "look at the dashboard",
		"open socket", "pause a class", "say alert", "say engagement", "say leave", "say participation", "say ready",
		"spend limit auth", "spend limit join", "start a class", "use an ended login", "who am I",
	} {
		if !slices.ContainsFunc(r.Operations, func(o Operation) bool { return o.Kind == op && o.Count > 0 && o.P50us > 0 && o.P99us >= o.P50us }) {
			t.Errorf("no operation %q in %+v", op, r.Operations)
		}
	}
	if r.Spent != 3 || r.Unavailable+r.Broken+r.Lagging+r.Reordered+r.Resyncs != 0 {
		t.Errorf("%+v, want 3 limits spent, and nothing else", r)
	}
}

// TestWrongServers plays against servers that do one thing wrong each, and finds out.
func TestWrongServers(t *testing.T) {
	for _, tt := range []struct {
		fault string
		want  Kind
	}{
		{"lose a login", LostSession},
		{"know a login late", LostSession},
		{"keep an ended login", RevivedSession},
		{"end a login late", RevivedSession},
		{"keep a displaced login", RevivedSession},
		{"keep a replaced login", RevivedSession},
		{"end one login for all", RevivedSession},
		{"refuse a login", FailedLogin},
		{"give no cookie", FailedLogin},
		{"take a wrong password", WrongLogin},
		{"take one for another", ForeignSession},
		{"refuse a token", CSRFRefused},
		{"want no token", CSRFAccepted},
		{"take any token", CSRFAccepted},
		{"lead elsewhere", WrongClass},
		{"give a code twice", WrongClass},
		{"seat in another group", WrongClass},
		{"mix up groups", WrongClass},
		{"lose a code", LostCode},
		{"keep a code", RevivedCode},
		{"list others' classes", ForeignSession},
		{"show others' classes", ForeignSession},
		{"show others' figures", ForeignSession},
		{"show others' groups", ForeignSession},
		{"change others' classes", ForeignSession},
		{"open others' sockets", ForeignSession},
		{"show others on the dashboard", ForeignSession},
		{"say others' figures", ForeignSession},
		{"keep an old list", Stale},
		{"keep an old class", Stale},
		{"lose a class", Stale},
		{"forget a change", Stale},
		{"show ended on the dashboard", Stale},
		{"give a budget twice", LimitExceeded},
		{"cut a budget", LimitCut},
		{"limit others", Limited},
		{"miscount logins", Miscounted},
		{"count nobody", Miscounted},
		{"count twice", Miscounted},
		{"let nobody go", Miscounted},
		{"forget an alert", Miscounted},
		{"forget a sample", Miscounted},
		{"sum up samples wrongly", Miscounted},
		{"forget who is ready", Miscounted},
		{"invent participants", Miscounted},
		{"sum up wrongly", Miscounted},
		{"keep the version", Miscounted},
		{"show old figures", WentBack},
		{"say old figures", WentBack},
		{"be silent", Unheard},
		{"tell one alone", Unheard},
		{"change a state in silence", Unheard},
		{"fail", Unexpected},
		{"answer oddly", Unexpected},
		{"refuse a message", Unexpected},
		{"hang up", Broken},
		{"end a socket", Broken},
		{"be unavailable", Unavailable},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel() // most of them wait most of the time
			f := newFake(t, tt.fault)
			r := play(t, config(f), func(r *Report) bool { return r.Violations[tt.want] > 0 })
			if r.Violations[tt.want] == 0 {
				t.Errorf("no %s, and the server did wrong %d times: %v", tt.want, f.calls, r.Violations)
			}
			if i := slices.IndexFunc(r.Examples, func(e Example) bool { return e.Kind == tt.want }); i >= 0 {
				t.Logf("%v; %s: %s", r.Violations, r.Examples[i].Kind, r.Examples[i].What)
			}
		})
	}
}

// TestFaults allows what stores that fail cause: 503, and answers that do not come although what was
// asked for was done. What is still wrong then is found.
func TestFaults(t *testing.T) {
	for _, fault := range []string{"be unavailable", "hang up", "end a socket", "know a login late", "end a login late"} {
		t.Run(fault, func(t *testing.T) {
			c := config(newFake(t, fault))
			c.Faults = true
			r := play(t, c, func(r *Report) bool { return r.Ops > 500 && r.Unavailable+r.Broken+r.Lagging > 0 })
			if r.Violated() != 0 || r.Unavailable+r.Broken+r.Lagging == 0 {
				t.Errorf("%d violations with %d 503, %d broken off, %d lagging; want none, and some: %+v", r.Violated(), r.Unavailable, r.Broken, r.Lagging, r.Examples)
			}
		})
	}
	for fault, want := range map[string]Kind{"lose a login": LostSession, "keep an ended login": RevivedSession, "keep a code": RevivedCode, "cut a budget": LimitCut, "take any token": CSRFAccepted} {
		t.Run(fault, func(t *testing.T) {
			c := config(newFake(t, fault))
			c.Faults = true
			if r := play(t, c, func(r *Report) bool { return r.Violations[want] > 0 }); r.Violations[want] == 0 {
				t.Errorf("no %s: %v", want, r.Violations)
			}
		})
	}
}

// TestNoAccount begins with a password that is wrong, which is no violation.
func TestNoAccount(t *testing.T) {
	c := config(newFake(t, ""))
	c.Password = "wrong"
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := g.Run(t.Context())
	if !errors.Is(err, ErrLogin) || r.Violated() != 0 {
		t.Errorf("got %v and %v, want ErrLogin and no violations", err, r.Violations)
	}
	if _, err := g.Run(t.Context()); err == nil {
		t.Error("a Generator could be used twice")
	}
}

// TestReportHoldsNoIdentifiers looks for what the users know in a report with many violations.
func TestReportHoldsNoIdentifiers(t *testing.T) {
	f := newFake(t, "hang up")
	r := play(t, config(f), func(r *Report) bool { return r.Violations[Broken] > 5 })
	var text bytes.Buffer
	if err := r.Print(&text); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	text.Write(data)
	for _, bad := range []string{"load-1", "cookie1", "token", "class1", "CODE", "tcp", strings.TrimPrefix(f.URL, "http://")} {
		if strings.Contains(text.String(), bad) {
			t.Errorf("the report holds %q:\n%s", bad, text.String())
		}
	}
	if !strings.Contains(text.String(), "broken") || r.Examples[0].At == "" {
		t.Errorf("the report does not show its violations:\n%s", text.String())
	}
}

// TestAddresses is that of the requests: one for each user, and another one of its network when many
// requests came from one.
func TestAddresses(t *testing.T) {
	seen := make(map[string]int)
	server := newFake(t, "")
	inner := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(r.RemoteAddr, ":")
		server.mu.Lock()
		seen[host]++
		server.mu.Unlock()
		inner.ServeHTTP(w, r)
	})
	g, err := New(config(server))
	if err != nil {
		t.Fatal(err)
	}
	one, other := g.newBrowser(), g.newBrowser()
	defer one.close()
	defer other.close()
	for range addressBudget + 1 {
		one.do(t.Context(), request{op: "x", method: http.MethodGet, path: "/api/v1/me"})
	}
	other.do(t.Context(), request{op: "x", method: http.MethodGet, path: "/api/v1/me"})
	server.mu.Lock()
	defer server.mu.Unlock()
	if len(seen) != 3 || seen[one.network.host(0).String()] != addressBudget || seen[one.network.host(1).String()] != 1 || seen[other.network.host(0).String()] != 1 {
		t.Errorf("requests came from %v", seen)
	}
}
