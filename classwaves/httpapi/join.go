package httpapi

import (
	"crypto/rand"
	"errors"
	"net/http"

	"github.com/classwaves/rekey/classwaves/analytics"
	"github.com/classwaves/rekey/classwaves/database"
)

// join takes a student into the class session of an access code.
func (a *API) join(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Code  string `json:"code"`
		Name  string `json:"name"`
		Group string `json:"group"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	name, err := text("name", in.Name, 100)
	if err != nil {
		return err
	}
	ctx := r.Context()
	id, found, err := a.c.Codes.Resolve(ctx, in.Code)
	if err != nil {
		return err
	}
	if !found {
		return errNotFound
	}
	c, found, err := a.c.Database.ClassSession(ctx, id)
	if err != nil {
		return err
	}
	if !found || c.State == database.Ended {
		return errNotFound
	}
	groups, err := a.c.Database.Groups(ctx, id)
	if err != nil {
		return err
	}
	group, err := chooseGroup(groups, in.Group)
	if err != nil {
		return err
	}
	now := a.c.Now().UTC()
	p := database.Participant{ID: rand.Text(), SessionID: id, GroupID: group, Name: name, JoinedAt: now}
	switch err := a.c.Database.AddParticipant(ctx, p); {
	case errors.Is(err, database.ErrReference):
		return errNotFound // the class session has ended since it was looked at
	case err != nil:
		return err
	}
	if _, err := a.c.Analytics.Apply(ctx, id, analytics.Event{Kind: analytics.ParticipantJoined, GroupID: group}); err != nil {
		a.log.WarnContext(ctx, "participant not counted", "request_id", requestID(ctx), "error", err)
	}
	if err := a.setParticipant(w, participant{ID: p.ID, Session: id, Group: group, Until: now.Add(participantTime)}); err != nil {
		return err
	}
	type body struct {
		SessionID     string         `json:"sessionId"`
		ParticipantID string         `json:"participantId"`
		GroupID       string         `json:"groupId"`
		Title         string         `json:"title"`
		State         database.State `json:"state"`
		Groups        []groupBody    `json:"groups"`
	}
	out := body{id, p.ID, group, c.Title, c.State, []groupBody{}}
	for _, g := range groups {
		out.Groups = append(out.Groups, groupBody{g.ID, g.Name})
	}
	write(w, http.StatusCreated, out)
	return nil
}

// chooseGroup is the group that a student asked for by id, or the first one.
func chooseGroup(groups []database.Group, asked string) (string, error) {
	if asked == "" {
		if len(groups) == 0 {
			return "", errNotFound // the class session is gone
		}
		return groups[0].ID, nil
	}
	for _, g := range groups {
		if g.ID == asked {
			return g.ID, nil
		}
	}
	return "", invalid("there is no such group")
}
