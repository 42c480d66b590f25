package analytics

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"
)

// format is in every entry and record: what has another was written by somebody else.
const format = 1

// record is a session's entry in the cache and its row in the database.
type record struct {
	figures
	Parts map[string]part `json:"parts"` // by writer
}

// part is what one writer has added. It is never changed in place.
type part struct {
	Seq    int64            `json:"seq"`
	Groups map[string]tally `json:"groups"`
}

// tally is what one writer, or all of them, counted of one group.
type tally struct {
	Joined         int64 `json:"joined,omitempty"`
	Left           int64 `json:"left,omitempty"`
	Engagement     int64 `json:"engagement,omitempty"` // sum of samples, in thousandths
	Engagements    int64 `json:"engagements,omitempty"`
	Participation  int64 `json:"participation,omitempty"` // sum of samples, in thousandths
	Participations int64 `json:"participations,omitempty"`
	Raised         int64 `json:"raised,omitempty"`
	Cleared        int64 `json:"cleared,omitempty"`
	Ready          bool  `json:"ready,omitempty"`
	ReadyAt        int64 `json:"readyAt,omitempty"` // the later word wins
	At             int64 `json:"at,omitempty"`      // last event, in milliseconds
}

// figures are the sums of a session as they are stored. merge.lua writes them as well.
type figures struct {
	Format               int     `json:"format"`
	SessionID            string  `json:"sessionId"`
	TeacherID            string  `json:"teacherId"`
	ActiveGroups         int64   `json:"activeGroups"`
	ReadyGroups          int64   `json:"readyGroups"`
	Participants         int64   `json:"participants"`
	AverageEngagement    float64 `json:"averageEngagement"`
	AverageParticipation float64 `json:"averageParticipation"`
	EngagementSamples    int64   `json:"engagementSamples"`
	ParticipationSamples int64   `json:"participationSamples"`
	ActiveAlerts         int64   `json:"activeAlerts"`
	Ended                bool    `json:"ended"`
	Version              int64   `json:"version"`
	LastUpdate           int64   `json:"lastUpdate"`
	CalculatedAt         int64   `json:"calculatedAt"`
}

// groupFigures are the sums of a group as they are stored. merge.lua writes them.
type groupFigures struct {
	Format               int     `json:"format"`
	GroupID              string  `json:"groupId"`
	SessionID            string  `json:"sessionId"`
	Active               bool    `json:"active"`
	Ready                bool    `json:"ready"`
	Participants         int64   `json:"participants"`
	AverageEngagement    float64 `json:"averageEngagement"`
	AverageParticipation float64 `json:"averageParticipation"`
	EngagementSamples    int64   `json:"engagementSamples"`
	ParticipationSamples int64   `json:"participationSamples"`
	ActiveAlerts         int64   `json:"activeAlerts"`
	Version              int64   `json:"version"`
	LastUpdate           int64   `json:"lastUpdate"`
	CalculatedAt         int64   `json:"calculatedAt"`
}

// errForeign is an entry that is not of this package's format.
var errForeign = errors.New("not an analytics record")

// newRecord is a session of which nothing is known yet.
func newRecord(s SessionInfo) *record {
	return &record{
		figures: figures{Format: format, SessionID: s.ID, TeacherID: s.TeacherID, Ended: s.Ended},
		Parts:   make(map[string]part),
	}
}

func parseRecord(data []byte) (*record, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", errForeign, err)
	}
	if r.Format != format || r.Parts == nil {
		return nil, errForeign
	}
	return &r, nil
}

// merge takes the later of each part and answers whether anything came of it.
func (r *record) merge(other *record) (changed bool) {
	for writer, p := range other.Parts {
		if have, ok := r.Parts[writer]; !ok || have.Seq < p.Seq {
			r.Parts[writer] = p
			changed = true
		}
	}
	if other.Ended && !r.Ended {
		r.Ended = true
		changed = true
	}
	return changed
}

// groups sums the parts up by group.
func (r *record) groups() map[string]tally {
	sums := make(map[string]tally)
	word := make(map[string]string) // whose word on readiness counts
	for writer, p := range r.Parts {
		for id, t := range p.Groups {
			s := sums[id]
			s.Joined += t.Joined
			s.Left += t.Left
			s.Engagement += t.Engagement
			s.Engagements += t.Engagements
			s.Participation += t.Participation
			s.Participations += t.Participations
			s.Raised += t.Raised
			s.Cleared += t.Cleared
			s.At = max(s.At, t.At)
			if t.ReadyAt > s.ReadyAt || t.ReadyAt == s.ReadyAt && t.ReadyAt > 0 && writer > word[id] {
				s.Ready, s.ReadyAt, word[id] = t.Ready, t.ReadyAt, writer
			}
			sums[id] = s
		}
	}
	return sums
}

