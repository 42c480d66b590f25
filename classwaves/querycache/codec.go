package querycache

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// codec compresses values and bounds what they become again. It is safe for concurrent use, and
// needs no close: it has no goroutines and no stream.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
	max int
}

func newCodec(maxValue int) (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, fmt.Errorf("query cache: make the compressor: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(uint64(max(maxValue, 1))), zstd.WithDecoderConcurrency(0))
	if err != nil {
		return nil, fmt.Errorf("query cache: make the decompressor: %w", err)
	}
	return &codec{enc, dec, maxValue}, nil
}

// pack sets an envelope's payload to the value, compressed where that is wanted and pays.
func (c *codec) pack(e *envelope, t Type, value []byte) {
	e.size, e.payload, e.compressed = len(value), value, false
	if !t.Compress || len(value) <= compressFrom {
		return
	}
	if packed := c.enc.EncodeAll(value, make([]byte, 0, len(value)/2)); len(packed) < len(value) {
		e.payload, e.compressed = packed, true
	}
}

// unpack gives an envelope's value. It allocates no more than the largest value, whatever the
// envelope claims.
func (c *codec) unpack(e *envelope) ([]byte, error) {
	if e.size > c.max {
		return nil, errCorrupt
	}
	if !e.compressed {
		return e.payload, nil
	}
	value, err := c.dec.DecodeAll(e.payload, make([]byte, 0, e.size))
	if err != nil || len(value) != e.size {
		return nil, errCorrupt
	}
	return value, nil
}
