package redistest

import (
	"os/exec"
	"syscall"
)

// dieWithParent ends the server with the test binary, however that ends: a panic, a timeout of
// go test, a kill. Otherwise each such run would leave servers behind.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
