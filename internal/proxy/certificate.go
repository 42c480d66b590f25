package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// Certificate is the proxy's own, in files that may be replaced while it runs.
type Certificate struct {
	Cert, Key string
	// ClientCA has the authorities of clients' certificates, which are wanted then.
	ClientCA string

	now atomic.Pointer[tls.Config]
}

// Load reads the files. Connections that are made from then on use what they hold.
func (c *Certificate) Load() error {
	if c.Cert == "" || c.Key == "" {
		return errors.New("rekey: TLS takes both a certificate and its key")
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return fmt.Errorf("rekey: read the proxy's certificate: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if c.ClientCA != "" {
		pem, err := os.ReadFile(c.ClientCA)
		if err != nil {
			return fmt.Errorf("rekey: read the authority of clients: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("rekey: %s holds no certificate in PEM", c.ClientCA)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	c.now.Store(config)
	return nil
}

// Config is a configuration for a listener, which follows Load.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.now.Load(), nil },
	}
}
