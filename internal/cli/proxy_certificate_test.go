package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
)

// writeCertificate writes a certificate with a serial number of its own, and its key.
func writeCertificate(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestProxyCertificateBesideABadPlan: a certificate that is renewed counts from the signal on, whatever is wrong with the
// plan on disk.
func TestProxyCertificateBesideABadPlan(t *testing.T) {
	server := redistest.Shared(t)
	file := planFile(t, fmt.Sprintf(walkPlan, server.URL()))
	cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	writeCertificate(t, cert, key, 1)
	p := startProxy(t, "-f", file, "--phases", "legacy", "--tls-cert", cert, "--tls-key", key)
	for i, text := range []string{"rules: [", fmt.Sprintf(walkPlan, "redis://127.0.0.1:1")} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		writeCertificate(t, cert, key, int64(2+i))
		p.signal(syscall.SIGHUP)
		redistest.WaitFor(t, 20*time.Second, func() bool { return p.serial() == int64(2+i) })
	}
}

// serial is the number of the certificate that the proxy shows.
func (p *proxyProcess) serial() int64 {
	p.t.Helper()
	conn, err := tls.Dial("tcp", p.addr, &tls.Config{InsecureSkipVerify: true}) // its number is looked at
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// TestProxyCertificateBesideAnOpenTransaction: flags that are read again are in force when no command of before is under
// way, and a client may keep its WATCH for as long as it likes. The certificate does not wait for it.
func TestProxyCertificateBesideAnOpenTransaction(t *testing.T) {
	server := redistest.Shared(t)
	dir := t.TempDir()
	cert, key, flags := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "flags")
	if err := os.WriteFile(flags, []byte("CW_CACHE_DUAL_WRITE=0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	writeCertificate(t, cert, key, 1)
	p := startProxy(t, "-f", planFile(t, fmt.Sprintf(walkPlan, server.URL())), "--phases", "flags", "--flags-file", flags, "--tls-cert", cert, "--tls-key", key)
	conn, err := tls.Dial("tcp", p.addr, &tls.Config{InsecureSkipVerify: true}) // a test's
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // its WATCH ends with it
	if _, err := conn.Write([]byte("WATCH secure_session:1\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len("+OK\r\n"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(flags, []byte("CW_CACHE_DUAL_WRITE=1\n"), 0o600); err != nil { // guard
		t.Fatal(err)
	}
	writeCertificate(t, cert, key, 2)
	p.signal(syscall.SIGHUP)
	redistest.WaitFor(t, 20*time.Second, func() bool { return p.serial() == 2 })
}
