package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/classwaves/rekey/phase"
	"github.com/classwaves/rekey/plan"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // failed or violated
	exitUsage  = 2 // usage or plan
	exitGate   = 3 // a gate does not hold
)

// failure is an error for an operator: what happened, what to do next, and the exit code.
type failure struct {
	code int
	err  error
	try  string // begins with a command or a verb; no full stop
	// said: the command has printed all that there is to say; only the exit code is left.
	said bool
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

// failed is an error with exit code 1.
func failed(try, format string, args ...any) error {
	return &failure{code: exitFailed, err: fmt.Errorf(format, args...), try: try}
}

// misused is an error with exit code 2: the command line or the plan is wrong.
func misused(try, format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...), try: try}
}

// said ends a command whose output has told everything with an exit code.
func said(code int) error {
	return &failure{code: code, err: fmt.Errorf("exit code %d", code), said: true}
}

// explain turns any error of a command into one for an operator.
func (a *app) explain(command *cobra.Command, err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	if !a.running {
		return &failure{code: exitUsage, err: err, try: command.CommandPath() + " --help"}
	}
	if errors.Is(err, context.Canceled) {
		return &failure{code: exitFailed, err: errors.New("interrupted"), try: "run the same command again; what was done stays done"}
	}
	var planned *plan.Error
	if errors.As(err, &planned) {
		return explainPlan(planned)
	}
	var flags *phase.FlagError
	if errors.As(err, &flags) {
		return &failure{code: exitUsage, err: err, try: "rekey flags --table"}
	}
	if try, ok := refused(err); ok {
		return &failure{code: exitFailed, err: err, try: try}
	}
	return &failure{code: exitFailed, err: err, try: command.CommandPath() + " --help"}
}

// explainPlan takes the plan's own hint for the last line.
func explainPlan(err *plan.Error) *failure {
	bare := *err
	bare.Hint = ""
	try := err.Hint
	if try == "" {
		try = "rekey plan --help"
	}
	return &failure{code: exitUsage, err: &bare, try: try}
}

// print writes the error: two lines for a person, or one object.
func (f *failure) print(w io.Writer, asJSON bool) {
	if f.said {
		return
	}
	message := strings.TrimPrefix(f.err.Error(), "rekey: ")
	if asJSON {
		// Nothing is left to be done about a standard error that is closed.
		_ = json.NewEncoder(w).Encode(struct {
			Type  string `json:"type"`
			Error string `json:"error"`
			Try   string `json:"try"`
			Exit  int    `json:"exit"`
		}{"error", message, f.try, f.code})
		return
	}
	_, _ = fmt.Fprintf(w, "rekey: %s\nTry: %s\n", message, f.try)
}
