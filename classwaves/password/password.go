package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"

	"github.com/classwaves/rekey/classwaves/unavailable"
)

// MaxBytes is the longest password. argon2 takes any, and a request's body has a limit, but nobody
// types this much.
const MaxBytes = 1024

// Defaults of [Config]: what OWASP recommends where RFC 9106's 64 MiB for each login are too much. 19 MiB
// and two passes take a core about 30 ms.
const (
	defaultMemory   = 19 * 1024
	defaultTime     = 2
	defaultParallel = 4
)

const (
	saltBytes   = 16
	hashBytes   = 32
	maxParallel = 1024
)

// ErrTooLong is a password of more than [MaxBytes].
var ErrTooLong = fmt.Errorf("password: longer than %d bytes", MaxBytes)

// Config says how expensive a hash is. The zero value is what production has.
type Config struct {
	// Memory of one hash in KiB, at least 8. 0 is 19456.
	Memory uint32
	// Time is the number of passes over it. 0 is 2.
	Time uint32
	// Parallel is how many hashes are computed at once, on one core each: together they hold Parallel
	// times Memory. 0 is 4, the most is 1024.
	Parallel int
}

// Hasher makes and checks hashes.
type Hasher struct {
	params  params
	allowed int64 // KiB for all hashes that are computed at once
	memory  *semaphore.Weighted
	dummy   string
}

// New makes a Hasher.
func New(c Config) (*Hasher, error) {
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	if c.Time == 0 {
		c.Time = defaultTime
	}
	if c.Parallel == 0 {
		c.Parallel = defaultParallel
	}
	p := params{memory: c.Memory, time: c.Time, threads: 1}
	if err := p.check(); err != nil {
		return nil, err
	}
	if c.Parallel < 0 || c.Parallel > maxParallel {
		return nil, fmt.Errorf("password: Parallel is %d, want 0 to %d", c.Parallel, maxParallel)
	}
	allowed := int64(c.Parallel) * int64(p.memory)
	// Random bytes in the place of a hash: no password is known for it, and none is found.
	dummy := encoded{params: p, salt: randomBytes(saltBytes), hash: randomBytes(hashBytes)}
	return &Hasher{params: p, allowed: allowed, memory: semaphore.NewWeighted(allowed), dummy: dummy.String()}, nil
}

// Hash makes a hash with a salt of its own. An error is [ErrTooLong], or the end of the context while
// waiting for a turn, an unavailable.Error.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if len(password) > MaxBytes {
		return "", ErrTooLong
	}
	e := encoded{params: h.params, salt: randomBytes(saltBytes)}
	hash, err := h.compute(ctx, password, e.params, e.salt, hashBytes)
	if err != nil {
		return "", err
	}
	e.hash = hash
	return e.String(), nil
}

// Check says whether a hash is that of the password. A hash that cannot be read is an error. So is
// the end of the context while waiting for a turn, an unavailable.Error: nothing is known then.
func (h *Hasher) Check(ctx context.Context, hash, password string) (bool, error) {
	e, err := parse(hash)
	if err != nil {
		return false, err
	}
	if len(password) > MaxBytes {
		return false, nil
	}
	got, err := h.compute(ctx, password, e.params, e.salt, len(e.hash))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, e.hash) == 1, nil
}

// Dummy is a hash that no password has. Checked in the place of an unknown user's, it makes that take
// as long as for a known one.
func (h *Hasher) Dummy() string { return h.dummy }

// NeedsRehash says whether a hash was made with less memory, fewer passes or shorter than this Hasher
// would, or cannot be read.
func (h *Hasher) NeedsRehash(hash string) bool {
	e, err := parse(hash)
	return err != nil || e.params.memory < h.params.memory || e.params.time < h.params.time || len(e.hash) < hashBytes || len(e.salt) < saltBytes
}

func (h *Hasher) compute(ctx context.Context, password string, p params, salt []byte, length int) ([]byte, error) {
	memory := min(int64(p.memory), h.allowed) // an old hash may take more than all of it: then it runs alone
	if err := h.memory.Acquire(ctx, memory); err != nil {
		return nil, unavailable.Wrap("wait to hash a password", err)
	}
	defer h.memory.Release(memory)
	return argon2.IDKey([]byte(password), salt, p.time, p.memory, p.threads, uint32(length)), nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}
