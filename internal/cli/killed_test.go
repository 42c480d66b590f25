package cli

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
)

// A run that is killed with -9 leaves the lock behind and no word. When its time has run out the next one goes on
// from where the fleet is, while the instances work all along.
func TestKilledRun(t *testing.T) {
	w := newWalked(t, 2)
	w.killRun()
	w.finishRun()
	w.stop()
	w.work.Wait()
	w.keysAre("cw:prod:", "")
}

// killRun kills a run with -9 while it soaks.
func (w *walked) killRun() {
	w.t.Helper()
	out := new(growing)
	run := exec.Command(os.Args[0], "run", "--yes", "--soak", "1h", "-f", w.path, "--redis", w.server.URL())
	run.Env = append(os.Environ(), asProgram+"=1", "GOCOVERDIR="+w.t.TempDir())
	run.Stdout, run.Stderr = out, out
	if err := run.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = run.Process.Kill(); _ = run.Wait() }) // it is killed and waited for already, where nothing failed
	redistest.WaitFor(w.t, 30*time.Second, func() bool { return strings.Contains(out.String(), "soaks: ") })
	if err := run.Process.Kill(); err != nil {
		w.t.Fatal(err)
	}
	_ = run.Wait() // killed, as it was to be
}

// finishRun runs to the end what killRun left, once the lock is free, and wants it to go on from there.
func (w *walked) finishRun() {
	w.t.Helper()
	var second cliRun
	redistest.WaitFor(w.t, 60*time.Second, func() bool {
		second = runCLI(w.t, nil, "run", "--yes", "-f", w.path, "--redis", w.server.URL())
		return !strings.Contains(second.stderr, "walks the fleet")
	})
	mustExit(w.t, exitDone, second)
	if strings.Contains(second.stdout, "sessions  guard to dual") {
		w.t.Errorf("it has begun anew:\n%s", second.stdout)
	}
}
