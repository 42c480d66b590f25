package resp

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// requests are odd and ordinary requests with their words. Where err is set, the text of the
// server's error. TestRequestsAsTheServerReadsThem sends each to a real server.
var requests = []struct {
	in    string
	words []string // nil: a request without words
	rest  int      // bytes behind the request
	err   string
}{
	{in: "*1\r\n$4\r\nPING\r\n", words: []string{"PING"}},
	{in: "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", words: []string{"ECHO", ""}},
	{in: "*2\r\n$4\r\nECHO\r\n$5\r\na\r\n\x00b\r\n", words: []string{"ECHO", "a\r\n\x00b"}},
	{in: "*1\r\n$4\r\nPING\r\n*1\r\n", words: []string{"PING"}, rest: 4},

	// Nothing to do, and nothing is answered.
	{in: "*0\r\n"}, {in: "*-1\r\n"}, {in: "*-5\r\n"}, {in: "*-9223372036854775808\r\n"},
	{in: "\r\n"}, {in: "\n"}, {in: "  \t\r\n"},

	// What the server does not look at.
	{in: "*1\r\n$4\r\nPINGxy", words: []string{"PING"}},
	{in: "*1\rX$4\r\nPING\r\n", words: []string{"PING"}},
	{in: "*1\r\n$4\rXPING\r\n", words: []string{"PING"}},

	{in: "*\r\n", err: "Protocol error: invalid multibulk length"},
	{in: "*+1\r\n", err: "Protocol error: invalid multibulk length"},
	{in: "*01\r\n", err: "Protocol error: invalid multibulk length"},
	{in: "* 1\r\n", err: "Protocol error: invalid multibulk length"},
	{in: "*-\r\n", err: "Protocol error: invalid multibulk length"},
	{in: "*-0\r\n", err: "Protocol error: invalid multibulk length"},
	{in: "*2147483648\r\n", err: "Protocol error: invalid multibulk length"},
	{in: "*9223372036854775808\r\n", err: "Protocol error: invalid multibulk length"},
	{in: "*-9223372036854775809\r\n", err: "Protocol error: invalid multibulk length"},
	{in: "*99999999999999999999999\r\n", err: "Protocol error: invalid multibulk length"},
	{in: "*2147483647\r\nx\r\n", err: "Protocol error: expected '$', got 'x'"},
	{in: "*1\r\n*1\r\n", err: "Protocol error: expected '$', got '*'"},
	{in: "*1\r\n\r\n", err: "Protocol error: expected '$', got ' '"},
	{in: "*1\r\n\n\r\n", err: "Protocol error: expected '$', got ' '"},
	{in: "*1\r\n\x81\r\n", err: "Protocol error: expected '$', got '\x81'"},
	{in: "*1\r\n$\r\n", err: "Protocol error: invalid bulk length"},
	{in: "*1\r\n$-1\r\n", err: "Protocol error: invalid bulk length"},
	{in: "*1\r\n$04\r\nPING\r\n", err: "Protocol error: invalid bulk length"},
	{in: "*1\r\n$536870913\r\n", err: "Protocol error: invalid bulk length"},
	{in: "*1\r\n$18446744073709551620\r\n", err: "Protocol error: invalid bulk length"},
	{in: "*" + strings.Repeat("1", 70_000), err: "Protocol error: too big mbulk count string"},
	{in: "*1\x00" + strings.Repeat("\r\n", 40_000), err: "Protocol error: too big mbulk count string"},
	{in: "*1\r\n$" + strings.Repeat("1", 70_000), err: "Protocol error: too big bulk count string"},
	{in: "*1\r\n$1\x00" + strings.Repeat("\r\n", 40_000), err: "Protocol error: too big bulk count string"},

	{in: "PING\r\n", words: []string{"PING"}},
	{in: "PING\n", words: []string{"PING"}},
	{in: "PING\r\nPING\r\n", words: []string{"PING"}, rest: 6},
	{in: "  ECHO\t a \r\n", words: []string{"ECHO", "a"}},
	{in: "ECHO a\rb\r\n", words: []string{"ECHO", "a", "b"}},
	{in: "\v\fECHO\v a\r\n", words: []string{"ECHO\v", "a"}},
	{in: "ECHO \"\"\r\n", words: []string{"ECHO", ""}},
	{in: "\"\"\r\n", words: []string{""}},
	{in: "\"ECHO\" 'a b'\r\n", words: []string{"ECHO", "a b"}},
	{in: "EC\"HO\" a\r\n", words: []string{"ECHO", "a"}},
	{in: "ECHO \"\\x41\\xfF\\x4\\xg\\n\\r\\t\\b\\a\\q\\\\\\\"\"\r\n", words: []string{"ECHO", "A\xffx4xg\n\r\t\b\aq\\\""}},
	{in: "ECHO 'a\\'\\n\"'\r\n", words: []string{"ECHO", "a'\\n\""}},
	{in: "ECHO \"a\"\vb\r\n", words: []string{"ECHO", "a", "b"}},
	{in: "ECHO \"a\rb\"\r\n", words: []string{"ECHO", "a\rb"}},
	{in: "ECHO \"a\"b\r\n", err: "Protocol error: unbalanced quotes in request"},
	{in: "ECHO 'a'b\r\n", err: "Protocol error: unbalanced quotes in request"},
	{in: "ECHO \"\r\n", err: "Protocol error: unbalanced quotes in request"},
	{in: "ECHO '\n", err: "Protocol error: unbalanced quotes in request"},
	{in: "ECHO \"\\\"\r\n", err: "Protocol error: unbalanced quotes in request"},
	{in: strings.Repeat("x", 70_000), err: "Protocol error: too big inline request"},
	{in: "PING\x00" + strings.Repeat("\r\n", 40_000), err: "Protocol error: too big inline request"},
}

