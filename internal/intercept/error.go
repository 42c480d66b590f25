package intercept

import (
	"errors"
	"fmt"
)

// ServerError is a reply of the server after which the connection cannot go on.
type ServerError struct {
	// Op is what the session had sent.
	Op string
	// Text is the server's error.
	Text string
}

func (e *ServerError) Error() string {
	return fmt.Sprintf("rekey: the server refused %s: %s", e.Op, e.Text)
}

// endError is why a connection carries nothing any more, for who reads or writes it. [errors.Is] finds what the
// reason matches, and [errors.As] nothing: what ended the connection may itself be a reply of the server to
// somebody else (LOADING, to the instance that asked for an admission), and a client that finds a reply in the error
// of a Write takes its connection for a sound one, puts it back into its pool and gets the same error for ever.
type endError struct{ reason error }

func (e *endError) Error() string { return e.reason.Error() }

// Is looks into the reason.
func (e *endError) Is(target error) bool { return errors.Is(e.reason, target) }
