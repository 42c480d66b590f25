package cli

import (
	"encoding/json"
	"fmt"
)

// printf writes text for a person. A writer that fails (a closed pipe) fails no command: what the
// command does to the server is worth more than what is read of it.
func (a *app) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(a.stdout, format, args...)
}

// printJSON writes one object and a newline.
func (a *app) printJSON(v any) error {
	encoder := json.NewEncoder(a.stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}