func short(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%q... (%d bytes)", s[:40], len(s))
	}
	return fmt.Sprintf("%q", s)
}

func TestParseRequest(t *testing.T) {
	for _, c := range requests {
		n, words, err := ParseRequest([]byte(c.in), nil, Limits{})
		checkRequest(t, "ParseRequest "+short(c.in), n, words, err, len(c.in)-c.rest, c.words, c.err)
	}
}

func TestRequestScannerWhole(t *testing.T) {
	for _, c := range requests {
		var s RequestScanner
		_, err := s.Scan([]byte(c.in))
		checkRequest(t, "Scan "+short(c.in), s.Len(), s.Args(nil, []byte(c.in)), err, len(c.in)-c.rest, c.words, c.err)
	}
}

func checkRequest(t *testing.T, what string, n int, words [][]byte, err error, wantN int, want []string, wantErr string) {
	t.Helper()
	if wantErr != "" {
		var protocol *ProtocolError
		if !errors.As(err, &protocol) || protocol.Text != wantErr {
			t.Errorf("%s: got error %v, want %s", what, err, wantErr)
		}
		if n != 0 || len(words) != 0 {
			t.Errorf("%s: got %d bytes and words %q with an error", what, n, words)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if n != wantN {
		t.Errorf("%s: got %d bytes, want %d", what, n, wantN)
	}
	if got := fmt.Sprintf("%q", words); got != fmt.Sprintf("%q", want) {
		t.Errorf("%s: got words %s, want %q", what, got, want)
	}
}

// Every prefix of a request is incomplete, and the two readers agree on each.
func TestRequestSplitAtEveryByte(t *testing.T) {
	for _, c := range requests {
		if len(c.in) > 1000 {
			continue // the long ones have a test of their own
		}
		var s RequestScanner
		for i := range len(c.in) + 1 {
			piece := append([]byte(nil), c.in[:i]...) // another place in memory each time
			n, words, err := ParseRequest(piece, nil, Limits{})
			complete, scanErr := s.Scan(piece)
			if fmt.Sprint(scanErr) != fmt.Sprint(err) || complete != (n > 0) || s.Len() != n {
				t.Fatalf("%s: Scan: %v, %d bytes, %v; ParseRequest: %d bytes, %v", short(string(piece)), complete, s.Len(), scanErr, n, err)
			}
			if n > 0 {
				if got := s.Args(nil, piece); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", words) {
					t.Fatalf("%s: Scan found %q, ParseRequest %q", short(string(piece)), got, words)
				}
			}
			want := len(c.in) - c.rest
			if n > 0 && i < want {
				t.Fatalf("%s: complete after %d bytes of %d", short(c.in), i, want)
			}
			if n > 0 || err != nil {
				break
			}
			if need := s.Need(i); c.err == "" && (need < 1 || i+need > want) {
				t.Fatalf("%s: after %d bytes Need says %d, the request has %d", short(c.in), i, need, want)
			}
		}
	}
}

func TestRequestScannerNeedIsExactInAWord(t *testing.T) {
	in := []byte("*1\r\n$1000\r\n")
	var s RequestScanner
	if _, err := s.Scan(in); err != nil {
		t.Fatal(err)
	}
	if got := s.Need(len(in)); got != 1002 {
		t.Errorf("Need: got %d, want 1002", got)
	}
}

// A scanner looks at each byte a bounded number of times, however small the pieces are. The
// request has long lines, many words and a long word; ParseRequest in its place would look at
// 10^11 bytes.
func TestRequestScannerIsLinear(t *testing.T) {
	const words = 100_000
	var in []byte
	in = AppendArrayHeader(in, words+1)
	for range words {
		in = AppendBulkString(in, "w")
	}
	in = AppendBulk(in, make([]byte, 1<<20))
	var s RequestScanner
	for i := range len(in) {
		if complete, err := s.Scan(in[:i]); complete || err != nil {
			t.Fatalf("after %d bytes of %d: %v, %v", i, len(in), complete, err)
		}
	}
	if complete, err := s.Scan(in); !complete || err != nil {
		t.Fatalf("whole: %v, %v", complete, err)
	}
	if got := len(s.Args(nil, in)); got != words+1 {
		t.Errorf("got %d words, want %d", got, words+1)
	}
	s.Reset()
	if cap(s.words) > keptSpans {
		t.Errorf("room for %d words is kept after Reset", cap(s.words))
	}
}

func TestRequestScannerReadsRequestAfterRequest(t *testing.T) {
	in := []byte("*2\r\n$4\r\nECHO\r\n$1\r\na\r\nECHO b\r\n\r\n*1\r\n$4\r\nPING\r\n")
	var s RequestScanner
	var got []string
	for len(in) > 0 {
		complete, err := s.Scan(in)
		if !complete || err != nil {
			t.Fatalf("%q: %v, %v", in, complete, err)
		}
		got = append(got, fmt.Sprintf("%q", s.Args(nil, in)))
		in = in[s.Len():]
	}
	if want := `["ECHO" "a"] ["ECHO" "b"] [] ["PING"]`; strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, " "), want)
	}
}

