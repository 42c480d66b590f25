package app

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/classwaves/httpapi"
	"github.com/classwaves/rekey/classwaves/session"
)

// Config is what a server is started with.
type Config struct {
	// Environment is the plan's: production, staging, development. It is needed.
	Environment string
	// Listen is the address of the server; default 127.0.0.1:8080. Port 0 takes a free one.
	Listen string
	// Redis is the server's URL. Empty: one is embedded, for trying things out, and its keys end with
	// the process.
	Redis string
	// Database is sqlite:PATH or postgres://... Empty: SQLite in memory.
	Database string
	// Phases says where the phases of the migration come from: [rekey.WithFlags] or any other of
	// package rekey. nil: every rule is at legacy.
	Phases rekey.Option
	// Epochs invalidates cached queries by tag versions (CW_CACHE_EPOCHS_ENABLED).
	Epochs bool
	// SessionKeys encrypt login sessions: the first one seals, each opens. They are needed beside a
	// Redis or a database that outlives the process; there is no built-in one.
	SessionKeys []session.Key
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// TrustedOrigins are origins of pages beside the server's own, such as https://teach.example.org.
	TrustedOrigins []string
	// Secure says that browsers reach the server by HTTPS.
	Secure bool
	// Limits of requests; the zero value is what production has.
	Limits httpapi.Limits
	// ShutdownTimeout is how long running requests are waited for; default 10 s.
	ShutdownTimeout time.Duration
	// Logger gets structured logs without identifiers. nil: none.
	Logger *slog.Logger
}

// ErrNoSessionKeys is a server that would seal logins with a key that nobody else has.
var ErrNoSessionKeys = errors.New("classwaves: no session keys: set CW_SESSION_KEYS to one or more of id:base64 of 32 bytes (openssl rand -base64 32), separated by commas; the first one seals")

func (c *Config) check() error {
	if c.Environment == "" {
		return errors.New("classwaves: no environment")
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8080"
	}
	if c.ShutdownTimeout == 0 {
		c.ShutdownTimeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if len(c.SessionKeys) > 0 {
		return nil
	}
	if c.Redis != "" || c.Database != "" {
		return ErrNoSessionKeys
	}
	keys, err := NewSessionKeys()
	c.SessionKeys = keys
	return err
}
