package proxy

// buffer is what one direction of one client is read into. It is small while little comes, since
// most clients of a pool are idle, and grows with what comes, since every read and write of the
// kernel's costs more than the bytes. It belongs to nobody else.
type buffer struct {
	b     []byte
	small int // reads in succession that a smaller one would have held
}

const (
	minBuffer = 1 << 10
	maxBuffer = 64 << 10
	manySmall = 64
)

// bytes is where to read to.
func (b *buffer) bytes() []byte {
	if b.b == nil {
		b.b = make([]byte, minBuffer)
	}
	return b.b
}

// taken is the n bytes that were read. They stay until the next call of bytes.
func (b *buffer) taken(n int) []byte {
	got := b.b[:n]
	switch {
	case n == len(b.b) && n < maxBuffer:
		b.b, b.small = make([]byte, 4*n), 0
	case n >= len(b.b)/8 || len(b.b) == minBuffer:
		b.small = 0
	default:
		if b.small++; b.small > manySmall {
			b.b, b.small = make([]byte, len(b.b)/4), 0
		}
	}
	return got
}
