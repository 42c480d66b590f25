package resp

import (
	"bytes"
	"testing"
)

func BenchmarkParseRequest(b *testing.B) {
	in := bytes.Repeat([]byte("*3\r\n$3\r\nSET\r\n$10\r\nsession:42\r\n$5\r\nvalue\r\n"), 1000)
	var args [][]byte
	b.SetBytes(int64(len(in) / 1000))
	b.ReportAllocs()
	rest := in
	for b.Loop() {
		if len(rest) == 0 {
			rest = in
		}
		n, words, err := ParseRequest(rest, args, Limits{})
		if err != nil {
			b.Fatal(err)
		}
		rest, args = rest[n:], words
	}
}

func BenchmarkSkip(b *testing.B) {
	in := []byte("*3\r\n$10\r\n0123456789\r\n:12345\r\n*2\r\n$1\r\na\r\n+OK\r\n")
	var s Skipper
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, done, err := s.Skip(in); !done || err != nil {
			b.Fatal(done, err)
		}
	}
}
