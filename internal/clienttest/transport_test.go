package clienttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

var dual = stage{phase.Mirror, phase.Dual}

func TestUnixSocket(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Client()
	ctx, k := t.Context(), dual.key("unix")
	must(t, bare.Set(ctx, k, "0", 0).Err())
	r := in(t, dual)

	rdb := goRedis(t, r, server, func(o *redis.Options) { o.Network, o.Addr = "unix", server.Socket() })
	same(t, "go-redis", rdb.Incr(ctx, k).Val(), 1)

	c := ruEidis(t, r, server, func(o *rueidis.ClientOption) { o.InitAddress = []string{server.Socket()} })
	n, err := c.Do(ctx, c.B().Incr().Key(k).Build()).AsInt64()
	must(t, err)
	same(t, "rueidis", n, 2)

	conn, err := redigo.DialContext(ctx, "unix", server.Socket(), redigo.DialContextFunc(r.Dialer(nil)))
	must(t, err)
	defer func() { must(t, conn.Close()) }()
	n, err = redigo.Int64(conn.Do("INCR", k))
	must(t, err)
	same(t, "redigo", n, 3)
	same(t, "both names", bare.MGet(ctx, k, dual.target("unix")).Val(), []any{"3", "3"})
}

func TestTLS(t *testing.T) {
	cert := newCertificate(t)
	addr := freeAddress(t)
	_, port, err := net.SplitHostPort(addr)
	must(t, err)
	server := redistest.Start(t, redistest.WithConfig("tls-port "+port, "tls-cert-file "+cert.file, "tls-key-file "+cert.key,
		"tls-ca-cert-file "+cert.file, "tls-auth-clients no"))
	ctx, k := t.Context(), dual.key("tls")
	must(t, server.Client().Set(ctx, k, "0", 0).Err())
	r := in(t, dual)

	opt := &redis.Options{Addr: addr, TLSConfig: cert.client, MaxRetries: -1}
	opt.Dialer = r.Dialer(redis.NewDialer(opt))
	rdb := redis.NewClient(opt)
	defer func() { must(t, rdb.Close()) }()
	n, err := rdb.Incr(ctx, k).Result()
	must(t, err)
	same(t, "go-redis", n, 1)

	c := ruEidis(t, r, server, func(o *rueidis.ClientOption) {
		o.InitAddress, o.TLSConfig = []string{addr}, cert.client
	})
	n, err = c.Do(ctx, c.B().Incr().Key(k).Build()).AsInt64()
	must(t, err)
	same(t, "rueidis", n, 2)

	// The certificate counts: a client that trusts nobody does not get in.
	refused := &redis.Options{Addr: addr, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12}, MaxRetries: -1}
	refused.Dialer = r.Dialer(redis.NewDialer(refused))
	stranger := redis.NewClient(refused)
	defer func() { must(t, stranger.Close()) }()
	if err := stranger.Ping(ctx).Err(); err == nil {
		t.Error("a client without the certificate got an answer")
	}
}

// certificate is a self-signed one for 127.0.0.1, on disk for the server.
type certificate struct {
	file, key string
	client    *tls.Config
}

func newCertificate(t *testing.T) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	dir := t.TempDir()
	c := certificate{file: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	must(t, os.WriteFile(c.file, certPEM, 0o600))
	must(t, os.WriteFile(c.key, keyPEM, 0o600))
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(certPEM) {
		t.Fatal("the certificate is none")
	}
	c.client = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return c
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, l.Close()) }()
	return fmt.Sprint(l.Addr())
}
