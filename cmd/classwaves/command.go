package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// usageError is a command line that cannot be obeyed.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func isUsage(err error) bool {
	var e usageError
	return errors.As(err, &e)
}

// command is the tree of commands. Without one of them it serves.
func command() *cobra.Command {
	root := serveCommand()
	root.Use = "classwaves"
	root.Short = "The classroom backend: a server with everything embedded, or with a real Redis and database"
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage("there is no command %q; see classwaves --help", args[0])
		}
		return nil
	}
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(teacherCommand(), loadCommand())
	return root
}
