//go:build !linux

package redistest

import "os/exec"

// DieWithParent does nothing here: only Linux can tie a child to its parent. A test binary that is
// killed leaves its servers to be ended by hand.
func DieWithParent(*exec.Cmd) {}
