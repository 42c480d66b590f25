package querycache

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"time"
)

// magic begins every entry that this package writes. The old release wrote JSON, and no JSON text
// begins with a NUL.
const magic = "\x00cq1"

// What an envelope may say of itself. Any other bit is a format that is not known here.
const (
	flagCompressed = 1 << iota // the payload is one zstd frame
	flagVersioned              // written with epochs on: the versions are those of all its tags
	flagsKnown     = flagCompressed | flagVersioned
)

const (
	sumAt   = len(magic)  // CRC-32C of the entry's name and of all that follows the sum
	bodyAt  = sumAt + 4   // flags, then the rest
	minSize = bodyAt + 12 // flags, time, lifetime, size, number of tags

	// maxLifetime is beyond any TTL and far from where a duration would overflow.
	maxLifetime = 366 * 24 * time.Hour
)

var (
	errForeign = errors.New("query cache: not an envelope")
	errCorrupt = errors.New("query cache: damaged envelope")
)

// envelope is an entry as it is stored.
//
// The sum is there for damage and for values that got under another name, not against an attacker:
// who can write to this Redis can write any value.
type envelope struct {
	loaded     time.Time     // when the loader began; milliseconds
	lifetime   time.Duration // from loaded on; milliseconds
	versioned  bool
	tags       []tagVersion
	size       int  // of the value, uncompressed
	compressed bool // says how to read payload
	payload    []byte
}

type tagVersion struct {
	tag     string
	version int64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(name string, body []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(name), castagnoli), castagnoli, body)
}

// seal gives the bytes to store under name.
func (e *envelope) seal(name string) []byte {
	b := make([]byte, 0, 64+len(e.tags)*32+len(e.payload))
	b = append(b, magic...)
	b = append(b, 0, 0, 0, 0)
	var flags byte
	if e.compressed {
		flags |= flagCompressed
	}
	if e.versioned {
		flags |= flagVersioned
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(e.loaded.UnixMilli()))
	b = binary.AppendUvarint(b, uint64(e.lifetime.Milliseconds()))
	b = binary.AppendUvarint(b, uint64(e.size))
	b = binary.AppendUvarint(b, uint64(len(e.tags)))
	for _, t := range e.tags {
		b = binary.AppendUvarint(b, uint64(len(t.tag)))
		b = append(b, t.tag...)
		b = binary.AppendUvarint(b, uint64(t.version))
	}
	b = append(b, e.payload...)
	binary.BigEndian.PutUint32(b[sumAt:], sum(name, b[bodyAt:]))
	return b
}

// open reads what is stored under name: errForeign if another program wrote it, errCorrupt if it is
// not what was written. The payload aliases raw.
func open(name string, raw []byte) (e envelope, err error) {
	if !strings.HasPrefix(string(raw[:min(len(raw), len(magic))]), magic) {
		return e, errForeign
	}
	if len(raw) < minSize || binary.BigEndian.Uint32(raw[sumAt:]) != sum(name, raw[bodyAt:]) {
		return e, errCorrupt
	}
	r := reader{rest: raw[bodyAt:]}
	flags := r.bytes(1)[0]
	e.compressed, e.versioned = flags&flagCompressed != 0, flags&flagVersioned != 0
	e.loaded = time.UnixMilli(int64(binary.BigEndian.Uint64(r.bytes(8))))
	e.lifetime = time.Duration(r.number(uint64(maxLifetime.Milliseconds()))) * time.Millisecond
	e.size = int(r.number(1 << 31))
	e.tags = make([]tagVersion, r.number(maxTags))
	for i := range e.tags {
		e.tags[i].tag = string(r.bytes(int(r.number(1 << 16))))
		e.tags[i].version = int64(r.number(1<<63 - 1))
	}
	e.payload = r.rest
	if r.bad || flags&^flagsKnown != 0 || !e.compressed && len(e.payload) != e.size {
		return envelope{}, errCorrupt
	}
	return e, nil
}

// reader takes an envelope apart. After the first thing that does not fit it gives zeros.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) bytes(n int) []byte {
	if r.bad || n > len(r.rest) {
		r.bad = true
		return make([]byte, min(n, 8))
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) number(limit uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	if r.bad || n <= 0 || v > limit {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}
