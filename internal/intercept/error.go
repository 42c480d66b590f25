package intercept

import "fmt"

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
