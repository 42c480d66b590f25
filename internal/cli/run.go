package cli

import (
	"context"
	"io"
	"strconv"
	"strings"
)

// Run runs one command line and returns the exit code. The arguments are those after the program's
// name; lookup is the environment, as [os.LookupEnv] has it.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, lookup func(string) (string, bool)) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, lookup: lookup}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(told{a})
	root.SetErr(stderr)
	refuseShells(root)
	command, err := root.ExecuteContextC(ctx)
	var end *failure
	if err != nil {
		end = a.explain(command, err)
	}
	if end = a.toldAll(end); end == nil {
		return exitDone
	}
	end.print(stderr, a.json || !a.running && asksForJSON(args))
	return end.code
}

// asksForJSON looks for --json in a command line that is wrong: its flags were read up to the fault only.
func asksForJSON(args []string) (asks bool) {
	for _, arg := range args {
		name, value, given := strings.Cut(arg, "=")
		switch {
		case arg == "--":
			return asks
		case name == "--json":
			on, err := strconv.ParseBool(value)
			asks = !given || on && err == nil
		}
	}
	return asks
}
