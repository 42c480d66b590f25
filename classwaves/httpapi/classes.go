package httpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/classwaves/rekey/classwaves/accesscode"
	"github.com/classwaves/rekey/classwaves/database"
	"github.com/classwaves/rekey/classwaves/querycache"
)

// classBody is a class session as the API shows one.
type classBody struct {
	ID         string         `json:"id"`
	Title      string         `json:"title"`
	State      database.State `json:"state"`
	AccessCode string         `json:"accessCode,omitempty"`
	CreatedAt  time.Time      `json:"createdAt"`
	StartedAt  *time.Time     `json:"startedAt,omitempty"`
	PausedAt   *time.Time     `json:"pausedAt,omitempty"`
	EndedAt    *time.Time     `json:"endedAt,omitempty"`
	Groups     []groupBody    `json:"groups,omitempty"`
	// TeacherID says whose it is. It is in the cached entry, and checked at each use of it.
	TeacherID string `json:"teacherId"`
}

type groupBody struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func newClassBody(c database.ClassSession) classBody {
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	return classBody{
		ID: c.ID, Title: c.Title, State: c.State, TeacherID: c.TeacherID,
		CreatedAt: c.CreatedAt, StartedAt: at(c.StartedAt), PausedAt: at(c.PausedAt), EndedAt: at(c.EndedAt),
	}
}

// What the cached results of a class session and of a teacher are invalidated by.
func tagOfSession(id string) string { return "class:" + id }
func tagOfTeacher(id string) string { return "teacher:" + id }

// detailEntry is the cached result of a class session's detail.
func detailEntry(id string) querycache.Entry {
	return querycache.Entry{Type: querycache.SessionDetail, Key: id, Tags: []string{tagOfSession(id)}}
}

// listEntry is the cached page of a teacher's class sessions that begins after the one named before.
func listEntry(teacher, before string) querycache.Entry {
	return querycache.Entry{Type: querycache.SessionList, Key: teacher + "/" + before, Tags: []string{tagOfTeacher(teacher)}}
}

// maxGroups bounds what one class session can hold.
const maxGroups = 50

