package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
)

// roomForOutput is what to do where standard output cannot be written.
const roomForOutput = "room for standard output; what was done stays done"

// printf writes text for a person. A writer that fails ends no command: what the command does to the server is worth more
// than what is read of it. Its exit code says it in the end.
func (a *app) printf(format string, args ...any) { _, _ = fmt.Fprintf(told{a}, format, args...) }

// printJSON writes one object and a newline. What cannot be written is an error, for a program may rely on it,
// but where nobody reads any more.
func (a *app) printJSON(v any) error {
	encoder := json.NewEncoder(a.stdout)
	encoder.SetEscapeHTML(false)
	if err := a.written(encoder.Encode(v)); err != nil {
		return failed(roomForOutput, "print JSON: %w", err)
	}
	return nil
}

// told is standard output for those that do not look whether it was written: that is noted. Where nobody reads any more
// everything was.
type told struct{ app *app }

func (t told) Write(text []byte) (int, error) {
	n, err := t.app.stdout.Write(text)
	if err = t.app.written(err); err == nil {
		n = len(text)
	}
	return n, err
}

// written notes that nobody reads standard output any more, which is no error, and gives any other one, which is noted too.
func (a *app) written(err error) error {
	switch {
	case errors.Is(err, syscall.EPIPE):
		a.unread.Store(true)
		return nil
	case err != nil:
		a.untold.CompareAndSwap(nil, &err)
	}
	return err
}

// toldAll is the end of a command, or an error of what it could not print, where no other one says why it has failed.
func (a *app) toldAll(end *failure) *failure {
	lost := a.untold.Load()
	switch {
	case lost == nil:
		return end
	case end == nil:
		end = &failure{code: exitFailed}
	case !end.said && !errors.Is(end.err, *lost):
		return end
	}
	return &failure{code: end.code, err: fmt.Errorf("print: %w", *lost), try: roomForOutput}
}
