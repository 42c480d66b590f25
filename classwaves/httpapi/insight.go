package httpapi

import (
	"context"
	"net/http"

	"github.com/classwaves/rekey/classwaves/querycache"
)

func (a *API) sessionAnalytics(w http.ResponseWriter, r *http.Request) error {
	body, err := a.own(r)
	if err != nil {
		return err
	}
	m, found, err := a.c.Analytics.Session(r.Context(), body.ID)
	if err != nil {
		return err
	}
	if !found {
		return errNotFound // nothing has happened in it yet
	}
	write(w, http.StatusOK, m)
	return nil
}

// groupStatus shows each group with its members' count and whether it is ready.
func (a *API) groupStatus(w http.ResponseWriter, r *http.Request) error {
	body, err := a.own(r)
	if err != nil {
		return err
	}
	type status struct {
		groupBody
		Ready        bool `json:"ready"`
		Participants int  `json:"participants"`
	}
	type list struct {
		Groups []status `json:"groups"`
	}
	entry := querycache.Entry{Type: querycache.GroupStatus, Key: body.ID, Tags: []string{tagOfSession(body.ID)}}
	out, err := querycache.Load(r.Context(), a.c.Queries, entry, func(ctx context.Context) (list, error) {
		groups, err := a.c.Database.Groups(ctx, body.ID)
		if err != nil {
			return list{}, err
		}
		members, err := a.c.Database.Participants(ctx, body.ID)
		if err != nil {
			return list{}, err
		}
		count := make(map[string]int)
		for _, p := range members {
			count[p.GroupID]++
		}
		out := list{Groups: []status{}}
		for _, g := range groups {
			out.Groups = append(out.Groups, status{groupBody{g.ID, g.Name}, g.Ready, count[g.ID]})
		}
		return out, nil
	})
	if err != nil {
		return err
	}
	write(w, http.StatusOK, out)
	return nil
}

func (a *API) dashboard(w http.ResponseWriter, r *http.Request) error {
	d, err := a.c.Analytics.Dashboard(r.Context(), loginOf(r).TeacherID)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, d)
	return nil
}
