// Command rekey moves live Redis and Valkey keys to new names. Everything is in internal/cli; this
// file is the process: arguments, streams, environment and signals.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/cli"
)

// silent keeps the Redis client's own log from standard error: what went wrong is in the errors.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func main() {
	redis.SetLogger(silent{})
	// `rekey run | head` ends the reader and not the walk: a write that nobody reads is an error, and kills nobody.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the work in order; a second one ends the process.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.LookupEnv))
}
