package app

import (
	"crypto/rand"
	"encoding/base64"

	"github.com/classwaves/rekey/classwaves/session"
)

// NewSessionKeys makes a key ring that nobody else has and that ends with the process.
func NewSessionKeys() ([]session.Key, error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	k, err := session.ParseKey("embedded:" + base64.StdEncoding.EncodeToString(secret))
	return []session.Key{k}, err
}
