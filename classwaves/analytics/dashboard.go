package analytics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/ttl"
)

// dashboardEntry is a dashboard as it is stored.
type dashboardEntry struct {
	Format int `json:"format"`
	Dashboard
}

// pageSize is how many sessions are asked of the database at a time.
const pageSize = 200

// Dashboard sums up a teacher's live sessions. The sum is kept for a minute, or until one of them
// changes. A teacher without live sessions, or whom nobody knows, has an empty one.
func (a *Analytics) Dashboard(ctx context.Context, teacherID string) (Dashboard, error) {
	key, err := keys.AnalyticsDashboard(teacherID)
	if err != nil {
		return Dashboard{}, err
	}
	// What is there before the summing up begins: nothing, a mark, or a dashboard.
	seen, cacheErr := a.get(ctx, "read a dashboard", key)
	if d, ok := a.readDashboard(seen); ok {
		a.counters.hits.Add(1)
		return d, nil
	}
	a.counters.misses.Add(1)
	d, err := a.sumUp(ctx, teacherID)
	if err != nil {
		return d, errors.Join(err, cacheErr)
	}
	if cacheErr != nil {
		a.counters.databaseReads.Add(1)
		return d, nil
	}
	data, err := json.Marshal(dashboardEntry{format, d})
	if err != nil {
		return d, fmt.Errorf("encode a dashboard: %w", err)
	}
	// Whether it is stored or not, it is the answer: a sum of what there was since the call began.
	_ = a.ask(ctx, "store a dashboard", func(ctx context.Context) error {
		stored, err := fillDashboard.Run(ctx, a.Redis, []string{key}, seen, data, a.life(ttl.AnalyticsDashboard)).Int()
		if err == nil && stored == 1 {
			a.counters.fills.Add(1)
		}
		return err
	})
	return d, nil
}

// readDashboard reads an entry that is not a mark, unless this process has added to one of its
// sessions what the cache may lack.
func (a *Analytics) readDashboard(raw []byte) (d Dashboard, ok bool) {
	var e dashboardEntry
	if raw == nil || json.Unmarshal(raw, &e) != nil || e.Format != format {
		return d, false
	}
	for _, s := range e.Sessions {
		if h := a.peek(s.SessionID); h != nil && h.behind() {
			return d, false
		}
	}
	return e.Dashboard, true
}

// invalidate puts a mark in a dashboard's place.
func (a *Analytics) invalidate(ctx context.Context, teacherID string) error {
	key, err := keys.AnalyticsDashboard(teacherID)
	if err != nil {
		return err
	}
	return a.ask(ctx, "invalidate a dashboard", func(ctx context.Context) error {
		return a.Redis.Do(ctx, "SET", key, newMark(), "PX", a.life(ttl.AnalyticsDashboard)).Err()
	})
}

// sumUp reads the live sessions of a teacher, from the cache where it has them.
func (a *Analytics) sumUp(ctx context.Context, teacherID string) (Dashboard, error) {
	var all []figures
	for after := ""; ; {
		page, err := a.livePage(ctx, teacherID, after)
		if err != nil {
			return Dashboard{}, err
		}
		figs, err := a.figuresOf(ctx, page)
		if err != nil {
			return Dashboard{}, err
		}
		all = append(all, figs...)
		if len(page) < pageSize {
			break
		}
		after = page[len(page)-1].ID
	}
	d := Dashboard{TeacherID: teacherID, LiveSessions: len(all), Sessions: make([]SessionMetrics, 0, len(all)), CalculatedAt: moment(a.Now().UnixMilli())}
	var engagement, participation float64
	var engagements, participations int64
	for _, f := range all {
		m := f.metrics()
		d.Sessions = append(d.Sessions, m)
		d.ActiveGroups += m.ActiveGroups
		d.ReadyGroups += m.ReadyGroups
		d.Participants += m.Participants
		d.ActiveAlerts += m.ActiveAlerts
		engagement += m.AverageEngagement * float64(m.EngagementSamples)
		engagements += m.EngagementSamples
		participation += m.AverageParticipation * float64(m.ParticipationSamples)
		participations += m.ParticipationSamples
		if m.LastUpdate.After(d.LastUpdate) {
			d.LastUpdate = m.LastUpdate
		}
	}
	d.AverageEngagement = average(int64(engagement*1000+0.5), engagements)
	d.AverageParticipation = average(int64(participation*1000+0.5), participations)
	return d, nil
}

func (a *Analytics) livePage(ctx context.Context, teacherID, after string) (page []SessionInfo, err error) {
	err = a.query(ctx, "list live sessions", func(ctx context.Context) (err error) {
		page, err = a.Source.LiveSessions(ctx, teacherID, after, pageSize)
		return err
	})
	return page, err
}

// figuresOf gives the figures of a page of sessions.
func (a *Analytics) figuresOf(ctx context.Context, page []SessionInfo) ([]figures, error) {
	raws, err := a.raws(ctx, page)
	if err != nil {
		raws = make([][]byte, len(page)) // the database answers for all of them
	}
	out := make([]figures, len(page))
	var missing []string
	for i, s := range page {
		ok := false
		if raws[i] != nil {
			out[i], ok = a.readEntry(s.ID, raws[i])
		}
		if !ok {
			missing = append(missing, s.ID)
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	rows, err := a.rows(ctx, missing)
	if err != nil {
		return nil, err
	}
	for i, s := range page {
		if out[i].Format == format {
			continue
		}
		rec, _, err := a.read(s, rows[s.ID])
		if err != nil {
			return nil, err
		}
		if h := a.peek(s.ID); h != nil {
			rec.merge(h.record())
		}
		rec.sum(a.Now())
		out[i] = rec.figures
	}
	return out, nil
}

// raws reads the entries of several sessions; nil where there is none.
func (a *Analytics) raws(ctx context.Context, sessions []SessionInfo) ([][]byte, error) {
	out := make([][]byte, len(sessions))
	if len(sessions) == 0 {
		return out, nil
	}
	names := make([]string, len(sessions))
	for i, s := range sessions {
		name, err := keys.AnalyticsSession(s.ID)
		if err != nil {
			return nil, err
		}
		names[i] = name
	}
	err := a.ask(ctx, "read session analytics", func(ctx context.Context) error {
		values, err := a.Redis.MGet(ctx, names...).Result()
		for i, v := range values {
			if text, ok := v.(string); ok {
				out[i] = []byte(text)
			}
		}
		return err
	})
	return out, err
}

func (a *Analytics) rows(ctx context.Context, ids []string) (rows map[string]Stored, err error) {
	err = a.query(ctx, "load session analytics", func(ctx context.Context) (err error) {
		rows, err = a.Source.LoadAnalytics(ctx, ids...)
		return err
	})
	return rows, err
}
