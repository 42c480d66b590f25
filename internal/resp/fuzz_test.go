package resp

import (
	"bytes"
	"fmt"
	"testing"
)

// fuzzLimits are small, so that the fuzzer reaches them.
var fuzzLimits = Limits{Args: 20, Bulk: 40, Inline: 60, Request: 200}

// FuzzRequest holds that the two readers of requests agree on every input, whole and byte by byte,
// and that words framed anew are read as the same words.
func FuzzRequest(f *testing.F) {
	for _, c := range requests {
		if len(c.in) < 1000 {
			f.Add([]byte(c.in))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		n, words, err := ParseRequest(in, nil, fuzzLimits)
		if n < 0 || n > len(in) || err != nil && (n != 0 || len(words) != 0) {
			t.Fatalf("%q: %d bytes, words %q, %v", in, n, words, err)
		}
		whole := RequestScanner{Limits: fuzzLimits}
		complete, wholeErr := whole.Scan(in)
		if complete != (n > 0) || whole.Len() != n || fmt.Sprint(wholeErr) != fmt.Sprint(err) {
			t.Fatalf("%q: Scan: %v, %d bytes, %v; ParseRequest: %d bytes, %v", in, complete, whole.Len(), wholeErr, n, err)
		}
		sameWords(t, in, whole.Args(nil, in), words)

		pieces := RequestScanner{Limits: fuzzLimits}
		for i := 0; i <= len(in); i++ {
			complete, pieceErr := pieces.Scan(in[:i])
			if (complete || pieceErr != nil) && (pieces.Len() != n || fmt.Sprint(pieceErr) != fmt.Sprint(err)) {
				t.Fatalf("%q: byte by byte: %d bytes, %v; whole: %d bytes, %v", in, pieces.Len(), pieceErr, n, err)
			}
			if complete {
				sameWords(t, in, pieces.Args(nil, in[:i]), words)
			}
			if complete || pieceErr != nil {
				break
			}
			if i == len(in) && (n > 0 || err != nil) {
				t.Fatalf("%q: byte by byte incomplete; whole: %d bytes, %v", in, n, err)
			}
		}

		if len(words) > 0 {
			anew := AppendCommand(nil, words...)
			m, again, err := ParseRequest(anew, nil, Limits{})
			if m != len(anew) || err != nil {
				t.Fatalf("%q: written anew as %q: %d bytes, %v", in, anew, m, err)
			}
			sameWords(t, in, again, words)
		}
	})
}

func sameWords(t *testing.T, in []byte, got, want [][]byte) {
	t.Helper()
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Fatalf("%q: got words %q, want %q", in, got, want)
	}
}

// FuzzReply holds that both readers of replies see the same borders and refuse the same bytes,
// whole and byte by byte, and that a value written anew is the same value.
func FuzzReply(f *testing.F) {
	for _, c := range replies {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, n, err := Parse(in)
		if n < 0 || n > len(in) || err != nil && n != 0 {
			t.Fatalf("%q: Parse: %d bytes, %v", in, n, err)
		}

		var s Skipper
		skipped, done, skipErr := s.Skip(in)
		if done != (n > 0) || done && skipped != n || (skipErr == nil) != (err == nil) {
			t.Fatalf("%q: Skip: %d bytes, %v, %v; Parse: %d bytes, %v", in, skipped, done, skipErr, n, err)
		}

		var pieces Skipper
		for i := range in {
			m, ended, pieceErr := pieces.Skip(in[i : i+1])
			if ended || pieceErr != nil {
				if ended != done || ended && i+1 != skipped || fmt.Sprint(pieceErr) != fmt.Sprint(skipErr) {
					t.Fatalf("%q: byte by byte at %d: %v, %v; whole: %d bytes, %v, %v", in, i, ended, pieceErr, skipped, done, skipErr)
				}
				break
			}
			if m != 1 {
				t.Fatalf("%q: byte %d of a value that goes on was not consumed", in, i)
			}
			if i == len(in)-1 && (done || skipErr != nil) {
				t.Fatalf("%q: byte by byte incomplete; whole: %v, %v", in, done, skipErr)
			}
		}

		if n > 0 {
			anew := v.Append(nil)
			again, m, err := Parse(anew)
			if m != len(anew) || err != nil || fmt.Sprintf("%#v", again) != fmt.Sprintf("%#v", v) {
				t.Fatalf("%q: written anew as %q: %#v, %d bytes, %v", in, anew, again, m, err)
			}
			if !bytes.Contains(in[:n], []byte{'|'}) && !bytes.Equal(anew, in[:n]) {
				t.Fatalf("%q: written anew as %q", in[:n], anew)
			}
		}
	})
}
