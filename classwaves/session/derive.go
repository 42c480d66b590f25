package session

import (
	"crypto/hkdf"
	"crypto/sha256"
)

// Derive gives 32 bytes for another purpose, which tell nothing of the key: signatures of cookies,
// for one. Every process that has the key gets the same ones.
func (k Key) Derive(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, k.secret[:], nil, "classwaves "+purpose, 32)
}
