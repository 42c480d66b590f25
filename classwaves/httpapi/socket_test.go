package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// event is what a subscriber hears.
type event struct {
	Kind    string
	Payload json.RawMessage
}

// follow opens the WebSocket of a class session as a browser would.
func (b *browser) follow(id string) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	return websocket.Dial(ctx, strings.Replace(b.s.URL(), "http", "ws", 1)+"/api/v1/live/"+id, &websocket.DialOptions{HTTPClient: b.http})
}

func (b *browser) mustFollow(id string) *websocket.Conn {
	b.t.Helper()
	conn, res, err := b.follow(id)
	if err != nil {
		b.t.Fatalf("%v, %v", err, res)
	}
	b.t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

// hear reads until what was waited for comes.
func hear(t *testing.T, conn *websocket.Conn, what string, is func(event) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		var e event
		if err := json.Unmarshal(data, &e); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if is(e) {
			return
		}
	}
}

func metrics(t *testing.T, e event) (m struct {
	Participants, ReadyGroups, ActiveAlerts int
	AverageEngagement                       float64
}) {
	t.Helper()
	if err := json.Unmarshal(e.Payload, &m); err != nil {
		t.Fatalf("%s: %v", e.Payload, err)
	}
	return m
}

// TestALessonIsHeard: what students say and what happens to the class session reaches its teacher.
func TestALessonIsHeard(t *testing.T) {
	s := start(t)
	teacher, student := s.browser(t).login("ada"), s.browser(t)
	c := teacher.create("History", "Red", "Blue")
	listening := teacher.mustFollow(c.ID)
	student.want(http.StatusCreated, "POST", "/api/v1/join", map[string]string{"code": strings.ToLower(c.AccessCode), "name": "Kim", "group": c.Groups[1].ID})
	hear(t, listening, "a participant", func(e event) bool { return e.Kind == "metrics" && metrics(t, e).Participants == 1 })
	talking := student.mustFollow(c.ID)
	for _, say := range []struct {
		text, what string
		is         func(event) bool
	}{
		{`{"kind":"engagement","value":80}`, "engagement", func(e event) bool { return metrics(t, e).AverageEngagement == 80 }},
		{`{"kind":"ready","value":1}`, "a ready group", func(e event) bool { return metrics(t, e).ReadyGroups == 1 }},
		{`{"kind":"alert","value":1}`, "an alert", func(e event) bool { return metrics(t, e).ActiveAlerts == 1 }},
		{`{"kind":"alert","value":0}`, "its end", func(e event) bool { return metrics(t, e).ActiveAlerts == 0 }},
		{`{"kind":"leave"}`, "the leaving", func(e event) bool { return metrics(t, e).Participants == 0 }},
	} {
		if err := talking.Write(t.Context(), websocket.MessageText, []byte(say.text)); err != nil {
			t.Fatal(err)
		}
		hear(t, listening, say.what, func(e event) bool { return e.Kind == "metrics" && say.is(e) })
	}
	for _, wrong := range []string{`{"kind":"engagement","value":101}`, `{"kind":"grade","value":1}`, `no JSON`} {
		if err := talking.Write(t.Context(), websocket.MessageText, []byte(wrong)); err != nil {
			t.Fatal(err)
		}
		hear(t, talking, "a problem", func(e event) bool { return e.Kind == "error" })
	}
	teacher.want(http.StatusOK, "POST", "/api/v1/sessions/"+c.ID+"/end", nil)
	hear(t, listening, "the end", func(e event) bool { return e.Kind == "state" && strings.Contains(string(e.Payload), "ended") })
}

// TestSocketsAreNotForEverybody: neither strangers nor students of another class session, nor pages of
// another site.
func TestSocketsAreNotForEverybody(t *testing.T) {
	s := start(t)
	ada := s.browser(t).login("ada")
	c, other := ada.create("History"), ada.create("Maths")
	student := s.browser(t)
	student.want(http.StatusCreated, "POST", "/api/v1/join", map[string]string{"code": other.AccessCode, "name": "Kim"})
	for name, attempt := range map[string]struct {
		b      *browser
		id     string
		status int
	}{
		"nobody":            {s.browser(t), c.ID, http.StatusUnauthorized},
		"another teacher":   {s.browser(t).login("bob"), c.ID, http.StatusNotFound},
		"another's student": {student, c.ID, http.StatusUnauthorized},
		"no such session":   {ada, "NONE", http.StatusNotFound},
	} {
		_, res, err := attempt.b.follow(attempt.id)
		if err == nil || res == nil || res.StatusCode != attempt.status {
			t.Errorf("%s: got %v, %v, want %d", name, res, err, attempt.status)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, res, err := websocket.Dial(ctx, strings.Replace(s.URL(), "http", "ws", 1)+"/api/v1/live/"+c.ID, &websocket.DialOptions{
		HTTPClient: ada.http, HTTPHeader: http.Header{"Origin": {"https://evil.example.org"}},
	})
	if err == nil || res == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("from another site: got %v, %v, want 403", res, err)
	}
	forged := s.browser(t)
	_, res, err = websocket.Dial(ctx, strings.Replace(s.URL(), "http", "ws", 1)+"/api/v1/live/"+c.ID, &websocket.DialOptions{
		HTTPClient: forged.http, HTTPHeader: http.Header{"Cookie": {"cw_participant=eyJpZCI6IngifQ.AAAA"}},
	})
	if err == nil || res == nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("with a forged cookie: got %v, %v, want 401", res, err)
	}
}
