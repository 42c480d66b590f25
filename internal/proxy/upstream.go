package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/internal/intercept"
	"github.com/classwaves/rekey/plan"
)

// Upstream is the server of a plan: one, or the primary of a Sentinel group.
type Upstream struct {
	master    string // of a Sentinel group; "": the one at fixed
	fixed     string
	sentinels []string
	tls       atomic.Pointer[tls.Config] // nil without TLS
	primary   atomic.Pointer[string]     // that Sentinel named last
}

// How often the sentinels are asked for the primary, and how long one of them may take.
const (
	askPause  = time.Second
	askWithin = 2 * time.Second
)

// OpenUpstream reads what a plan says of its server. It opens no connection.
func OpenUpstream(server plan.Server) (*Upstream, error) {
	o, err := fleet.Options(server)
	if err != nil {
		return nil, err
	}
	u := &Upstream{master: o.MasterName, fixed: o.Addrs[0]}
	if u.master != "" {
		u.fixed, u.sentinels = "", o.Addrs
	}
	u.tls.Store(o.TLSConfig)
	return u, nil
}

// Reload reads the plan's certificates again.
func (u *Upstream) Reload(server plan.Server) error {
	o, err := fleet.Options(server)
	if err != nil {
		return err
	}
	u.tls.Store(o.TLSConfig)
	return nil
}

// address is where the primary is now, as far as is known.
func (u *Upstream) address(ctx context.Context) (string, error) {
	if u.master == "" {
		return u.fixed, nil
	}
	if known := u.primary.Load(); known != nil {
		return *known, nil
	}
	addr, err := u.ask(ctx)
	if err == nil {
		u.primary.Store(&addr)
	}
	return addr, err
}

// ask asks one sentinel after the other for the primary.
func (u *Upstream) ask(ctx context.Context) (string, error) {
	var failed error
	for _, addr := range u.sentinels {
		found, err := u.askOne(ctx, addr)
		if err == nil {
			return net.JoinHostPort(found[0], found[1]), nil
		}
		failed = errors.Join(failed, fmt.Errorf("sentinel %s: %w", addr, err))
	}
	return "", fmt.Errorf("rekey: no sentinel names the primary of %s: %w", u.master, failed)
}

func (u *Upstream) askOne(ctx context.Context, addr string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	client := redis.NewSentinelClient(&redis.Options{Addr: addr, TLSConfig: u.tls.Load(), MaxRetries: -1, DialerRetries: 1, PoolSize: 1})
	defer func() { _ = client.Close() }() // it was asked, or there is a better error
	found, err := client.GetMasterAddrByName(ctx, u.master).Result()
	if err == nil && len(found) != 2 {
		err = errors.New("it does not know the group")
	}
	return found, err
}

// Follow watches a Sentinel group until ctx ends. told is called with each answer, because a connection that was being
// dialled may come to a primary of before at any time.
func (u *Upstream) Follow(ctx context.Context, told func(primary string)) {
	if u.master == "" {
		return
	}
	tick := time.NewTicker(askPause)
	defer tick.Stop()
	for {
		if addr, err := u.ask(ctx); err == nil { // else it stays with the one that it knows
			u.primary.Store(&addr)
			told(addr)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Base opens a connection under the engine. It has the form of [rekey.DialFunc].
func (u *Upstream) Base(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: dialWithin, KeepAlive: keepAlive}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	config := u.tls.Load()
	if config == nil || network == "unix" {
		return newHandle(conn), nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	config = config.Clone()
	config.ServerName = host
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return newHandle(secure), nil
}

// keepAlive finds a server that has vanished without a word.
const keepAlive = time.Minute

// Dial opens a rewriting connection to the primary; dial is the engine's dialer over Base.
func (u *Upstream) Dial(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error)) (*intercept.Conn, string, error) {
	addr, err := u.address(ctx)
	if err != nil {
		return nil, "", err
	}
	conn, err := dial(ctx, networkOf(addr), addr)
	if err != nil {
		return nil, "", err
	}
	return Rewriting(conn), addr, nil
}

// Rewriting is the connection that a dialer of package rekey gave, as the engine knows it.
func Rewriting(conn net.Conn) *intercept.Conn {
	if c, ok := conn.(interface{ Engine() *intercept.Conn }); ok {
		return c.Engine()
	}
	panic(fmt.Sprintf("proxy: %T is no connection of package rekey's", conn))
}

func networkOf(addr string) string {
	if strings.HasPrefix(addr, "/") {
		return "unix"
	}
	return "tcp"
}

// Ping asks the server for a sign of life. That it wants a login is one.
func (u *Upstream) Ping(ctx context.Context) error {
	addr, err := u.address(ctx)
	if err != nil {
		return err
	}
	conn, err := u.Base(ctx, networkOf(addr), addr)
	if err != nil {
		return fmt.Errorf("rekey: %w", err)
	}
	defer func() { _ = conn.Close() }() // it was asked
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	defer stop()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return fmt.Errorf("rekey: ping: %w", err)
	}
	reply := make([]byte, 64)
	n, err := conn.Read(reply)
	switch text := string(reply[:n]); {
	case err != nil:
		return fmt.Errorf("rekey: ping: %w", err)
	case !strings.HasPrefix(text, "+PONG") && !strings.HasPrefix(text, "-NOAUTH") && !strings.HasPrefix(text, "-NOPERM"):
		return fmt.Errorf("rekey: the server says %s", strings.TrimSpace(text))
	}
	return nil
}

// Stamped makes a connection to the server one that tells when its bytes came, and that an event loop may have.
// [Proxy] wants it below an upstream connection.
func Stamped(conn net.Conn) net.Conn { return newHandle(conn) }

// since is how long ago the server's last bytes came.
func since(up *intercept.Conn) time.Duration {
	h, ok := up.Conn.(*handle)
	if !ok {
		return 0
	}
	return time.Duration(time.Now().UnixNano() - h.came.Load())
}
