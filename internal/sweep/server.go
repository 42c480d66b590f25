package sweep

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// server is who a server is, as far as a verdict on its data depends on it.
type server struct {
	runID, replicationID string
	replicas             int
}

// identify asks the server. An embedded server does not describe itself; then there is nothing to compare and nobody to
// wait for. A server that would answer and may not is an error.
func identify(ctx context.Context, from interface {
	Do(ctx context.Context, args ...any) *redis.Cmd
}) (s server, err error) {
	for _, section := range []string{"server", "replication"} {
		text, err := from.Do(ctx, "INFO", section).Text()
		if word := code(err); err != nil && (word == "" || word == strings.ToUpper(word) && word != "ERR") {
			return s, serverError("INFO", err)
		}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			switch name {
			case "run_id":
				s.runID = value
			case "master_replid":
				s.replicationID = value
			case "connected_slaves":
				if s.replicas, err = strconv.Atoi(value); err != nil {
					return s, serverError("INFO", err)
				}
			}
		}
	}
	return s, nil
}

// clockOf is the server's time, of a reply to TIME.
func clockOf(reply *redis.Cmd) (time.Time, error) {
	if err := reply.Err(); err != nil {
		return time.Time{}, serverError("TIME", err)
	}
	clock, ok := words(reply.Val())
	if !ok || len(clock) != 2 {
		return time.Time{}, serverError("TIME", errors.New("unexpected answer"))
	}
	now, err := serverTime(clock)
	return now, serverError("TIME", err)
}

// serverTime reads the answer of TIME: seconds and microseconds.
func serverTime(answer []string) (time.Time, error) {
	seconds, err := strconv.ParseInt(answer[0], 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	micros, err := strconv.ParseInt(answer[1], 10, 64)
	return time.Unix(seconds, micros*1000), err
}
