package accesscode

import "context"

// Directory is the database's side: the truth about which session has which code. Codes are unique
// there. An outage is an *[unavailable.Error]; other errors, such as that there is no such session,
// are handed on.
type Directory interface {
	// SessionOfCode finds the session that has a code.
	SessionOfCode(ctx context.Context, code string) (sessionID string, found bool, err error)
	// CodeOfSession finds the code that a session has.
	CodeOfSession(ctx context.Context, sessionID string) (code string, found bool, err error)
	// SetCode gives the code to a session that has none. A session that has one keeps it, without
	// an error: two processes may give a code to one session at once, and the first one must stay.
	// taken says that another session has the code; nothing was changed then.
	SetCode(ctx context.Context, sessionID, code string) (taken bool, err error)
	// ReleaseCode takes a session's code from it, so that another session may get it. A session
	// without one is no error. Until then the code is the session's own: were it free while Redis
	// still knows the pair, another session could get it in an outage.
	ReleaseCode(ctx context.Context, sessionID string) error
}
