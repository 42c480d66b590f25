package app

import (
	"crypto/rand"
	"encoding/base64"

	"github.com/classwaves/rekey/classwaves/session"
)

// newSessionKey makes a key that ends with the process.
func newSessionKey() (session.Key, error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return session.ParseKey("embedded:" + base64.StdEncoding.EncodeToString(secret))
}
