package chaostest

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"github.com/classwaves/rekey/internal/redistest"
)

// jobVariable tells a process of this test binary that it is not the test.
const jobVariable = "REKEY_CHAOS_JOB"

// role is what a process is.
type role string

const (
	anInstance  role = "instance"
	aController role = "controller"
)

// job is what a process is told.
type job struct {
	Role   role
	Name   string
	Plan   string // the plan's file; its server is what fleet records are reached by
	Addr   string // what the application's own connections dial
	Log    string // where it writes what it does
	Client clientKind
	Seed   uint64
	Number int   // of the process: no two have the same
	Began  int64 // when the test began, by clock
}

func TestMain(m *testing.M) {
	text, ok := os.LookupEnv(jobVariable)
	if !ok {
		redistest.Main(m)
		return
	}
	if err := do(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// do is a process. It ends in order when its input does.
func do(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	switch j.Role {
	case anInstance:
		return runInstance(&j, inputEnds())
	case aController:
		return runController(&j, inputEnds())
	default:
		return fmt.Errorf("nothing is a %q", j.Role)
	}
}

// inputEnds is closed when whoever started the process closes its input.
func inputEnds() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is all that it says
	}()
	return done
}

// worker is a process that does a job, again after each death.
type worker struct {
	job    job
	output string // file for what it says on stderr

	mu     sync.Mutex
	cmd    *exec.Cmd
	stdin  io.Closer
	exited <-chan struct{}
	lives  int
}

// logOf is the log of one life.
func (w *worker) logOf(life int) string { return fmt.Sprintf("%s.%d", w.job.Log, life) }

// start begins a life of the worker.
func (w *worker) start() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := w.job
	j.Number = w.job.Number*1000 + w.lives // of a process, not of a worker
	j.Seed += uint64(w.lives)
	j.Log = w.logOf(w.lives)
	w.lives++
	text, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("write the job: %w", err)
	}
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the test binary: %w", err)
	}
	output, err := os.OpenFile(w.output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the output of %s: %w", j.Name, err)
	}
	defer func() { _ = output.Close() }() // the process has its own
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
	cmd.Stderr = output
	if w.stdin, err = cmd.StdinPipe(); err != nil {
		return fmt.Errorf("make the input of %s: %w", j.Name, err)
	}
	w.cmd = cmd
	w.exited, err = redistest.Spawn(cmd)
	if err != nil {
		return fmt.Errorf("start %s: %w", j.Name, err)
	}
	return nil
}

// signal sends a signal to the process.
func (w *worker) signal(s syscall.Signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.cmd.Process.Signal(s) // it may have ended by itself, which the end of the test looks at
}

// kill ends the process as a crash does.
func (w *worker) kill() {
	w.signal(syscall.SIGKILL)
	w.mu.Lock()
	defer w.mu.Unlock()
	<-w.exited
}

// end lets the process end in order, and says how that went.
func (w *worker) end() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.stdin.Close() // it may have ended by itself
	<-w.exited
	if !w.cmd.ProcessState.Success() {
		return fmt.Errorf("%s: %v", w.job.Name, w.cmd.ProcessState)
	}
	return nil
}