func TestRequestScannerKeepsItsError(t *testing.T) {
	var s RequestScanner
	_, first := s.Scan([]byte("*x\r\n"))
	_, second := s.Scan([]byte("*x\r\nPING\r\n"))
	if first == nil || first != second {
		t.Errorf("got %v, then %v, want the same error twice", first, second)
	}
	s.Reset()
	if complete, err := s.Scan([]byte("PING\r\n")); !complete || err != nil {
		t.Errorf("after Reset: %v, %v", complete, err)
	}
}

func TestRequestLimits(t *testing.T) {
	limits := Limits{Args: 2, Bulk: 4, Inline: 10, Request: 30}
	for _, c := range []struct{ in, err string }{
		{"*2\r\n$4\r\nECHO\r\n$4\r\nabcd\r\n", ""},
		{"*3\r\n", errCount.Text},
		{"*1\r\n$5\r\n", errBulk.Text},
		{"ECHO 12345\n", ""},
		{"ECHO 123456\n", errTooBigInline.Text},
		{"ECHO 123456", errTooBigInline.Text},
		{"*1\r\n$000000000000", errTooBigBulk.Text},
	} {
		_, _, err := ParseRequest([]byte(c.in), nil, limits)
		if got := errorText(err); got != c.err {
			t.Errorf("%q: got %q, want %q", c.in, got, c.err)
		}
	}
	limits.Bulk = 100
	if _, _, err := ParseRequest([]byte("*1\r\n$22\r\n"), nil, limits); err != errTooBigRequest {
		t.Errorf("a request of 33 bytes with a limit of 30: got %v, want %v", err, errTooBigRequest)
	}
	if _, _, err := ParseRequest([]byte("*1\r\n$19\r\n"), nil, limits); err != nil {
		t.Errorf("a request of 30 bytes with a limit of 30: %v", err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestParseRequestDoesNotAllocate(t *testing.T) {
	for _, in := range []string{"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", "SET k v\r\n", "*3\r\n$3\r\nSET\r\n$1"} {
		buf := []byte(in)
		args := make([][]byte, 0, 8)
		if got := testing.AllocsPerRun(100, func() { _, args, _ = ParseRequest(buf, args, Limits{}) }); got != 0 {
			t.Errorf("%q: %v allocations, want 0", in, got)
		}
		var s RequestScanner
		scan := func() { s.Scan(buf[:len(buf)-1]); s.Scan(buf); args = s.Args(args, buf); s.Reset() }
		if got := testing.AllocsPerRun(100, scan); in[0] == '*' && got != 0 {
			t.Errorf("scan of %q: %v allocations, want 0", in, got)
		}
	}
}

func TestWordsDoNotReachIntoTheBuffer(t *testing.T) {
	buf := []byte("*2\r\n$1\r\na\r\n$1\r\nb\r\n")
	want := bytes.Clone(buf)
	_, words, err := ParseRequest(buf, nil, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	_ = append(words[0], "overwritten"...)
	if !bytes.Equal(buf, want) {
		t.Errorf("an append to a word changed the buffer: %q", buf)
	}
}

// A long pipeline is read in a time that is proportional to its length: no reader of one line
// looks at the lines behind it.
func TestParseRequestLooksAtOneRequest(t *testing.T) {
	const requests = 200_000
	in := bytes.Repeat([]byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), requests)
	got := 0
	var args [][]byte
	for len(in) > 0 {
		n, words, err := ParseRequest(in, args, Limits{})
		if n == 0 || err != nil {
			t.Fatalf("%d bytes before the end: %d, %v", len(in), n, err)
		}
		in, args = in[n:], words
		got++
	}
	if got != requests {
		t.Errorf("got %d requests, want %d", got, requests)
	}
}
