package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/pires/go-proxyproto"
)

// Listen says where clients come from. The zero value of a field is as its comment says.
type Listen struct {
	// Address is HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:PATH. Without a scheme it is TLS
	// where there is a certificate.
	Address string
	// Plaintext allows an address that is not loopback without TLS.
	Plaintext bool
	// ProxyProtocol wants a header of PROXY protocol version 2 in front of everything.
	ProxyProtocol bool
	// SocketMode is the mode of a unix socket. Default 0600.
	SocketMode fs.FileMode
}

// ErrExposed says that an address is reachable from other machines, without TLS.
var ErrExposed = errors.New("rekey: without TLS only loopback addresses and unix sockets are listened on: " +
	"whoever reaches the port may read sessions on the way")

// ErrNoCertificate says that TLS was asked for without one.
var ErrNoCertificate = errors.New("rekey: there is no certificate to listen with TLS")

// Check looks for what is wrong with an address, without opening it.
func (l Listen) Check(secure bool) error {
	network, addr, withTLS, err := l.parse(secure)
	switch {
	case err != nil:
		return err
	case withTLS && !secure:
		return fmt.Errorf("%w (%s)", ErrNoCertificate, l.Address)
	case network == "tcp" && !withTLS && !l.Plaintext && !Loopback(addr):
		return fmt.Errorf("%w (%s)", ErrExposed, l.Address)
	}
	return nil
}

// parse takes the address apart.
func (l Listen) parse(secure bool) (network, addr string, withTLS bool, err error) {
	scheme, rest, ok := strings.Cut(l.Address, ":")
	switch {
	case ok && scheme == "unix":
		addr = strings.TrimPrefix(rest, "//")
		if addr == "" {
			return "", "", false, fmt.Errorf("rekey: %s names no socket: write unix:/run/rekey/redis.sock", l.Address)
		}
		return "unix", addr, false, nil
	case ok && strings.HasPrefix(rest, "//") && (scheme == "tcp" || scheme == "tls"):
		addr, withTLS = strings.TrimPrefix(rest, "//"), scheme == "tls"
	default:
		addr, withTLS = l.Address, secure
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return "", "", false, fmt.Errorf("rekey: the address %q is none: write 127.0.0.1:6380, tls://0.0.0.0:6380 or unix:/run/rekey/redis.sock", l.Address)
	}
	return "tcp", addr, withTLS, nil
}

// Loopback says whether only this machine reaches an address.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Open opens the listener. config is nil without TLS.
func (l Listen) Open(config *tls.Config) (net.Listener, error) {
	if err := l.Check(config != nil); err != nil {
		return nil, err
	}
	network, addr, withTLS, err := l.parse(config != nil)
	if err != nil {
		return nil, err
	}
	if network == "unix" {
		if err := removeStale(addr); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen(network, addr)
	if err != nil {
		return nil, fmt.Errorf("rekey: listen: %w", err)
	}
	if network == "unix" {
		mode := l.SocketMode
		if mode == 0 {
			mode = 0o600
		}
		if err := os.Chmod(addr, mode); err != nil {
			return nil, errors.Join(fmt.Errorf("rekey: listen: %w", err), listener.Close())
		}
	}
	if l.ProxyProtocol {
		listener = &proxyproto.Listener{
			Listener: listener, ReadHeaderTimeout: handshakeWithin,
			ConnPolicy:     func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.REQUIRE, nil },
			ValidateHeader: onlyVersion2,
		}
	}
	if withTLS {
		listener = tls.NewListener(listener, config)
	}
	return listener, nil
}

func onlyVersion2(h *proxyproto.Header) error {
	if h.Version != 2 {
		return errors.New("PROXY protocol version 1, where version 2 is wanted")
	}
	return nil
}

// removeStale removes the socket of a process that has ended without removing it.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("rekey: listen: %w", err)
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("rekey: listen: %s exists and is no socket", path)
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = conn.Close() // nothing was sent
		return fmt.Errorf("rekey: listen: another process serves %s", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("rekey: listen: remove the socket of before: %w", err)
	}
	return nil
}
