//go:build postgres

package databasetest

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const childVariable = "DATABASETEST_CHILD"

// TestMain is a test binary that starts a server and waits for its end, when it is run as a child of
// the test below.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	s, err := shared()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.dir)
	select {} // until it is killed
}

// However a test binary ends, its server and the files of it are gone: no later run finds them, and no
// machine fills up with them.
func TestTheServerGoesWithTheTestBinary(t *testing.T) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	dir := strings.TrimSpace(line)
	if err == nil {
		_, err = os.Stat(dir)
	}
	if killed := child.Process.Kill(); err != nil || killed != nil {
		t.Fatal(line, err, killed)
	}
	_ = child.Wait() // it was killed
	for deadline := time.Now().Add(readyWithin); ; time.Sleep(poll) {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", dir)
		}
	}
}

// What a test leaves in its server is another test's no more.
func TestDatabasesAreSeparate(t *testing.T) {
	first, second := Postgres(t), Postgres(t)
	if first == second {
		t.Fatal("two tests share a database")
	}
}
