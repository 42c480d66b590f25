package redistest

import (
	"os/exec"
	"syscall"
)

// DieWithParent ends a child with the test binary, however that ends: a panic, a timeout of
// go test, a kill. Otherwise each such run would leave servers behind. The kernel means the thread: the
// one that starts the child must live as long as the child does.
func DieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
