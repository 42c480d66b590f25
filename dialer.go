package rekey

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/classwaves/rekey/internal/intercept"
)

// DialFunc opens a connection to a server. It is the Dialer of go-redis and the DialContext of
// redigo.
type DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// The timeouts with which a nil base dials: those of go-redis.
const (
	dialTimeout   = 5 * time.Second
	dialKeepAlive = 5 * time.Minute
)

// Dialer returns a dialer whose connections follow the instance's phases. base opens the
// connections under them; nil dials TCP or a unix socket.
//
// A client that finds its server by Sentinel dials the sentinels with it too; what it asks them passes.
//
// go-redis does not apply its TLSConfig to the connections of a custom dialer, so for TLS the base
// is its own: r.Dialer(redis.NewDialer(opt)). redigo would speak TLS over what the dialer gives, where rekey could read
// no command: let the base do it, r.Dialer((&tls.Dialer{Config: config}).DialContext), with redis:// and without
// DialUseTLS.
func (r *Rekey) Dialer(base DialFunc) DialFunc {
	if base == nil {
		base = (&net.Dialer{Timeout: dialTimeout, KeepAlive: dialKeepAlive}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return r.dial(ctx, func(ctx context.Context) (net.Conn, error) { return base(ctx, network, addr) })
	}
}

// DialCtxFn returns the same for rueidis, as ClientOption.DialCtxFn. An address that begins with
// "/" is a unix socket.
func (r *Rekey) DialCtxFn() func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	return func(ctx context.Context, addr string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
		network := "tcp"
		if strings.HasPrefix(addr, "/") {
			network = "unix"
		}
		if dialer == nil {
			dialer = &net.Dialer{Timeout: dialTimeout}
		}
		return r.dial(ctx, func(ctx context.Context) (net.Conn, error) {
			if config != nil {
				return (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, network, addr)
			}
			return dialer.DialContext(ctx, network, addr)
		})
	}
}

// dial opens a connection and puts a session on it.
func (r *Rekey) dial(ctx context.Context, open func(context.Context) (net.Conn, error)) (net.Conn, error) {
	if r.ctx.Err() != nil {
		return nil, ErrClosed
	}
	base, err := open(ctx)
	if err != nil {
		return nil, fmt.Errorf("rekey: dial: %w", err)
	}
	live, hooks := &liveConn{open: open}, intercept.Hooks{
		Closed: r.conns.closed,
		Unblock: func(ctx context.Context, c *intercept.Conn) error {
			id, login := c.Identity()
			_, err := unblock(ctx, open, login, id, "ERROR")
			return err
		},
	}
	if r.agent != nil {
		hooks.Admit = func(id int64) error { return r.admit(live, id) }
	}
	conn := intercept.NewConn(base, r.rules, hooks)
	if !r.conns.add(conn, live) {
		_ = conn.Close() // nothing was sent on it
		return nil, ErrClosed
	}
	r.tellObserver()
	return conn.Net(), nil
}
