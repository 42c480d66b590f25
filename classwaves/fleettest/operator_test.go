package fleettest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// command is the operator's program at work.
type command struct {
	args        []string
	cmd         *exec.Cmd
	out, errOut bytes.Buffer
	began       error
}

// operator begins a command.
func (f *fleet) operator(args ...string) *command {
	all := append([]string{"-f", filepath.Join("..", "rekey.yaml"), "--env", environment, "--redis", f.redis.URL(), "--json"}, args...)
	c := &command{args: args, cmd: exec.CommandContext(f.t.Context(), program(f.t, "rekey"), all...)}
	c.cmd.Env = bareEnvironment()
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.errOut
	c.began = c.cmd.Start()
	return c
}

// wait waits for the end, and gives what was printed.
func (c *command) wait() (string, error) {
	err := c.began
	if err == nil {
		err = c.cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("rekey %s: %w\n%s%s", strings.Join(c.args, " "), err, c.out.String(), c.errOut.String())
	}
	return c.out.String(), err
}

// interrupt ends the command as Ctrl-C does, which it must obey, in the middle of what it does.
func (c *command) interrupt(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatalf("interrupt rekey %s: %v", strings.Join(c.args, " "), err)
	}
	if out, err := c.wait(); err == nil {
		t.Fatalf("rekey %s was done before it was interrupted:\n%s", strings.Join(c.args, " "), out)
	}
}
