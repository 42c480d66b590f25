package analytics

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/classwaves/rekey/classwaves/keys"
)

// Kind is what happened to a group.
type Kind string

// The kinds of events. Joined and left, raised and cleared are counted in pairs.
const (
	ParticipantJoined Kind = "participant-joined"
	ParticipantLeft   Kind = "participant-left"
	GroupReady        Kind = "group-ready"
	GroupNotReady     Kind = "group-not-ready"
	Engagement        Kind = "engagement"    // one sample, Event.Score
	Participation     Kind = "participation" // one sample, Event.Score
	AlertRaised       Kind = "alert-raised"
	AlertCleared      Kind = "alert-cleared"
)

var kinds = []Kind{
	ParticipantJoined, ParticipantLeft, GroupReady, GroupNotReady,
	Engagement, Participation, AlertRaised, AlertCleared,
}

// Event is one thing that happened in a class session, as a WebSocket message may carry it.
type Event struct {
	Kind    Kind   `json:"kind"`
	GroupID string `json:"groupId"`
	// Score is the sample of engagement or participation: 0 to 100, kept to a thousandth. Other kinds
	// have none.
	Score float64 `json:"score,omitempty"`
}

// Errors of Apply that are the caller's.
var (
	// ErrNoSession says that the database has no such class session.
	ErrNoSession = errors.New("no such class session")
	// ErrEnded says that the class session has ended: its figures are final.
	ErrEnded = errors.New("the class session has ended")
	// ErrNoGroup says that the class session has no such group.
	ErrNoGroup = errors.New("the class session has no such group")
)

// EventError is an event that says nothing that can be counted.
type EventError struct{ Reason string }

func (e *EventError) Error() string { return "analytics event: " + e.Reason }

// check refuses what cannot be counted.
func (e Event) check() error {
	if !slices.Contains(kinds, e.Kind) {
		return &EventError{"unknown kind"}
	}
	if _, err := keys.AnalyticsGroup(e.GroupID); err != nil {
		return &EventError{err.Error()}
	}
	// JSON would give two identifiers with different broken bytes one name.
	if !utf8.ValidString(e.GroupID) {
		return &EventError{"group id must be UTF-8"}
	}
	sample := e.Kind == Engagement || e.Kind == Participation
	if !sample && e.Score != 0 {
		return &EventError{fmt.Sprintf("%s has no score", e.Kind)}
	}
	if math.IsNaN(e.Score) || e.Score < 0 || e.Score > 100 {
		return &EventError{"score must be from 0 to 100"}
	}
	return nil
}

// thousandths is the score as it is summed, without rounding errors that grow.
func (e Event) thousandths() int64 { return int64(math.Round(e.Score * 1000)) }
