package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	readyWithin = time.Minute     // from start to the first answer, on a busy machine
	stopWithin  = 5 * time.Second // from SIGTERM to SIGKILL
	portTries   = 10              // free ports that another process may snatch
)

// process is one server with a directory and a port that it keeps over restarts.
type process struct {
	binary binary
	config []string
	dir    string
	port   int

	mu     sync.Mutex
	cmd    *exec.Cmd     // the run at hand, nil before the first
	exited chan struct{} // closed when that run has been waited for
}

// startProcess starts a server on a free port and waits until it answers.
func startProcess(config []string) (*process, error) {
	bin, err := findBinary()
	if err != nil {
		return nil, err
	}
	// Not t.TempDir: it contains the test's name, and the path of a unix socket must be short.
	dir, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		return nil, fmt.Errorf("make the server's directory: %w", err)
	}
	p := &process{binary: bin, config: config, dir: dir}
	for range portTries {
		if p.port, err = freePort(); err != nil {
			break
		}
		if err = p.run(); err == nil {
			return p, nil
		}
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	return nil, errors.Join(err, os.RemoveAll(dir))
}

// freePort asks the kernel for a port that nobody listens on now. Another process may take it
// before the server does; then run answers errPortTaken.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

func (p *process) addr() string   { return fmt.Sprintf("127.0.0.1:%d", p.port) }
func (p *process) socket() string { return filepath.Join(p.dir, "s.sock") }
func (p *process) log() string    { return filepath.Join(p.dir, "server.log") }

// configFile is what every server gets before the lines of its test. It forgets everything when
// it stops unless the test asks for persistence, and it is quick to take a replica.
func (p *process) configFile() []byte {
	lines := []string{
		"bind 127.0.0.1",
		fmt.Sprintf("port %d", p.port),
		"unixsocket " + p.socket(),
		"unixsocketperm 700",
		"dir " + p.dir,
		"logfile " + p.log(),
		"daemonize no",
		"protected-mode no",
		`save ""`,
		"repl-diskless-sync-delay 0",
	}
	if p.binary.version.AtLeast(7, 0) {
		lines = append(lines, "enable-debug-command yes")
	}
	return []byte(strings.Join(append(lines, p.config...), "\n") + "\n")
}

var errPortTaken = errors.New("port taken by another process")

// run starts the server and returns when it answers.
func (p *process) run() error {
	conf := filepath.Join(p.dir, "server.conf")
	if err := os.WriteFile(conf, p.configFile(), 0o600); err != nil {
		return fmt.Errorf("write the server's configuration: %w", err)
	}
	if err := os.Remove(p.log()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the log of the run before: %w", err)
	}
	var output bytes.Buffer // what it prints before it has a log: errors of its configuration
	cmd := exec.Command(p.binary.path, conf)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, &output, &output
	exited := make(chan struct{})
	if err := startAndWait(cmd, exited); err != nil {
		return fmt.Errorf("start %s: %w", p.binary.path, err)
	}
	p.mu.Lock()
	p.cmd, p.exited = cmd, exited
	p.mu.Unlock()
	if err := p.awaitReady(exited); err != nil {
		p.kill()
		log, _ := os.ReadFile(p.log()) // there may be none; then output says why
		if bytes.Contains(log, []byte("Address already in use")) {
			return errPortTaken
		}
		return fmt.Errorf("%w\n%s%s", err, output.String(), log)
	}
	return nil
}

// Spawn starts a program that ends with the test binary, however that ends. exited is closed when it has
// ended and was waited for.
func Spawn(cmd *exec.Cmd) (exited <-chan struct{}, err error) {
	done := make(chan struct{})
	return done, startAndWait(cmd, done)
}

// startAndWait starts cmd and closes exited when it has ended. One goroutine does both, on a
// thread of its own: the kernel ends the child when the thread that started it ends (see
// DieWithParent), so the thread must live as long as the child.
func startAndWait(cmd *exec.Cmd, exited chan<- struct{}) error {
	DieWithParent(cmd)
	started := make(chan error)
	go func() {
		defer close(exited)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed on purpose more often than not
		}
	}()
	return <-started
}

// awaitReady asks over the unix socket, which is this process's own: on the port another server
// might answer while ours is about to find it taken. The server opens its port first.
func (p *process) awaitReady(exited <-chan struct{}) error {
	deadline := time.NewTimer(readyWithin)
	defer deadline.Stop()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for {
		if p.answersPing() {
			return nil
		}
		select {
		case <-exited:
			return errors.New("the server ended at once")
		case <-deadline.C:
			return fmt.Errorf("no answer to PING within %v", readyWithin)
		case <-poll.C:
		}
	}
}

func (p *process) answersPing() bool {
	conn, err := net.Dial("unix", p.socket())
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	reply := make([]byte, 64)
	n, err := conn.Read(reply)
	// A server that wants a password, or that is a replica without its master, is ready as well.
	return err == nil && (bytes.HasPrefix(reply[:n], []byte("+PONG")) ||
		bytes.HasPrefix(reply[:n], []byte("-NOAUTH")) || bytes.HasPrefix(reply[:n], []byte("-MASTERDOWN")))
}

// alive tells whether the run at hand has not ended.
func (p *process) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v: %w", sig, err)
	}
	return nil
}

func (p *process) wait() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exited
}

// kill ends the run at hand as a crash would, and waits for its end.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL) // it fails only for a process that has ended
	<-p.wait()
}

// stop ends the run at hand in order, and as a crash when that takes too long.
func (p *process) stop() {
	_ = p.signal(syscall.SIGCONT) // a paused process does not hear SIGTERM
	_ = p.signal(syscall.SIGTERM)
	select {
	case <-p.wait():
	case <-time.After(stopWithin):
		p.kill()
	}
}

// remove stops the server for good.
func (p *process) remove() error {
	p.stop()
	return os.RemoveAll(p.dir)
}
