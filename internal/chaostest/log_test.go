package chaostest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/classwaves/rekey/internal/history"
	"github.com/classwaves/rekey/phase"
)

// clock is nanoseconds of the one clock that all processes of a machine share.
func clock() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("chaostest: there is no monotonic clock: " + err.Error())
	}
	return ts.Nano()
}

// line is one line of a process's log. It is written with one system call, so that what was written is there
// whatever becomes of the process: a call before its command is sent, a return after its reply has come.
type line struct {
	At    int64          `json:"t"`
	Work  int            `json:"w"` // which goroutine
	Call  *history.Op    `json:"call,omitempty"`
	Kind  string         `json:"kind,omitempty"`
	Reply *history.Reply `json:"reply,omitempty"` // of the call before
	NotIt bool           `json:"not,omitempty"`   // the call before was certainly not run
	Phase phase.Phase    `json:"phase,omitzero"`  // of the call's rule, when it began
	Step  string         `json:"step,omitempty"`  // of a controller
	Error string         `json:"error,omitempty"` // what a client or the controller got
}

// logbook is a log that is being written.
type logbook struct{ file *os.File }

func openLog(path string) (*logbook, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return &logbook{file}, nil
}

func (l *logbook) write(e line) error {
	e.At = clock()
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode a line of the log: %w", err)
	}
	if _, err := l.file.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	return nil
}

// readLog gives each whole line of a log. The last may be cut off where its process was killed: then the
// command that it was to announce was not sent, or the reply is not known.
func readLog(path string, each func(line) error) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // killed before it wrote
	}
	if err != nil {
		return fmt.Errorf("open a log: %w", err)
	}
	defer func() { _ = file.Close() }() // it was read from
	reader := bufio.NewReaderSize(file, 1<<16)
	for {
		text, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a log: %w", err)
		}
		var l line
		if err := json.Unmarshal(bytes.TrimSpace(text), &l); err != nil {
			return fmt.Errorf("read %q of a log: %w", text, err)
		}
		if err := each(l); err != nil {
			return err
		}
	}
}
