package sweep

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// answerTimeout is how long a command may take at least: copying a key with millions of members takes seconds, and
// giving it up would not stop it.
const answerTimeout = time.Minute

// link is the sweep's own connections to one database: those of the client, and one that carries pages.
type link struct {
	database int
	client   *redis.Client
	waits    *waits

	mu     sync.Mutex // guards what follows
	pages  *wire      // nil until it is asked for
	closed bool
}

// newLink takes the options of the caller's client and changes what a sweep wants otherwise: RESP2, so that replies are
// the same on every server; no retries, so that what is counted was done once; and a long timeout.
//
// admit is asked of every connection before it carries a command; nil: none is.
func newLink(base *redis.Client, database int, admit func(context.Context, *redis.Conn) error) *link {
	o := *base.Options()
	o.DB = database
	o.Protocol = 2
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.MaxRetries = -1
	o.ReadTimeout = max(o.ReadTimeout, answerTimeout)
	o.PoolSize, o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = 3, 0, 0, 0
	first := o.OnConnect
	o.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		for _, ask := range []func(context.Context, *redis.Conn) error{first, admit} {
			if ask == nil {
				continue
			}
			if err := ask(ctx, conn); err != nil {
				return err
			}
		}
		// What a sweep reads does not count as used, or cleanup would be fooled by verify. Servers before 7.2 do not have
		// it, and a user may lack the right: then idle times are those of the sweeps, which cleanup says. After any other
		// error the answer is still to come, and would be taken for that to the next command.
		err := conn.Do(ctx, "CLIENT", "NO-TOUCH", "ON").Err()
		if refused := redis.Error(nil); errors.As(err, &refused) {
			return nil
		}
		return err
	}
	return &link{database: database, client: redis.NewClient(&o)}
}

// watched has what waits for an answer noted, from then on.
func (l *link) watched(w *waits) *link {
	l.waits = w
	l.client.AddHook(w)
	return l
}

// wire is the connection that carries pages. It is the walk's alone.
func (l *link) wire(ctx context.Context) (*wire, error) {
	l.mu.Lock()
	w := l.pages
	if w != nil || l.closed {
		l.mu.Unlock()
		if w == nil {
			return nil, serverError("PING", net.ErrClosed)
		}
		return w, nil
	}
	w = newWire(*l.client.Options(), l.waits)
	l.pages = w // before it is open: close must reach it on a server that hangs
	l.mu.Unlock()
	if err := w.open(ctx); err != nil {
		l.mu.Lock()
		l.pages = nil
		l.mu.Unlock()
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// close may be called while the connections are at work: what waits for an answer gets an error.
func (l *link) close() error {
	l.mu.Lock()
	l.closed = true
	w := l.pages
	l.pages = nil
	l.mu.Unlock()
	err := l.client.Close()
	if w != nil {
		err = errors.Join(err, w.close())
	}
	return err
}

// command is one command for a pipeline.
type command []any

func (c command) name() string {
	words := make([]string, 0, 2)
	for i, arg := range c {
		word, ok := arg.(string)
		if i > 1 || !ok || i == 1 && !container(words[0]) {
			break
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// container reports whether a command's second word is part of its name.
func container(word string) bool {
	switch word {
	case "OBJECT", "MEMORY", "XINFO", "CLIENT":
		return true
	default:
		return false
	}
}

// sender is what commands are sent with: a client, or one connection of it.
type sender interface {
	Pipeline() redis.Pipeliner
}

// pipeline sends commands at once and returns their replies. The error is one of the connection; what the server says to
// a command is with its reply.
func pipeline(ctx context.Context, to sender, commands []command) ([]*redis.Cmd, error) {
	if len(commands) == 0 {
		return nil, nil
	}
	pipe := to.Pipeline()
	replies := make([]*redis.Cmd, 0, len(commands))
	for _, c := range commands {
		replies = append(replies, pipe.Do(ctx, c...))
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) && code(err) == "" {
		return nil, serverError(commands[0].name(), err)
	}
	return replies, nil
}

// transaction sends commands in one MULTI/EXEC and returns EXEC's replies, errors among them. done is false if a watched
// key has changed, so that nothing was executed.
//
// MULTI and EXEC are sent as plain words: the client's own transactions keep the server's reason to itself when it
// refuses a command while it is queued.
func transaction(ctx context.Context, to sender, commands []command) (replies []any, done bool, err error) {
	all := make([]command, 0, len(commands)+2)
	all = append(all, command{"MULTI"})
	all = append(all, commands...)
	all = append(all, command{"EXEC"})
	queued, err := pipeline(ctx, to, all)
	if err != nil {
		return nil, false, err
	}
	for i, reply := range queued[:len(queued)-1] {
		if err := serverError(all[i].name(), reply.Err()); err != nil {
			return nil, false, err
		}
	}
	exec := queued[len(queued)-1]
	if errors.Is(exec.Err(), redis.Nil) {
		return nil, false, nil
	}
	replies, err = exec.Slice()
	return replies, err == nil, serverError("EXEC", err)
}

// integer is the number that a command answered with; 0 for nil.
func integer(c command, reply *redis.Cmd) (int64, error) {
	if err := serverError(c.name(), reply.Err()); err != nil {
		return 0, err
	}
	n, _ := reply.Val().(int64) // nil: OBJECT IDLETIME and MEMORY USAGE of a key that is gone
	return n, nil
}
