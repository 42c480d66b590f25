package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
)

// Key is a secret of the key ring.
type Key struct {
	id     string
	secret [32]byte
}

// ID names the key in what it sealed.
func (k Key) ID() string { return k.id }

// String gives the key's id alone.
func (k Key) String() string { return "session key " + k.id }

// GoString gives the key's id alone.
func (k Key) GoString() string { return k.String() }

// LogValue gives the key's id alone.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

var keyIDs = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// ParseKey reads "id:base64": a name of up to 32 letters, digits, - and _, and 32 random bytes in
// any of base64's alphabets. Its errors do not show the text.
func ParseKey(text string) (Key, error) {
	id, encoded, ok := strings.Cut(text, ":")
	if !ok || !keyIDs.MatchString(id) {
		return Key{}, fmt.Errorf("%w: a key is written id:base64; make one with: echo k1:$(openssl rand -base64 32)", ErrConfig)
	}
	encoded = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(encoded), "=")
	secret, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil || len(secret) != 32 {
		return Key{}, fmt.Errorf("%w: key %s must be 32 bytes in base64; make one with: openssl rand -base64 32", ErrConfig, id)
	}
	k := Key{id: id}
	copy(k.secret[:], secret)
	return k, nil
}

// ring seals with its first key and opens with each.
type ring struct {
	first string
	aead  map[string]cipher.AEAD
}

func newRing(keys []Key) (*ring, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: no key; give at least one, there is no default secret (echo k1:$(openssl rand -base64 32))", ErrConfig)
	}
	r := &ring{first: keys[0].id, aead: make(map[string]cipher.AEAD, len(keys))}
	for _, k := range keys {
		if k.id == "" || k.secret == [32]byte{} {
			return nil, fmt.Errorf("%w: an empty key", ErrConfig)
		}
		if _, twice := r.aead[k.id]; twice {
			return nil, fmt.Errorf("%w: two keys are called %s", ErrConfig, k.id)
		}
		block, err := aes.NewCipher(k.secret[:])
		if err != nil {
			return nil, fmt.Errorf("%w: key %s: %w", ErrConfig, k.id, err)
		}
		if r.aead[k.id], err = cipher.NewGCM(block); err != nil {
			return nil, fmt.Errorf("%w: key %s: %w", ErrConfig, k.id, err)
		}
	}
	return r, nil
}

// Why something sealed does not open. Each is a label of the integrity counter.
var (
	errFormat   = errors.New("format")   // nothing of ours: the old release's
	errKey      = errors.New("key")      // sealed under a key that is not in the ring
	errTampered = errors.New("tampered") // changed, or moved here from another name
	errContent  = errors.New("content")  // opened, and not what it should be
	errType     = errors.New("type")     // not even a string
)

// sealed is the form of a session in Redis: version, order, last activity in Unix milliseconds, key
// id, and nonce and ciphertext in base64. What stands in the clear is read by the scripts, which
// choose the oldest; it is authenticated with the session id from the key's name, so that neither a
// changed nor a copied value opens.
const (
	sealedVersion = "cw1"
	idVersion     = "cwi1"
)

// sealSession seals a session's content for the key of one id.
func (r *ring) sealSession(id string, order, last int64, content []byte) (string, error) {
	head := sealedVersion + "." + strconv.FormatInt(order, 10) + "." + strconv.FormatInt(last, 10) + "." + r.first + "."
	return r.seal(head, id, content)
}

// openSession is the reverse. keyID is the key that it was sealed with.
func (r *ring) openSession(id, blob string) (content []byte, keyID string, err error) {
	parts := strings.Split(blob, ".")
	if len(parts) != 5 || parts[0] != sealedVersion || !isNumber(parts[1]) || !isNumber(parts[2]) || !keyIDs.MatchString(parts[3]) {
		return nil, "", errFormat
	}
	content, err = r.open(blob[:len(blob)-len(parts[4])], parts[3], parts[4], id)
	return content, parts[3], err
}

// sealID seals a session id for the database.
func (r *ring) sealID(id string) (string, error) {
	return r.seal(idVersion+"."+r.first+".", HashID(id), []byte(id))
}

// openID is the reverse, for the record of that hash.
func (r *ring) openID(hash, sealed string) (string, error) {
	parts := strings.Split(sealed, ".")
	if len(parts) != 3 || parts[0] != idVersion {
		return "", errFormat
	}
	id, err := r.open(sealed[:len(sealed)-len(parts[2])], parts[1], parts[2], hash)
	return string(id), err
}

func (r *ring) seal(head, bound string, content []byte) (string, error) {
	aead := r.aead[r.first]
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(content)+aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return "", fmt.Errorf("session: seal: %w", err)
	}
	box := aead.Seal(nonce, nonce, content, additional(head, bound))
	return head + base64.RawURLEncoding.EncodeToString(box), nil
}

func (r *ring) open(head, keyID, encoded, bound string) ([]byte, error) {
	box, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, errTampered
	}
	aead, known := r.aead[keyID]
	if !known {
		return nil, errKey
	}
	if len(box) < aead.NonceSize() {
		return nil, errTampered
	}
	content, err := aead.Open(nil, box[:aead.NonceSize()], box[aead.NonceSize():], additional(head, bound))
	if err != nil {
		return nil, errTampered
	}
	return content, nil
}

// additional is what is authenticated and not stored: the head holds no zero byte, so the two cannot
// be cut elsewhere.
func additional(head, bound string) []byte { return []byte(head + "\x00" + bound) }

func isNumber(s string) bool {
	if s == "" || len(s) > 16 {
		return false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// HashID is the name under which the database knows a session id.
func HashID(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}
