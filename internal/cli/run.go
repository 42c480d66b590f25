package cli

import (
	"context"
	"io"
)

// Run runs one command line and returns the exit code. The arguments are those after the program's
// name; lookup is the environment, as [os.LookupEnv] has it.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, lookup func(string) (string, bool)) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, lookup: lookup}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	refuseShells(root)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	f := a.explain(command, err)
	f.print(stderr, a.json)
	return f.code
}
