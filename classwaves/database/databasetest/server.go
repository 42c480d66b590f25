//go:build postgres

package databasetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	readyWithin = 60 * time.Second // from start to the first answer, on a busy machine
	poll        = 20 * time.Millisecond
)

// server is a PostgreSQL server in a directory of its own.
type server struct {
	bin      string // where initdb and postgres are
	dir      string // the socket, and in data the database
	password string // of postgres, the superuser, and of classwaves
	as       *syscall.Credential
	keeper   *exec.Cmd // see run
	held     *os.File  // the keeper's standard input
}

// startServer makes a server and waits until it answers.
func startServer() (*server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "databasetest-") // not t.TempDir: the path of a socket must be short
	if err != nil {
		return nil, fmt.Errorf("make the server's directory: %w", err)
	}
	s := &server{bin: bin, dir: dir, password: fmt.Sprintf("%x", randomBytes()), as: as}
	if err := s.init(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.run(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.do("CREATE ROLE classwaves LOGIN PASSWORD '" + s.password + "'"); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

// binaries finds the newest PostgreSQL of Debian, else the one on the path.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		version := func(path string) int {
			n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // no number: the oldest
			return n
		}
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", fmt.Errorf("no PostgreSQL here, scripts/install-postgres installs it: %w", err)
	}
	return filepath.Dir(path), nil
}

// unprivileged is who runs the server when the test is root, as whom PostgreSQL refuses to run.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("the test runs as root, PostgreSQL does not, and there is no user postgres or nobody to run it")
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }
func (s *server) log() string  { return filepath.Join(s.dir, "log") }

// init makes the files of the database. Nothing waits for the disk: nobody misses them after the
// machine has crashed.
func (s *server) init() error {
	passwordFile := filepath.Join(s.dir, "password")
	if err := os.WriteFile(passwordFile, []byte(s.password), 0o600); err != nil {
		return fmt.Errorf("write the password: %w", err)
	}
	if s.as != nil {
		for _, path := range []string{s.dir, passwordFile} {
			if err := os.Chown(path, int(s.as.Uid), int(s.as.Gid)); err != nil {
				return fmt.Errorf("give the server its directory: %w", err)
			}
		}
	}
	cmd := s.command(filepath.Join(s.bin, "initdb"), "--pgdata", s.data(), "--username", "postgres", "--pwfile", passwordFile,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// keeper runs the server and ends it when its standard input does: when the test asks for it by
// closing it, and also when the test binary is gone, by a panic, a timeout or a kill. In the
// first case the server's files stay, for Restart; in the second nobody is there to remove them.
const keeper = `
"$@" &
read -r word
kill -QUIT $! 2>/dev/null
wait $!
[ "$word" = keep ] || rm -rf -- "$DIR"
`

// run starts the server and returns when it answers. Commits are written before they are acknowledged,
// for a kill that lost the last ones would be no kill of a server that production has; nothing is
// synchronised with the disk, which only the machine's end would show.
func (s *server) run() error {
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the server's log: %w", err)
	}
	defer log.Close()
	input, held, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	defer input.Close()
	cmd := s.command("/bin/sh", "-c", keeper, "keeper", filepath.Join(s.bin, "postgres"), "-D", s.data(),
		"-c", "listen_addresses=", "-c", "unix_socket_directories="+s.dir, "-c", "unix_socket_permissions=0700",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200", "-c", "shared_buffers=32MB")
	cmd.Env = append(os.Environ(), "DIR="+s.dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, log, log
	cmd.SysProcAttr.Setpgid = true // ^C in the terminal is for the test
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start PostgreSQL: %w", err), held.Close())
	}
	s.keeper, s.held = cmd, held
	return s.awaitReady()
}

func (s *server) awaitReady() error {
	deadline := time.Now().Add(readyWithin)
	for {
		err := s.do("SELECT 1")
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(s.log()) // there may be none
			return errors.Join(fmt.Errorf("PostgreSQL does not answer after %v: %w\n%s", readyWithin, err, log), s.remove())
		}
		time.Sleep(poll)
	}
}

// stop ends the server without letting it finish anything, and keeps its files.
func (s *server) stop() error { return s.end("keep\n") }

// remove ends the server, if it runs, and removes its files.
func (s *server) remove() error {
	err := s.end("")
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *server) end(word string) error {
	if s.keeper == nil {
		return nil
	}
	_, err := s.held.WriteString(word)
	err = errors.Join(err, s.held.Close())
	if waitErr := s.keeper.Wait(); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("end PostgreSQL: %w", waitErr))
	}
	s.keeper, s.held = nil, nil
	return err
}

func (s *server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}
