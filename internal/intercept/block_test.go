package intercept_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
)

// TestPhaseChangesBetweenLookAndTry: a command that is tried again and again finds something, and at
// that moment the phases become such that the server itself may wait. The command must end as any
// other, and the next one on the connection must be sent.
func TestPhaseChangesBetweenLookAndTry(t *testing.T) {
	rules := testRules(t)
	setPhases(rules, phase.Move, phase.Legacy)
	var clock time.Time
	s := intercept.NewSession(rules, func() time.Time { return clock })
	server := &scripted{t: t, s: s, exists: func() string {
		setPhases(rules, phase.Prefixed, phase.Legacy)
		return ":1\r\n"
	}}
	server.client("BLPOP a:q 0", "")
	wake, waits := s.Wake()
	if !waits {
		t.Fatal("the session does not want to try again")
	}
	clock = wake
	if err := s.Tick(); err != nil {
		t.Fatal(err)
	}
	server.serve("*2\r\n$11\r\ncw:test:a:q\r\n$1\r\nv\r\n")
	if got, want := server.toClient, "*2\r\n$3\r\na:q\r\n$1\r\nv\r\n"; got != want {
		t.Fatalf("BLPOP: got %q, want %q", got, want)
	}
	server.client("GET a:k", "$1\r\nw\r\n")
	if got, want := server.toClient, "$1\r\nw\r\n"; got != want {
		t.Errorf("GET after it: got %q, want %q", got, want)
	}
}

// scripted plays the server of a session: it knows what the session asks by itself, finds nothing
// inside MULTI, and answers everything else as it is told.
type scripted struct {
	t        *testing.T
	s        *intercept.Session
	exists   func() string
	info     string // to COMMAND INFO
	queued   int    // commands after MULTI, -1 without
	sent     []string
	toClient string
}

// client sends a command and lets the server answer, with reply where it is not about itself.
func (f *scripted) client(words, reply string) {
	f.t.Helper()
	var args [][]byte
	for w := range strings.FieldsSeq(words) {
		args = append(args, []byte(w))
	}
	f.queued, f.toClient = -1, ""
	if err := f.s.Client(resp.AppendCommand(nil, args...)); err != nil {
		f.t.Fatal(err)
	}
	f.serve(reply)
}

func (f *scripted) serve(reply string) {
	f.t.Helper()
	for {
		toServer, toClient := f.s.Output()
		f.toClient += string(toClient)
		if len(toServer) == 0 {
			return
		}
		var answer strings.Builder
		for len(toServer) > 0 {
			n, args, err := resp.ParseRequest(toServer, nil, resp.Limits{})
			if n == 0 || err != nil {
				f.t.Fatalf("the session sends %q", toServer)
			}
			f.sent = append(f.sent, string(bytes.Join(args, []byte(" "))))
			answer.WriteString(f.answer(strings.ToUpper(string(args[0])), reply))
			toServer = toServer[n:]
		}
		if err := f.s.Server([]byte(answer.String())); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *scripted) answer(name, reply string) string {
	switch {
	case name == "MULTI":
		f.queued = 0
		return "+OK\r\n"
	case name == "EXEC":
		n := f.queued
		f.queued = -1
		return fmt.Sprintf("*%d\r\n%s", n, strings.Repeat("$-1\r\n", n))
	case f.queued >= 0:
		f.queued++
		return "+QUEUED\r\n"
	case name == "CLIENT":
		return ":7\r\n"
	case name == "INFO":
		return "$49\r\nredis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\n"
	case name == "COMMAND":
		return f.info
	case name == "EXISTS":
		return f.exists()
	}
	return reply
}
