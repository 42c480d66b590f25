package control

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/classwaves/rekey/internal/command"
	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/plan"
)

// longLine is how much of a line of MONITOR is read; a name is in front of its value.
const longLine = 64 << 10

// recount is how soon the clients are asked for again because of an address that nobody knows.
const recount = 50 * time.Millisecond

// use is what somebody outside did, before it is known who he is.
type use struct{ addr, rule, command string }

// listener sorts what MONITOR says.
type listener struct {
	store *fleet.Store
	plan  *plan.Plan
	who   allowed

	known   map[string][]client // by address, of all times that the clients were asked for
	census  *census
	counted time.Time
	uses    map[use]int
}

// listen counts the commands on legacy names that come from elsewhere, for some time.
func listen(ctx context.Context, store *fleet.Store, p *plan.Plan, seen *census, who allowed, d time.Duration) ([]Use, error) {
	l := &listener{store: store, plan: p, who: who, known: make(map[string][]client), census: seen, uses: make(map[use]int)}
	l.learn(seen)
	conn, stop, err := monitor(ctx, store.Client())
	if err != nil {
		return nil, err
	}
	defer stop()
	until := time.Now().Add(d)
	if err := conn.SetReadDeadline(until); err != nil {
		return nil, fmt.Errorf("rekey: listen to the server's commands: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })() // the read ends with the context
	in := bufio.NewReaderSize(conn, longLine)
	for {
		slice, err := in.ReadSlice('\n')
		line := string(slice) // the slice is of the reader's buffer
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n') // the rest of a long value
		}
		switch {
		case context.Cause(ctx) != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return l.found(ctx)
		case err != nil:
			return nil, fmt.Errorf("rekey: listen to the server's commands: %w", err)
		}
		if err := l.hear(ctx, line); err != nil {
			return nil, err
		}
	}
}

// monitor opens a connection that is greeted as the client's are, and then hears all commands.
func monitor(ctx context.Context, base *redis.Client) (net.Conn, func(), error) {
	o := *base.Options()
	var raw net.Conn
	dial := o.Dialer
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		raw = c
		return c, err
	}
	o.Protocol, o.PoolSize, o.MinIdleConns, o.MaxRetries = 2, 1, 0, -1
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	c := redis.NewClient(&o)
	conn := c.Conn()
	stop := func() { _ = conn.Close(); _ = c.Close() } // nothing is buffered
	if err := conn.Ping(ctx).Err(); err != nil {
		stop()
		return nil, nil, fmt.Errorf("rekey: listen to the server's commands: %w", err)
	}
	// From here on the connection is ours: the client has read all that was answered.
	if _, err := raw.Write([]byte("MONITOR\r\n")); err != nil {
		stop()
		return nil, nil, fmt.Errorf("rekey: listen to the server's commands: %w", err)
	}
	return raw, stop, nil
}

// hear takes one line: +TIME [DB ADDRESS] "command" "argument"...
func (l *listener) hear(ctx context.Context, line string) error {
	if rest, refused := strings.CutPrefix(line, "-"); refused {
		return fmt.Errorf("rekey: listen to the server's commands: %s; give this command's user +monitor", strings.TrimSpace(rest))
	}
	_, rest, ok := strings.Cut(line, " [")
	source, words, ok2 := strings.Cut(rest, "] ")
	if !ok || !ok2 {
		return nil // the OK
	}
	db, addr, _ := strings.Cut(source, " ")
	n, err := strconv.Atoi(db)
	if err != nil || !slices.Contains(l.plan.Databases, n) || addr == "lua" {
		return nil // what a script does was asked for by the command that runs it
	}
	args := unquote(words)
	rules := l.legacyNames(args)
	if len(rules) == 0 {
		return nil
	}
	if len(l.known[addr]) == 0 && time.Since(l.counted) > recount {
		// Asked now, as long as it is connected.
		seen, err := takeCensus(ctx, l.store)
		if err != nil {
			return err
		}
		l.learn(seen)
	}
	name := strings.ToLower(string(args[0]))
	for _, rule := range rules {
		l.uses[use{addr, rule, name}]++
	}
	return nil
}

// learn keeps who has which address.
func (l *listener) learn(seen *census) {
	for _, c := range seen.clients {
		addr := c.Addr
		if path, ok := strings.CutSuffix(addr, ":0"); ok && strings.HasPrefix(path, "/") {
			addr = "unix:" + path
		}
		if !slices.ContainsFunc(l.known[addr], func(k client) bool { return k.ID == c.ID }) {
			l.known[addr] = append(l.known[addr], c)
		}
	}
	for id := range l.census.fleet {
		seen.fleet[id] = true // one that has been admitted was, even if it is closed now
	}
	for id := range l.census.own {
		seen.own[id] = true
	}
	l.census, l.counted = seen, time.Now()
}

// legacyNames are the rules whose legacy names a command uses. Where it is not known which of its words are
// keys all of them may be.
func (l *listener) legacyNames(args [][]byte) (rules []string) {
	if len(args) < 2 {
		return nil
	}
	add := func(word []byte) {
		rule, target := l.plan.Names().Find(word)
		if rule >= 0 && !target && !slices.Contains(rules, l.plan.Rules[rule].Name) {
			rules = append(rules, l.plan.Rules[rule].Name)
		}
	}
	if cmd, ok := command.Lookup(args); ok {
		if keys, err := cmd.Keys(nil, args); err == nil {
			for _, k := range keys {
				add(args[k.Arg])
			}
			return rules
		}
	}
	for _, word := range args[1:] {
		add(word)
	}
	return rules
}

// found says who did what.
func (l *listener) found(ctx context.Context) ([]Use, error) {
	seen, err := takeCensus(ctx, l.store)
	if err != nil {
		return nil, err
	}
	l.learn(seen)
	var out []Use
	for u, times := range l.uses {
		one := Use{Addr: u.addr, Rule: u.rule, Command: u.command, Times: times}
		known := len(l.known[u.addr]) > 0
		inside := known
		for _, c := range l.known[u.addr] { // on a unix socket all have one address
			switch l.census.placeOf(c, l.who) {
			case outside:
				inside, one.Allowed, one.Name, one.User = false, false, c.Name, c.User
			case isAllowed:
				if inside {
					inside, one.Allowed, one.Name, one.User = false, true, c.Name, c.User
				}
			}
		}
		if !known {
			one.Name = "(closed before it could be asked for)"
			one.Allowed = l.who.has(Stranger{Addr: u.addr})
		}
		if !inside {
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Command, b.Command))
	})
	return out, nil
}

// unquote reads the words of a line of MONITOR; the last one may be cut off.
func unquote(line string) (out [][]byte) {
	escapes := map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', 'a': '\a', 'b': '\b'}
	for i := 0; i < len(line); i++ {
		if line[i] != '"' {
			continue
		}
		var word []byte
		for i++; i < len(line) && line[i] != '"'; i++ {
			c := line[i]
			if c == '\\' && i+1 < len(line) {
				i++
				c = line[i]
				if c == 'x' && i+2 < len(line) {
					if n, err := strconv.ParseUint(line[i+1:i+3], 16, 8); err == nil {
						c, i = byte(n), i+2
					}
				} else if e, ok := escapes[c]; ok {
					c = e
				}
			}
			word = append(word, c)
		}
		out = append(out, word)
	}
	return out
}