func (a *API) createSession(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Title  string   `json:"title"`
		Groups []string `json:"groups"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	title, err := text("title", in.Title, 200)
	if err != nil {
		return err
	}
	if len(in.Groups) > maxGroups {
		return invalid("at most " + strconv.Itoa(maxGroups) + " groups")
	}
	if len(in.Groups) == 0 {
		in.Groups = []string{"All"}
	}
	ctx, teacher := r.Context(), loginOf(r).TeacherID
	c := database.ClassSession{ID: rand.Text(), TeacherID: teacher, Title: title, State: database.Created, CreatedAt: a.c.Now().UTC()}
	groups := make([]database.Group, len(in.Groups))
	for i, name := range in.Groups {
		if name, err = text("the name of a group", name, 100); err != nil {
			return err
		}
		if slices.ContainsFunc(groups[:i], func(g database.Group) bool { return g.Name == name }) {
			return invalid("two groups have one name")
		}
		groups[i] = database.Group{ID: rand.Text(), SessionID: c.ID, Name: name}
	}
	// What is stored now is to be told, also when the client hangs up or the request's time is over meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.c.Limits.Time)
	defer cancel()
	err = a.c.Database.CreateClassSession(ctx, c, groups...)
	a.invalidate(ctx, c.ID, teacher) // after an error too: only the answer may have been lost
	if err != nil {
		return err
	}
	code, err := a.c.Codes.Create(ctx, c.ID)
	if err != nil {
		return err
	}
	body := newClassBody(c)
	body.AccessCode = code
	for _, g := range groups {
		body.Groups = append(body.Groups, groupBody{g.ID, g.Name})
	}
	w.Header().Set("Location", "/api/v1/sessions/"+c.ID)
	write(w, http.StatusCreated, body)
	return nil
}

// pageSize is how many class sessions a list shows at once.
const pageSize = 50

func (a *API) listSessions(w http.ResponseWriter, r *http.Request) error {
	type list struct {
		Sessions []classBody `json:"sessions"`
		Next     string      `json:"next,omitempty"` // ?before= of the next page
	}
	teacher, before := loginOf(r).TeacherID, r.URL.Query().Get("before")
	out, err := querycache.Load(r.Context(), a.c.Queries, listEntry(teacher, before), func(ctx context.Context) (list, error) {
		sessions, err := a.c.Database.ClassSessions(ctx, teacher, pageSize, before)
		if err != nil {
			return list{}, err
		}
		out := list{Sessions: []classBody{}}
		for _, s := range sessions {
			out.Sessions = append(out.Sessions, newClassBody(s))
		}
		if len(sessions) == pageSize {
			out.Next = sessions[pageSize-1].ID
		}
		return out, nil
	})
	if err != nil {
		return err
	}
	write(w, http.StatusOK, out)
	return nil
}

// own gives the class session of the request's path, if it is the teacher's who asks. Whose it is not
// hears that there is none.
func (a *API) own(r *http.Request) (classBody, error) {
	id := r.PathValue("session")
	body, err := querycache.Load(r.Context(), a.c.Queries, detailEntry(id), func(ctx context.Context) (classBody, error) {
		return a.stored(ctx, id)
	})
	if err != nil {
		return classBody{}, err
	}
	if body.ID != id || body.TeacherID != loginOf(r).TeacherID {
		return classBody{}, errNotFound
	}
	return body, nil
}

// stored is a class session as the database has it.
func (a *API) stored(ctx context.Context, id string) (classBody, error) {
	c, found, err := a.c.Database.ClassSession(ctx, id)
	if err != nil {
		return classBody{}, err
	}
	if !found {
		return classBody{}, errNotFound
	}
	groups, err := a.c.Database.Groups(ctx, id)
	if err != nil {
		return classBody{}, err
	}
	body := newClassBody(c)
	for _, g := range groups {
		body.Groups = append(body.Groups, groupBody{g.ID, g.Name})
	}
	return body, nil
}

func (a *API) sessionDetail(w http.ResponseWriter, r *http.Request) error {
	body, err := a.own(r)
	if err != nil {
		return err
	}
	if body, err = a.withCode(r.Context(), body); err != nil {
		return err
	}
	write(w, http.StatusOK, body)
	return nil
}

// withCode adds the access code of a class session that goes on. One that has ended since its entry was
// cached gets none, and is given as the database has it: whoever ended it has not told the cache yet.
func (a *API) withCode(ctx context.Context, body classBody) (classBody, error) {
	if body.State == database.Ended {
		return body, nil
	}
	code, err := a.c.Codes.Create(ctx, body.ID)
	if !errors.Is(err, database.ErrReference) && !errors.Is(err, accesscode.ErrReleased) {
		body.AccessCode = code
		return body, err
	}
	now, err := a.stored(ctx, body.ID)
	if err == nil && now.State != database.Ended {
		err = errUnavailable // its code was released, and its end is about to be stored
	}
	return now, err
}

func (a *API) startSession(w http.ResponseWriter, r *http.Request) error {
	return a.change(w, r, database.Active, database.Created, database.Paused)
}

func (a *API) pauseSession(w http.ResponseWriter, r *http.Request) error {
	return a.change(w, r, database.Paused, database.Active)
}

func (a *API) endSession(w http.ResponseWriter, r *http.Request) error {
	return a.change(w, r, database.Ended, database.Created, database.Active, database.Paused)
}

// change takes a class session to another state.
func (a *API) change(w http.ResponseWriter, r *http.Request, to database.State, from ...database.State) error {
	body, err := a.own(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	if to == database.Ended {
		// Before the end is on record: a request that is repeated after a failure here does it again.
		if err := a.c.Codes.Release(ctx, body.ID); err != nil {
			return err
		}
	}
	// What is stored now is to be told, also when the client hangs up or the request's time is over meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.c.Limits.Time)
	defer cancel()
	changed, err := a.c.Database.SetState(ctx, body.ID, to, a.c.Now().UTC(), from...)
	a.invalidate(ctx, body.ID, body.TeacherID) // after an error too: only the answer may have been lost
	if err != nil {
		return err
	}
	if !changed && to != database.Ended {
		return errConflict
	}
	// An end is told again by a request that finds it stored: the one that stored it may have failed there.
	told := a.c.Analytics.Started
	if to == database.Ended {
		told = a.c.Analytics.Ended
	}
	if err := told(ctx, body.ID); err != nil {
		a.log.WarnContext(ctx, "analytics not told of the state", "request_id", requestID(ctx), "error", err)
	}
	if err := a.c.Live.Publish(ctx, body.ID, "state", stateBody{to}); err != nil {
		a.log.WarnContext(ctx, "state not published", "request_id", requestID(ctx), "error", err)
	}
	if !changed {
		return errConflict
	}
	c, found, err := a.c.Database.ClassSession(ctx, body.ID)
	if err != nil {
		return err
	}
	if !found {
		return errNotFound
	}
	write(w, http.StatusOK, newClassBody(c))
	return nil
}

// stateBody is what subscribers of a class session hear when its state changes.
type stateBody struct {
	State database.State `json:"state"`
}
