package load

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// fake is a ClassWaves server in memory, which does one thing wrong.
type fake struct {
	*httptest.Server
	mu      sync.Mutex
	fault   string // what it does wrong; empty: nothing
	calls   int    // of the fault's place
	serial  int
	logins  map[string]*fakeLogin // by cookie
	order   map[string][]string   // cookies by teacher, the oldest first
	classes map[string]*fakeClass
	codes   map[string]string
	spent   map[string]int // hits of a limit by address
	sockets map[*websocket.Conn]struct{}
	older   map[string][]byte // what was read first, for a server that keeps it
}

type fakeLogin struct {
	teacher, token string
	at             time.Time
}

type fakeClass struct {
	id, teacher, title, state, code string
	groups                          []group
	joined                          int
	ready                           map[string]bool
	figures                         figures
	engagement, participation       float64 // sums
	history                         []figures
	listeners                       map[chan []byte]struct{}
}

const (
	fakePassword = "right"
	fakePoints   = 8
	fakeMax      = 3
)

func newFake(t *testing.T, fault string) *fake {
	t.Helper()
	f := &fake{
		fault: fault, logins: map[string]*fakeLogin{}, order: map[string][]string{}, classes: map[string]*fakeClass{},
		codes: map[string]string{}, spent: map[string]int{}, sockets: map[*websocket.Conn]struct{}{}, older: map[string][]byte{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/login", f.login)
	mux.HandleFunc("POST /api/v1/logout", f.teacher(f.logout))
	mux.HandleFunc("POST /api/v1/logout-everywhere", f.teacher(f.logoutEverywhere))
	mux.HandleFunc("GET /api/v1/me", f.teacher(f.me))
	mux.HandleFunc("POST /api/v1/sessions", f.teacher(f.create))
	mux.HandleFunc("GET /api/v1/sessions", f.teacher(f.list))
	mux.HandleFunc("GET /api/v1/sessions/{id}", f.teacher(f.detail))
	mux.HandleFunc("GET /api/v1/sessions/{id}/analytics", f.teacher(f.analytics))
	mux.HandleFunc("GET /api/v1/sessions/{id}/groups", f.teacher(f.groupStatus))
	mux.HandleFunc("POST /api/v1/sessions/{id}/{how}", f.teacher(f.change))
	mux.HandleFunc("GET /api/v1/dashboard", f.teacher(f.dashboard))
	mux.HandleFunc("POST /api/v1/join", f.join)
	mux.HandleFunc("GET /api/v1/live/{id}", f.live)
	f.Server = httptest.NewServer(f.around(mux))
	t.Cleanup(f.close)
	return f
}

func (f *fake) close() {
	f.mu.Lock()
	for c := range f.sockets {
		_ = c.CloseNow()
	}
	f.mu.Unlock()
	f.Server.CloseClientConnections()
	f.Server.Close()
}

// does says whether the server does this wrong, at each nth time that it could. It is called with the
// lock held.
func (f *fake) does(fault string, nth int) bool {
	if f.fault != fault {
		return false
	}
	f.calls++
	return f.calls%nth == 0
}

func (f *fake) name(what string) string {
	f.serial++
	return fmt.Sprintf("%s%d", what, f.serial)
}

// around is what goes wrong with any request.
func (f *fake) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		var before, after func()
		socket := strings.Contains(r.URL.Path, "/live/")
		switch {
		case f.does("limit others", 50):
			before = func() { fail(w, http.StatusTooManyRequests, "TOO_MANY_REQUESTS") }
		case f.does("be unavailable", 20):
			before = func() { fail(w, http.StatusServiceUnavailable, "UNAVAILABLE") }
		case f.does("fail", 50):
			before = func() { fail(w, http.StatusInternalServerError, "INTERNAL") }
		case f.does("answer oddly", 50):
			before = func() { http.Error(w, "not found", http.StatusNotFound) }
		case !socket && f.does("hang up", 40):
			after = func() { panic(http.ErrAbortHandler) }
		}
		f.mu.Unlock()
		switch {
		case before != nil:
			before()
		case after != nil:
			next.ServeHTTP(httptest.NewRecorder(), r) // it is done, and nobody hears of it
			after()
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func fail(w http.ResponseWriter, status int, code string) {
	answerWith(w, status, map[string]any{"error": map[string]string{"code": code, "message": "no", "requestId": "r"}})
}

func answerWith(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

func cookieOf(r *http.Request, name string) string {
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// teacher authenticates, checks the token, and holds the lock for the handler.
func (f *fake) teacher(next func(w http.ResponseWriter, r *http.Request, cookie string, l *fakeLogin)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		cookie := cookieOf(r, loginCookie)
		l := f.logins[cookie]
		if l == nil || f.does("lose a login", 30) || time.Since(l.at) < 100*time.Millisecond && f.does("know a login late", 2) {
			fail(w, http.StatusUnauthorized, "UNAUTHENTICATED")
			return
		}
		if r.Method == http.MethodPost {
			token := r.Header.Get("X-CSRF-Token")
			switch {
			case token == "" && !f.does("want no token", 1):
				fail(w, http.StatusForbidden, "CSRF_TOKEN_MISSING")
				return
			case token != "" && token != l.token && !f.does("take any token", 1), f.does("refuse a token", 10):
				fail(w, http.StatusForbidden, "CSRF_TOKEN_INVALID")
				return
			}
		}
		next(w, r, cookie, l)
	}
}

func (f *fake) login(w http.ResponseWriter, r *http.Request) {
	var in struct{ Email, Password string }
	_ = json.NewDecoder(r.Body).Decode(&in) // what is missing is refused
	f.mu.Lock()
	defer f.mu.Unlock()
	right := in.Password == fakePassword && strings.HasPrefix(in.Email, "load-")
	if f.limited(w, r, "auth") {
		return
	}
	if f.does("take a wrong password", 1) {
		right = strings.HasPrefix(in.Email, "load-")
	}
	if !right || f.does("refuse a login", 6) {
		fail(w, http.StatusUnauthorized, "INVALID_CREDENTIALS")
		return
	}
	teacher := in.Email
	cookie := f.name("cookie")
	l := &fakeLogin{teacher: teacher, token: f.name("token"), at: time.Now()}
	f.logins[cookie] = l
	f.order[teacher] = append(f.order[teacher], cookie)
	if n := len(f.order[teacher]); n > fakeMax {
		if !f.does("keep a displaced login", 1) {
			delete(f.logins, f.order[teacher][0])
		}
		f.order[teacher] = f.order[teacher][1:]
	}
	if old := cookieOf(r, loginCookie); f.logins[old] != nil && f.logins[old].teacher == teacher && !f.does("keep a replaced login", 1) {
		f.end(old)
	}
	if !f.does("give no cookie", 6) {
		http.SetCookie(w, &http.Cookie{Name: loginCookie, Value: cookie, Path: "/"})
	}
	answerWith(w, http.StatusOK, f.who(l))
}

func (f *fake) who(l *fakeLogin) any {
	return map[string]any{"teacher": map[string]string{"id": l.teacher, "name": "T", "email": l.teacher}, "csrfToken": l.token}
}

// end ends a login.
func (f *fake) end(cookie string) {
	l := f.logins[cookie]
	delete(f.logins, cookie)
	f.order[l.teacher] = slices.DeleteFunc(f.order[l.teacher], func(c string) bool { return c == cookie })
}

func (f *fake) me(w http.ResponseWriter, _ *http.Request, _ string, l *fakeLogin) {
	if f.does("take one for another", 10) {
		l = &fakeLogin{"load-0@example.org", l.token, l.at}
	}
	answerWith(w, http.StatusOK, f.who(l))
}

func (f *fake) logout(w http.ResponseWriter, _ *http.Request, cookie string, l *fakeLogin) {
	f.end(cookie)
	switch {
	case f.does("keep an ended login", 1):
		f.logins[cookie] = l
	case f.does("end a login late", 1):
		f.logins[cookie] = l
		time.AfterFunc(50*time.Millisecond, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.logins, cookie)
		})
	}
	w.WriteHeader(http.StatusNoContent)
}

func (f *fake) logoutEverywhere(w http.ResponseWriter, _ *http.Request, cookie string, l *fakeLogin) {
	cookies := slices.Clone(f.order[l.teacher])
	n := len(cookies)
	for _, c := range cookies {
		if other := f.logins[c]; other != nil {
			f.end(c)
			if c != cookie && f.does("end one login for all", 1) {
				f.logins[c] = other
			}
		}
	}
	if f.does("miscount logins", 1) {
		n++
	}
	answerWith(w, http.StatusOK, map[string]int{"sessions": n})
}

// limited counts a hit of an address.
func (f *fake) limited(w http.ResponseWriter, r *http.Request, limit string) bool {
	host, _, _ := net.SplitHostPort(r.RemoteAddr) // always one
	key := limit + host
	n := 1
	if f.does("cut a budget", 3) {
		n = 2
	}
	f.spent[key] += n
	if f.spent[key] > fakePoints && f.does("give a budget twice", 4) {
		f.spent[key] = 1
	}
	if f.spent[key] > fakePoints {
		fail(w, http.StatusTooManyRequests, "TOO_MANY_REQUESTS")
		return true
	}
	return false
}

func (f *fake) body(c *fakeClass) classBody {
	b := classBody{ID: c.id, Title: c.title, State: c.state, AccessCode: c.code, TeacherID: c.teacher, Groups: c.groups}
	if c.state == ended {
		b.AccessCode = ""
	}
	return b
}

func (f *fake) create(w http.ResponseWriter, r *http.Request, _ string, l *fakeLogin) {
	var in newClass
	_ = json.NewDecoder(r.Body).Decode(&in) // what is missing is empty
	c := &fakeClass{id: f.name("class"), teacher: l.teacher, title: in.Title, state: created, code: f.name("CODE"),
		ready: map[string]bool{}, listeners: map[chan []byte]struct{}{}}
	if f.does("give a code twice", 1) {
		c.code = "SAME"
	}
	for _, g := range in.Groups {
		c.groups = append(c.groups, group{f.name("group"), g})
	}
	c.figures.SessionID = c.id
	f.classes[c.id] = c
	f.codes[c.code] = c.id
	answerWith(w, http.StatusCreated, f.body(c))
}

// old gives what was answered first, where the server keeps that.
func (f *fake) old(fault, key string, now any) any {
	data, err := json.Marshal(now)
	if err != nil {
		panic(err) // its types are all plain
	}
	if f.older[key] == nil {
		f.older[key] = data
	}
	if f.does(fault, 1) {
		return json.RawMessage(f.older[key])
	}
	return now
}

func (f *fake) list(w http.ResponseWriter, _ *http.Request, _ string, l *fakeLogin) {
	out := []classBody{}
	foreign := f.does("list others' classes", 3)
	for _, c := range f.classes {
		if c.teacher == l.teacher || foreign {
			out = append(out, f.body(c))
		}
	}
	answerWith(w, http.StatusOK, f.old("keep an old list", "list"+l.teacher, map[string]any{"sessions": out}))
}

// own finds the class of a request; nil after it has answered.
func (f *fake) own(w http.ResponseWriter, r *http.Request, l *fakeLogin, fault string) *fakeClass {
	c := f.classes[r.PathValue("id")]
	if c == nil || c.teacher != l.teacher && !f.does(fault, 1) || f.does("lose a class", 20) {
		fail(w, http.StatusNotFound, "NOT_FOUND")
		return nil
	}
	return c
}

func (f *fake) detail(w http.ResponseWriter, r *http.Request, _ string, l *fakeLogin) {
	if c := f.own(w, r, l, "show others' classes"); c != nil {
		answerWith(w, http.StatusOK, f.old("keep an old class", "class"+c.id, f.body(c)))
	}
}

func (f *fake) change(w http.ResponseWriter, r *http.Request, _ string, l *fakeLogin) {
	c := f.own(w, r, l, "change others' classes")
	if c == nil {
		return
	}
	how := r.PathValue("how")
	to := map[string]string{"start": active, "pause": paused, "end": ended}[how]
	ok := map[string][]string{active: {created, paused}, paused: {active}, ended: {created, active, paused}}[to]
	if !slices.Contains(ok, c.state) {
		fail(w, http.StatusConflict, "CONFLICT")
		return
	}
	before := c.state
	c.state = to
	if to == ended {
		if !f.does("keep a code", 1) {
			delete(f.codes, c.code)
		}
		c.figures.Version++
	}
	if !f.does("change a state in silence", 1) {
		c.publish("state", map[string]string{"state": to})
	}
	answerWith(w, http.StatusOK, f.body(c))
	if how == "pause" && f.does("forget a change", 1) {
		c.state = before
	}
}

func (f *fake) analytics(w http.ResponseWriter, r *http.Request, _ string, l *fakeLogin) {
	c := f.own(w, r, l, "show others' figures")
	if c == nil {
		return
	}
	out := c.figures
	if n := len(c.history); n > 2 && f.does("show old figures", 3) {
		out = c.history[n-2]
	}
	answerWith(w, http.StatusOK, out)
}

func (f *fake) groupStatus(w http.ResponseWriter, r *http.Request, _ string, l *fakeLogin) {
	c := f.own(w, r, l, "show others' groups")
	if c == nil {
		return
	}
	type status struct {
		group
		Participants int `json:"participants"`
	}
	out := []status{}
	for i, g := range c.groups {
		s := status{group: g}
		if i == 0 {
			s.Participants = c.joined
		}
		out = append(out, s)
	}
	if f.does("mix up groups", 1) {
		out[0].ID = "other"
	}
	if f.does("invent participants", 1) {
		out[0].Participants = 1000
	}
	answerWith(w, http.StatusOK, map[string]any{"groups": out})
}

func (f *fake) dashboard(w http.ResponseWriter, _ *http.Request, _ string, l *fakeLogin) {
	sessions := []figures{}
	var participants int64
	foreign, over := f.does("show others on the dashboard", 1), f.does("show ended on the dashboard", 1)
	for _, id := range slices.Sorted(maps.Keys(f.classes)) {
		c := f.classes[id]
		if (c.teacher == l.teacher || foreign) && (c.state == active || c.state == paused || c.state == ended && over) {
			sessions = append(sessions, c.figures)
			participants += c.figures.Participants
		}
	}
	if f.does("sum up wrongly", 1) {
		participants++
	}
	answerWith(w, http.StatusOK, map[string]any{"liveSessions": len(sessions), "participants": participants, "sessions": sessions})
}

func (f *fake) join(w http.ResponseWriter, r *http.Request) {
	var in struct{ Code, Name, Group string }
	_ = json.NewDecoder(r.Body).Decode(&in) // what is missing leads nowhere
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.limited(w, r, "join") {
		return
	}
	c := f.classes[f.codes[in.Code]]
	if c == nil || f.does("lose a code", 10) {
		fail(w, http.StatusNotFound, "NOT_FOUND")
		return
	}
	if f.does("lead elsewhere", 5) {
		for _, other := range f.classes {
			if other != c {
				c = other
				in.Group = ""
				break
			}
		}
	}
	g := in.Group
	if g == "" {
		g = c.groups[0].ID
	}
	c.joined++
	switch {
	case f.does("count nobody", 10):
	case f.does("count twice", 10):
		c.figures.Participants += 2
	default:
		c.figures.Participants++
	}
	f.changed(c, nil)
	if f.does("seat in another group", 5) {
		g = "other"
	}
	http.SetCookie(w, &http.Cookie{Name: seatCookie, Value: c.id + "." + g, Path: "/"})
	answerWith(w, http.StatusCreated, map[string]any{"sessionId": c.id, "groupId": g, "title": c.title})
}

// changed publishes figures; alone is who has changed them, nil if that is nobody who listens.
func (f *fake) changed(c *fakeClass, alone chan []byte) {
	if !f.does("keep the version", 5) {
		c.figures.Version++
	}
	c.figures.ReadyGroups = 0
	for _, yes := range c.ready {
		if yes {
			c.figures.ReadyGroups++
		}
	}
	c.history = append(c.history, c.figures)
	out := c.figures
	if f.does("say old figures", 3) {
		out = c.history[0]
	}
	if f.does("say others' figures", 20) {
		out.SessionID = "other"
	}
	switch {
	case f.does("be silent", 1):
	case f.does("tell one alone", 1) && alone != nil:
		all := c.listeners
		c.listeners = map[chan []byte]struct{}{alone: {}}
		c.publish("metrics", out)
		c.listeners = all
	default:
		c.publish("metrics", out)
	}
}

func (c *fakeClass) publish(kind string, payload any) {
	data, err := json.Marshal(map[string]any{"kind": kind, "payload": payload})
	if err != nil {
		panic(err) // its types are all plain
	}
	for l := range c.listeners {
		l <- data // deep enough for any test
	}
}

func (f *fake) live(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	c := f.classes[r.PathValue("id")]
	seat, g, _ := strings.Cut(cookieOf(r, seatCookie), ".")
	l := f.logins[cookieOf(r, loginCookie)]
	student := c != nil && seat == c.id
	var refuse func()
	switch {
	case c == nil || student && c.state == ended:
		refuse = func() { fail(w, http.StatusNotFound, "NOT_FOUND") }
	case student:
	case l == nil:
		refuse = func() { fail(w, http.StatusUnauthorized, "UNAUTHENTICATED") }
	case l.teacher != c.teacher && !f.does("open others' sockets", 1):
		refuse = func() { fail(w, http.StatusNotFound, "NOT_FOUND") }
	}
	f.mu.Unlock()
	if refuse != nil {
		refuse()
		return
	}
	out := make(chan []byte, 1<<14)
	f.mu.Lock()
	c.listeners[out] = struct{}{} // before the client knows that it listens
	f.mu.Unlock()
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	f.mu.Lock()
	f.sockets[conn] = struct{}{}
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	writing.Go(func() {
		for {
			select {
			case data := <-out:
				if conn.Write(ctx, websocket.MessageText, data) != nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	for {
		_, data, err := conn.Read(ctx)
		if err != nil || !f.hear(c, g, data, out) {
			break
		}
	}
	f.mu.Lock()
	delete(f.sockets, conn)
	delete(c.listeners, out)
	f.mu.Unlock()
	cancel()
	writing.Wait()
	_ = conn.CloseNow() // it is over
}

// hear takes a message; false to end the connection.
func (f *fake) hear(c *fakeClass, g string, data []byte, out chan []byte) bool {
	var m message
	_ = json.Unmarshal(data, &m) // then of no kind that there is
	f.mu.Lock()
	defer f.mu.Unlock()
	say := func(text string) {
		out <- []byte(`{"kind":"reply","payload":{"kind":"problem","message":"` + text + `"}}`)
	}
	if m.Kind == "fence" {
		say("there is no such kind")
		return true
	}
	switch {
	case c.state == ended:
		say("it has ended")
		return true
	case f.does("refuse a message", 20):
		say("not now")
		return true
	case f.does("end a socket", 30):
		return false
	}
	fig := &c.figures
	switch m.Kind {
	case "engagement":
		if !f.does("forget a sample", 10) {
			fig.EngagementSamples++
		}
		c.engagement += m.Value
		if f.does("sum up samples wrongly", 10) {
			c.engagement++
		}
		fig.AverageEngagement = c.engagement / float64(max(fig.EngagementSamples, 1))
	case "participation":
		fig.ParticipationSamples++
		c.participation += m.Value
		fig.AverageParticipation = c.participation / float64(fig.ParticipationSamples)
	case "ready":
		if !f.does("forget who is ready", 1) {
			c.ready[g] = m.Value != 0
		}
	case "alert":
		if m.Value == 0 {
			fig.ActiveAlerts--
		} else if !f.does("forget an alert", 5) {
			fig.ActiveAlerts++
		}
	case "leave":
		if !f.does("let nobody go", 3) {
			fig.Participants--
		}
	}
	f.changed(c, out)
	return true
}
