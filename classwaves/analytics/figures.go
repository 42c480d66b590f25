package analytics

import "time"

// SessionMetrics are the figures of one class session. They are the sums of its groups' figures.
type SessionMetrics struct {
	SessionID string `json:"sessionId"`
	TeacherID string `json:"teacherId"`
	// ActiveGroups have at least one participant; ReadyGroups last said that they are ready.
	ActiveGroups int64 `json:"activeGroups"`
	ReadyGroups  int64 `json:"readyGroups"`
	Participants int64 `json:"participants"`
	// Averages are over all samples of all groups, 0 to 100 with three decimals, and 0 without
	// samples.
	AverageEngagement    float64 `json:"averageEngagement"`
	AverageParticipation float64 `json:"averageParticipation"`
	EngagementSamples    int64   `json:"engagementSamples"`
	ParticipationSamples int64   `json:"participationSamples"`
	ActiveAlerts         int64   `json:"activeAlerts"`
	// Ended says that the figures are final.
	Ended bool `json:"ended"`
	// Version grows with every update. Of two messages about one session the one with the lower
	// version is the older.
	Version int64 `json:"version"`
	// LastUpdate is when the last event came in, zero if none has. CalculatedAt is when the figures
	// were summed up.
	LastUpdate   time.Time `json:"lastUpdate,omitzero"`
	CalculatedAt time.Time `json:"calculatedAt"`
}

// GroupMetrics are the figures of one group, with the meanings of [SessionMetrics].
type GroupMetrics struct {
	GroupID              string    `json:"groupId"`
	SessionID            string    `json:"sessionId"`
	Active               bool      `json:"active"`
	Ready                bool      `json:"ready"`
	Participants         int64     `json:"participants"`
	AverageEngagement    float64   `json:"averageEngagement"`
	AverageParticipation float64   `json:"averageParticipation"`
	EngagementSamples    int64     `json:"engagementSamples"`
	ParticipationSamples int64     `json:"participationSamples"`
	ActiveAlerts         int64     `json:"activeAlerts"`
	Version              int64     `json:"version"` // of the session when the group was summed up
	LastUpdate           time.Time `json:"lastUpdate,omitzero"`
	CalculatedAt         time.Time `json:"calculatedAt"`
}

// Dashboard is what a teacher sees of all live sessions, with the meanings of [SessionMetrics].
type Dashboard struct {
	TeacherID            string           `json:"teacherId"`
	LiveSessions         int              `json:"liveSessions"`
	ActiveGroups         int64            `json:"activeGroups"`
	ReadyGroups          int64            `json:"readyGroups"`
	Participants         int64            `json:"participants"`
	AverageEngagement    float64          `json:"averageEngagement"`
	AverageParticipation float64          `json:"averageParticipation"`
	ActiveAlerts         int64            `json:"activeAlerts"`
	Sessions             []SessionMetrics `json:"sessions"` // in the order of their identifiers
	LastUpdate           time.Time        `json:"lastUpdate,omitzero"`
	CalculatedAt         time.Time        `json:"calculatedAt"`
}
