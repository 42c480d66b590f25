package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/classwaves/rekey/classwaves/analytics"
	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/live"
)

// socket is the WebSocket of a class session: its teacher, by login, and its participants, by the
// cookie of joining, hear what happens in it. Participants say something, teachers do not.
func (a *API) socket(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("session")
	ctx := r.Context()
	who, joined := a.participantOf(r)
	if !joined || who.Session != id {
		s, err := a.c.Sessions.Authenticate(ctx)
		if err != nil {
			return err
		}
		if _, err := a.own(r.WithContext(context.WithValue(ctx, loginKey{}, s))); err != nil {
			return err
		}
		loggedIn := func(ctx context.Context) error { return a.c.Sessions.Check(ctx, s) }
		return a.serve(w, r, id, loggedIn, func(context.Context, []byte) (any, error) {
			return nil, problem(invalid("teachers only listen here"))
		})
	}
	c, found, err := a.c.Database.ClassSession(ctx, id)
	if err != nil {
		return err
	}
	if !found || c.State == database.Ended {
		return errNotFound
	}
	return a.serve(w, r, id, nil, func(ctx context.Context, message []byte) (any, error) {
		if err := a.heard(ctx, who, message); err != nil {
			return nil, problem(err)
		}
		return nil, nil
	})
}

// serve takes the connection over. What cannot be taken over is answered there.
func (a *API) serve(w http.ResponseWriter, r *http.Request, id string, may func(context.Context) error, heard func(context.Context, []byte) (any, error)) error {
	if err := a.c.Live.ServeWhile(w, r, id, may, heard); err != nil {
		a.log.DebugContext(r.Context(), "WebSocket ended", "request_id", requestID(r.Context()), "error", err)
	}
	return nil
}

// problem is what a client hears when its message came to nothing; the connection goes on.
func problem(err error) error {
	if e, unexpected := asAPIError(err); !unexpected {
		return &live.Error{Code: e.code, Message: e.message}
	}
	return err
}

// message is what a participant says.
type message struct {
	Kind  string  `json:"kind"`  // engagement, participation, ready, alert, leave
	Value float64 `json:"value"` // a score of 0 to 100; for ready and alert 0 is no, anything else yes
}

// event is what a message means to analytics.
func (m message) event(who participant) (analytics.Event, bool) {
	e := analytics.Event{GroupID: who.Group}
	yes := m.Value != 0
	switch m.Kind {
	case "engagement":
		e.Kind, e.Score = analytics.Engagement, m.Value
	case "participation":
		e.Kind, e.Score = analytics.Participation, m.Value
	case "ready":
		e.Kind = analytics.GroupReady
		if !yes {
			e.Kind = analytics.GroupNotReady
		}
	case "alert":
		e.Kind = analytics.AlertRaised
		if !yes {
			e.Kind = analytics.AlertCleared
		}
	case "leave":
		e.Kind = analytics.ParticipantLeft
	default:
		return e, false
	}
	return e, true
}

// heard takes one message of a participant.
func (a *API) heard(ctx context.Context, who participant, raw []byte) error {
	var m message
	if err := json.Unmarshal(raw, &m); err != nil {
		return errBadRequest
	}
	e, known := m.event(who)
	if !known {
		return invalid("kind is engagement, participation, ready, alert or leave")
	}
	if _, err := a.c.Analytics.Apply(ctx, who.Session, e); err != nil {
		return err
	}
	if e.Kind == analytics.GroupReady || e.Kind == analytics.GroupNotReady {
		return a.c.Database.SetGroupReady(ctx, who.Group, e.Kind == analytics.GroupReady)
	}
	return nil
}
