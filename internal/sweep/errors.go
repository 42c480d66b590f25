package sweep

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ServerError is a server that cannot be reached or refuses a command that the sweep cannot do without. What the sweep
// had done stays done; it can be started again at any time.
type ServerError struct {
	Command string // what was refused, or could not be sent
	Code    string // the first word of the server's error; "" if there was no answer
	Err     error
}

// StoppedError is a sweep whose context was done before it came to its end.
type StoppedError struct {
	Kind             Kind
	Rule             string
	Matched, Changed int64
	GoesOn           bool  // it goes on from its checkpoint when it is started again
	Err              error // the context's cause
}

func (e *StoppedError) Error() string {
	again := "it begins anew"
	if e.GoesOn {
		again = "it goes on from there"
	}
	return fmt.Sprintf("rekey: %v of rule %q was stopped after %d keys, %d changed; start it again, %s", e.Kind, e.Rule, e.Matched, e.Changed, again)
}

func (e *StoppedError) Unwrap() error { return e.Err }

// next is what to do about an error, by its first word.
var next = map[string]string{
	"":            "see that the server runs and can be reached, then start the sweep again",
	"NOPERM":      "give the sweep's user this command and the names of both templates, as `rekey plan --acl` prints them",
	"NOAUTH":      "give a user and a password in the server's URL",
	"WRONGPASS":   "correct the user and the password in the server's URL",
	"OOM":         "the server's memory is full: raise maxmemory or free some, then start the sweep again",
	"READONLY":    "this server is a replica: name its primary, then start the sweep again",
	"LOADING":     "the server loads its data: wait until it has, then start the sweep again",
	"BUSY":        "a script keeps the server busy: wait for it or end it with SCRIPT KILL, then start the sweep again",
	"MISCONF":     "the server cannot save its data and takes no writes: mend that, then start the sweep again",
	"NOREPLICAS":  "the server wants more replicas for a write: bring them back, then start the sweep again",
	"MASTERDOWN":  "this server is a replica without its primary: name the primary, then start the sweep again",
	"CLUSTERDOWN": "a cluster is not supported yet: name a single server or a Sentinel group",
	"MOVED":       "a cluster is not supported yet: name a single server or a Sentinel group",
	"ERR":         "see whether the server is of version 6.2 or newer and has this command, then start the sweep again",
}

func (e *ServerError) Error() string {
	what := "was refused by the server"
	if e.Code == "" {
		what = "got no answer"
	}
	hint := next[e.Code]
	if hint == "" {
		hint = "start the sweep again when the server takes it"
	}
	return fmt.Sprintf("rekey: %s %s: %v; %s", e.Command, what, e.Err, hint)
}

func (e *ServerError) Unwrap() error { return e.Err }

// serverError names the command in an error of the client. nil and a nil reply are no errors.
func serverError(command string, err error) error {
	if err == nil || errors.Is(err, redis.Nil) {
		return nil
	}
	return &ServerError{Command: command, Code: code(err), Err: err}
}

// silent reports whether an error is that of a command without an answer.
func silent(err error) bool {
	var refused *ServerError
	return errors.As(err, &refused) && refused.Code == ""
}

// code is the first word of a server's error, "" for an error of the connection.
func code(err error) string {
	var answered redis.Error
	if !errors.As(err, &answered) {
		return ""
	}
	word, _, _ := strings.Cut(answered.Error(), " ")
	return word
}

// unknownCommand reports whether the server has no such command: some are renamed away, and an embedded server has few.
func unknownCommand(err error) bool {
	var answered redis.Error // what a ServerError says itself begins with the command
	return errors.As(err, &answered) && strings.HasPrefix(strings.ToLower(answered.Error()), "err unknown")
}
