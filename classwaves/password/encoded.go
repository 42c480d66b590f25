package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// params is how expensive a hash is.
type params struct {
	memory  uint32 // KiB
	time    uint32 // passes
	threads uint8
}

// Limits of what a hash may ask for: it comes from the database, and somebody may have written to it.
const (
	maxMemory  = 256 * 1024 // KiB
	maxTime    = 16
	maxThreads = 16
	minSalt    = 8 // bytes, as the others
	minHash    = 16
	maxEither  = 64
	maxText    = 512
)

func (p params) check() error {
	switch {
	case p.threads < 1 || p.threads > maxThreads:
		return fmt.Errorf("password: %d threads, want 1 to %d", p.threads, maxThreads)
	case p.time < 1 || p.time > maxTime:
		return fmt.Errorf("password: Time is %d passes, want 1 to %d", p.time, maxTime)
	case p.memory < 8*uint32(p.threads) || p.memory > maxMemory:
		return fmt.Errorf("password: Memory is %d KiB, want %d to %d", p.memory, 8*uint32(p.threads), maxMemory)
	}
	return nil
}

// encoded is a hash with all that is needed to check it.
type encoded struct {
	params     params
	salt, hash []byte
}

// versionText is the version of argon2 that we compute.
var versionText = fmt.Sprintf("v=%d", argon2.Version)

// text64 is the base64 of the PHC string format: no padding, and nothing left over in the last character, so that a
// hash is written in one way only.
var text64 = base64.RawStdEncoding.Strict()

// String is the PHC string format, which other programs read too:
// $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH.
func (e encoded) String() string {
	return fmt.Sprintf("$argon2id$%s$m=%d,t=%d,p=%d$%s$%s", versionText,
		e.params.memory, e.params.time, e.params.threads, text64.EncodeToString(e.salt), text64.EncodeToString(e.hash))
}

// ErrFormat is a hash that is none of ours. It is not told further: the text may be a password that
// somebody stored in its place.
var ErrFormat = errors.New("password: the hash cannot be read")

func parse(text string) (encoded, error) {
	parts := strings.Split(text, "$")
	if len(text) > maxText || len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != versionText {
		return encoded{}, ErrFormat
	}
	p, err := parseParams(parts[3])
	if err != nil {
		return encoded{}, err
	}
	salt, saltErr := text64.DecodeString(parts[4])
	hash, hashErr := text64.DecodeString(parts[5])
	if saltErr != nil || hashErr != nil || len(salt) < minSalt || len(salt) > maxEither || len(hash) < minHash || len(hash) > maxEither {
		return encoded{}, ErrFormat
	}
	e := encoded{params: p, salt: salt, hash: hash}
	if e.String() != text { // m=+8, m=08, line breaks within base64
		return encoded{}, ErrFormat
	}
	return e, nil
}

func parseParams(text string) (params, error) {
	var values [3]uint64
	fields := strings.Split(text, ",")
	if len(fields) != len(values) {
		return params{}, ErrFormat
	}
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(fields[i], name)
		if !ok {
			return params{}, ErrFormat
		}
		n, err := strconv.ParseUint(digits, 10, 31)
		if err != nil {
			return params{}, ErrFormat
		}
		values[i] = n
	}
	if values[2] > maxThreads {
		return params{}, ErrFormat
	}
	p := params{memory: uint32(values[0]), time: uint32(values[1]), threads: uint8(values[2])}
	if p.check() != nil {
		return params{}, ErrFormat
	}
	return p, nil
}