// sum brings the figures up to the parts.
func (r *record) sum(now time.Time) {
	var all tally
	var active, ready, participants, alerts int64
	for _, t := range r.groups() {
		if present(t) > 0 {
			active++
		}
		if t.Ready {
			ready++
		}
		participants += present(t)
		alerts += open(t)
		all.Engagement += t.Engagement
		all.Engagements += t.Engagements
		all.Participation += t.Participation
		all.Participations += t.Participations
		all.At = max(all.At, t.At)
	}
	r.figures = figures{
		Format: format, SessionID: r.SessionID, TeacherID: r.TeacherID, Ended: r.Ended,
		ActiveGroups: active, ReadyGroups: ready, Participants: participants, ActiveAlerts: alerts,
		AverageEngagement: average(all.Engagement, all.Engagements), EngagementSamples: all.Engagements,
		AverageParticipation: average(all.Participation, all.Participations), ParticipationSamples: all.Participations,
		Version: r.version(), LastUpdate: all.At, CalculatedAt: now.UnixMilli(),
	}
}

// version grows with every merge that changes something.
func (r *record) version() int64 {
	var v int64
	for _, p := range r.Parts {
		v += p.Seq
	}
	if r.Ended {
		v++
	}
	return v
}

// group gives one group's figures.
func (r *record) group(id string, now time.Time) groupFigures {
	t := r.groups()[id]
	return groupFigures{
		Format: format, GroupID: id, SessionID: r.SessionID,
		Active: present(t) > 0, Ready: t.Ready, Participants: present(t), ActiveAlerts: open(t),
		AverageEngagement: average(t.Engagement, t.Engagements), EngagementSamples: t.Engagements,
		AverageParticipation: average(t.Participation, t.Participations), ParticipationSamples: t.Participations,
		Version: r.version(), LastUpdate: t.At, CalculatedAt: now.UnixMilli(),
	}
}

// present and open never go below nothing: somebody may leave before the word of the join arrives.
func present(t tally) int64 { return max(0, t.Joined-t.Left) }
func open(t tally) int64    { return max(0, t.Raised-t.Cleared) }

// average of a sum in thousandths, rounded to a thousandth.
func average(sum, count int64) float64 {
	if count == 0 {
		return 0
	}
	return float64((2*sum+count)/(2*count)) / 1000
}

// with is the part after further events. readyAt is the highest number of a word on readiness so far, by
// group; a part without events is only a later one.
func (p part) with(events []Event, now time.Time, readyAt map[string]int64) part {
	next := part{Seq: p.Seq + 1, Groups: maps.Clone(p.Groups)}
	if next.Groups == nil {
		next.Groups = make(map[string]tally)
	}
	for _, e := range events {
		t := next.Groups[e.GroupID]
		switch e.Kind {
		case ParticipantJoined:
			t.Joined++
		case ParticipantLeft:
			t.Left++
		case Engagement:
			t.Engagement += e.thousandths()
			t.Engagements++
		case Participation:
			t.Participation += e.thousandths()
			t.Participations++
		case AlertRaised:
			t.Raised++
		case AlertCleared:
			t.Cleared++
		case GroupReady, GroupNotReady:
			t.Ready = e.Kind == GroupReady
			t.ReadyAt = max(now.UnixMilli(), readyAt[e.GroupID]+1, t.ReadyAt+1)
		}
		t.At = max(t.At, now.UnixMilli())
		next.Groups[e.GroupID] = t
	}
	return next
}

func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func (f figures) metrics() SessionMetrics {
	return SessionMetrics{
		SessionID: f.SessionID, TeacherID: f.TeacherID,
		ActiveGroups: f.ActiveGroups, ReadyGroups: f.ReadyGroups, Participants: f.Participants,
		AverageEngagement: f.AverageEngagement, AverageParticipation: f.AverageParticipation,
		EngagementSamples: f.EngagementSamples, ParticipationSamples: f.ParticipationSamples,
		ActiveAlerts: f.ActiveAlerts, Ended: f.Ended, Version: f.Version,
		LastUpdate: moment(f.LastUpdate), CalculatedAt: moment(f.CalculatedAt),
	}
}

func (f groupFigures) metrics() GroupMetrics {
	return GroupMetrics{
		GroupID: f.GroupID, SessionID: f.SessionID, Active: f.Active, Ready: f.Ready, Participants: f.Participants,
		AverageEngagement: f.AverageEngagement, AverageParticipation: f.AverageParticipation,
		EngagementSamples: f.EngagementSamples, ParticipationSamples: f.ParticipationSamples,
		ActiveAlerts: f.ActiveAlerts, Version: f.Version,
		LastUpdate: moment(f.LastUpdate), CalculatedAt: moment(f.CalculatedAt),
	}
}
