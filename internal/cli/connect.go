package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/plan"
)

// envRedisURL names the server where --redis does not.
const envRedisURL = "REKEY_REDIS_URL"

// loadPlan reads the plan that -f names, in the environment that --env or the plan names.
func (a *app) loadPlan() (*plan.Plan, error) {
	data, err := os.ReadFile(a.file)
	if err != nil {
		return nil, misused("rekey -f FILE, with the path of your plan", "the plan cannot be read: %w", err)
	}
	return plan.Parse(a.file, data, a.lookup, plan.WithEnvironment(a.env))
}

// serverURL returns the server that --redis or the environment names, "" if neither does, and who names it.
func (a *app) serverURL() (u plan.URL, from string, err error) {
	from, text := "--redis", a.redis
	if text == "" {
		from = envRedisURL
		text, _ = a.lookup(envRedisURL)
	}
	if text == "" {
		return "", "", nil
	}
	if u, err = plan.ParseURL(text); err != nil {
		return "", from, misused("--redis redis://127.0.0.1:6379", "%s: %w", from, err)
	}
	return u, from, nil
}

// serverOf is the server of a plan (nil: without one) at the URL that --redis or the environment names, else at the
// plan's own. The URL must be one that the plan could hold itself.
func (a *app) serverOf(p *plan.Plan) (plan.Server, error) {
	u, from, err := a.serverURL()
	if err != nil {
		return plan.Server{}, err
	}
	server := plan.Server{URL: u}
	if p != nil {
		// Sentinels and certificates are those of the plan's own server, whose URL the plan may leave to its reader.
		if u == "" || p.Server.URL == "" || u == p.Server.URL {
			server = p.Server
		}
		server.URL, server.Evicts = cmp.Or(u, p.Server.URL), p.Server.Evicts
	}
	if server.URL == "" {
		return server, misused("--redis redis://127.0.0.1:6379", "no server is named: neither --redis nor %s nor the plan's server.url", envRedisURL)
	}
	if p == nil || u == "" {
		return server, nil
	}
	if db, ok := u.Database(); ok && !slices.Contains(p.Databases, db) {
		return server, misused(fmt.Sprintf("the same URL without its database, or databases: [%d] in %s", db, p.File),
			"%s names database %d, and the rules of %s do not hold there", from, db, p.File)
	}
	if server.TLS != (plan.TLS{}) && !strings.HasPrefix(string(u), "rediss://") {
		return server, misused("rediss:// in the URL, or no tls in "+p.File, "%s has tls and the URL of %s is not encrypted", p.File, from)
	}
	return server, nil
}

// target is the server of one command: where it is, and clients of it.
type target struct {
	url     plan.URL
	options redis.UniversalOptions
	clients []*redis.Client
}

// connect finds the server of a plan (nil: without one) and asks it for a sign of life. The caller
// closes the target.
func (a *app) connect(ctx context.Context, p *plan.Plan) (*target, error) {
	t, err := a.findServer(p)
	if err != nil {
		return nil, err
	}
	if err := t.client(t.options.DB).Ping(ctx).Err(); err != nil {
		return nil, errors.Join(t.unreachable(ctx, err), t.close())
	}
	return t, nil
}

// findServer is the server that the flags or the plan name, without a word to it.
func (a *app) findServer(p *plan.Plan) (*target, error) {
	server, err := a.serverOf(p)
	if err != nil {
		return nil, err
	}
	options, err := fleet.Options(server)
	if err != nil {
		return nil, misused("check server: in the plan, or --redis URL", "%w", err)
	}
	return &target{url: server.URL, options: options}, nil
}

// client opens a client of one database; the target closes it.
func (t *target) client(db int) *redis.Client {
	c := fleet.Client(t.options, db)
	t.clients = append(t.clients, c)
	return c
}

// close closes the clients.
func (t *target) close() error {
	var err error
	for _, c := range t.clients {
		err = errors.Join(err, c.Close())
	}
	t.clients = nil
	return err
}

// unreachable says why there is no talking to the server, without its password.
func (t *target) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := err.Error()
	switch word, _, _ := strings.Cut(text, " "); word {
	case "WRONGPASS", "NOAUTH":
		return failed("--redis "+withLogin(t.url)+", with the user and the password that the server knows", "%s refuses the login: %s", t.url, text)
	case "NOPERM":
		return failed("a user with the right to PING, or ACL SETUSER USER +ping", "%s refuses the user: %s", t.url, text)
	case "LOADING", "BUSY", "MASTERDOWN":
		return failed("the same command again in a moment", "%s is not ready: %s", t.url, text)
	}
	try := pingLine(t.url) + ", from this host; --redis URL names another server"
	encrypted := strings.HasPrefix(string(t.url), "rediss://")
	var network net.Error
	switch {
	case errors.As(err, new(*tls.CertificateVerificationError)):
		try = "server: {tls: {ca: FILE}} in the plan, with the authority that signed the server's certificate, and a host in the URL that the certificate names"
	case encrypted && errors.As(err, new(tls.AlertError)):
		try = "server: {tls: {cert: FILE, key: FILE}} in the plan, if the server wants a certificate of its clients"
	case encrypted && !errors.Is(err, syscall.ECONNREFUSED): // a server without TLS takes the handshake for a command, and waits for its end
		try += "; redis:// in place of rediss://, if it does not speak TLS at this port"
	case !encrypted && errors.Is(err, io.EOF): // a server with TLS takes a command for a broken handshake
		try += "; rediss:// in place of redis://, if it speaks TLS at this port"
	}
	if errors.As(err, &network) && network.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return failed(try, "%s does not answer: %w", t.url, err)
	}
	return failed(try, "%s cannot be reached: %w", t.url, err)
}

// withLogin is a server's URL with a place for the user and the password, for a hint.
func withLogin(server plan.URL) string {
	u, err := url.Parse(string(server))
	if err != nil {
		return "redis://USER:PASSWORD@HOST:6379"
	}
	hint := url.URL{Scheme: u.Scheme, User: url.UserPassword("USER", "PASSWORD"), Host: u.Host, Path: u.Path}
	if db := u.Query().Get("db"); db != "" { // no other parameter: who knows what one holds
		hint.RawQuery = "db=" + url.QueryEscape(db)
	}
	return hint.String()
}

// pingLine is the command that asks a server for a sign of life.
func pingLine(server plan.URL) string {
	if u, err := url.Parse(string(server)); err == nil && u.Scheme == "unix" { // -u takes no socket
		return "redis-cli -s " + shellWord(u.Path) + " ping"
	}
	return fmt.Sprintf("redis-cli -u %s ping", server)
}
