package analytics

import "context"

// Source is the database's side: whose sessions there are, and the records that outlive the cache.
// Every error of it that is an outage is an *unavailable.Error; absence is no error.
type Source interface {
	// AnalyticsSession says whose a class session is and whether it has ended.
	AnalyticsSession(ctx context.Context, sessionID string) (s SessionInfo, found bool, err error)
	// AnalyticsGroup says which class session a group belongs to.
	AnalyticsGroup(ctx context.Context, groupID string) (sessionID string, found bool, err error)
	// LiveSessions lists the class sessions that were started and have not ended, paused ones too, in
	// the order of their identifiers: at most limit, those after the given identifier, "" for the
	// first. With teacherID only that teacher's.
	LiveSessions(ctx context.Context, teacherID, after string, limit int) ([]SessionInfo, error)
	// LoadAnalytics gives the stored records of the class sessions that have one.
	LoadAnalytics(ctx context.Context, sessionIDs ...string) (map[string]Stored, error)
	// SaveAnalytics stores a record if the stored one still has the revision that was loaded, 0 for
	// none, and gives it the next revision. It answers whether it did, all in one step.
	SaveAnalytics(ctx context.Context, sessionID string, data []byte, revision int64) (saved bool, err error)
}

// SessionInfo is what analytics wants to know of a class session.
type SessionInfo struct {
	ID, TeacherID string
	Ended         bool
}

// Stored is a record in the database. Its bytes are this package's own.
type Stored struct {
	Data     []byte
	Revision int64 // from 1, one more at every save
}
