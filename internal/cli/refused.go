package cli

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// refusalTries is what to do about a server's refusal, by its first word: the same command again would be refused again.
var refusalTries = map[string]string{
	"NOPERM":      "rekey plan --acl, whose last line gives the user of this command all that it needs",
	"NOAUTH":      "a user and a password in the URL: --redis redis://USER:PASSWORD@HOST:6379",
	"WRONGPASS":   "another user or password in the URL: --redis redis://USER:PASSWORD@HOST:6379",
	"READONLY":    "--redis URL of its primary: this server is a replica",
	"MASTERDOWN":  "--redis URL of its primary: this server is a replica without one",
	"OOM":         "raise maxmemory or free some memory, and then the same command again",
	"LOADING":     "the same command again, when the server has loaded its data",
	"BUSY":        "the same command again, when the script that keeps the server busy has ended, or SCRIPT KILL",
	"MISCONF":     "mend what keeps the server from saving its data (its log says it), and then the same command again",
	"NOREPLICAS":  "the same command again, when the replicas that the server wants for a write are back",
	"CLUSTERDOWN": "--redis URL of a single server or a Sentinel group: a cluster is not supported yet",
	"CROSSSLOT":   "--redis URL of a single server or a Sentinel group: a cluster is not supported yet",
	"MOVED":       "--redis URL of a single server or a Sentinel group: a cluster is not supported yet",
	"WRONGTYPE":   "another control_prefix in the plan, if a program of yours has names under it (rekey inventory shows them), else remove that key",
}

// refused says what to do about a server that refused a command; false: it is no refusal, or none that is known.
func refused(err error) (try string, ok bool) {
	var answered redis.Error
	if !errors.As(err, &answered) || errors.Is(err, redis.Nil) {
		return "", false
	}
	text := strings.ToLower(answered.Error())
	switch {
	case strings.HasPrefix(text, "err unknown command"), strings.HasPrefix(text, "err unknown redis command"):
		return "a server that has this command: rename-command in its configuration takes commands away, and so do some hosts", true
	case strings.HasPrefix(text, "err db index"):
		return "databases: in the plan, with numbers that the server has (databases in its configuration, 0 to 15 by default)", true
	}
	word, _, _ := strings.Cut(answered.Error(), " ")
	try, ok = refusalTries[word]
	return try, ok
}
