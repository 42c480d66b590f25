package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/classwaves/rekey/plan"
)

// ErrNoServer says that a plan names no server.
var ErrNoServer = errors.New("rekey: the plan names no server; write server: {url: ...} in it")

// Timeouts of the connections that are rekey's own.
const (
	dialTimeout = 5 * time.Second
	ioTimeout   = 30 * time.Second
)

// Options turns a plan's words about its server into go-redis's. Its errors hold no password.
func Options(s plan.Server) (redis.UniversalOptions, error) {
	if s.URL == "" {
		return redis.UniversalOptions{}, ErrNoServer
	}
	single, err := redis.ParseURL(string(s.URL))
	if err != nil { // its text may hold the URL
		return redis.UniversalOptions{}, fmt.Errorf("rekey: the server's URL %s has a parameter that is not known; write only those of go-redis's ParseURL", s.URL)
	}
	o := redis.UniversalOptions{
		Addrs: []string{single.Addr}, Username: single.Username, Password: single.Password, DB: single.DB,
		TLSConfig:   single.TLSConfig,
		DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
		MaxRetries:               -1, // a command that may have run is not sent again in silence
		DialerRetries:            1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if len(s.Sentinel) > 0 {
		host, _, err := net.SplitHostPort(single.Addr)
		if err != nil {
			host = single.Addr
		}
		o.MasterName, o.Addrs = host, s.Sentinel
	}
	if o.TLSConfig != nil {
		o.TLSConfig.ServerName = "" // that of the address which is dialled: the URL's host may be the name of a group
		bare := o.TLSConfig.Clone()
		if err := addTLS(o.TLSConfig, s.TLS); err != nil {
			return redis.UniversalOptions{}, err
		}
		o.Dialer = secureDialer(bare, o.TLSConfig, s.TLS)
	}
	return o, nil
}

// secureDialer dials with the certificates that are in the files then: an instance outlives them. Where there is nothing to
// be had from the files it is those that were loaded.
func secureDialer(bare, loaded *tls.Config, files plan.TLS) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		config := bare.Clone()
		if addTLS(config, files) != nil {
			config = loaded
		}
		return (&tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: config}).DialContext(ctx, network, addr)
	}
}

// addTLS adds the plan's authority and certificate.
func addTLS(c *tls.Config, files plan.TLS) error {
	if files.CA != "" {
		pem, err := os.ReadFile(files.CA)
		if err != nil {
			return fmt.Errorf("rekey: read the certificate authority: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("rekey: %s holds no certificate in PEM", files.CA)
		}
	}
	if files.Cert != "" {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			return fmt.Errorf("rekey: read the certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// ClientName is what rekey's own connections are called on the server, by which an audit for strangers knows
// them.
const ClientName = "rekey"

// Client opens a client of one database. Its connections have [ClientName], as far as their user may say so, and do
// not tell the library's name, which is a right more (CLIENT SETINFO).
func Client(o redis.UniversalOptions, db int) *redis.Client {
	o.DB = db
	o.DisableIdentity = true
	first := o.OnConnect
	o.OnConnect = func(ctx context.Context, cn *redis.Conn) error {
		err := cn.ClientSetName(ctx, ClientName).Err()
		// A user without +client|setname does without. After any other error the reply is still to come, and would be
		// taken for that to the next command.
		if refused := redis.Error(nil); err != nil && !errors.As(err, &refused) {
			return err
		}
		if first == nil {
			return nil
		}
		return first(ctx, cn)
	}
	if o.MasterName != "" {
		return redis.NewFailoverClient(o.Failover())
	}
	simple := o.Simple()
	if strings.HasPrefix(simple.Addr, "/") {
		simple.Network = "unix"
	}
	return redis.NewClient(simple)
}
