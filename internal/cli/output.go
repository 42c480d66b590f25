package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
)

// printf writes text for a person. A writer that fails (a closed pipe) fails no command: what the
// command does to the server is worth more than what is read of it.
func (a *app) printf(format string, args ...any) {
	_, err := fmt.Fprintf(a.stdout, format, args...)
	_ = a.written(err)
}

// printJSON writes one object and a newline. What cannot be written is an error, for a program may rely on it,
// but where nobody reads any more.
func (a *app) printJSON(v any) error {
	encoder := json.NewEncoder(a.stdout)
	encoder.SetEscapeHTML(false)
	if err := a.written(encoder.Encode(v)); err != nil {
		return failed("room for standard output; what was done stays done", "print JSON: %w", err)
	}
	return nil
}

// written notes that nobody reads standard output any more, which is no error, and gives any other one.
func (a *app) written(err error) error {
	if !errors.Is(err, syscall.EPIPE) {
		return err
	}
	a.unread.Store(true)
	return nil
}
