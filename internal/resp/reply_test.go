package resp

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// replies are values with the bytes behind them; err is part of a refusal's reason.
var replies = []struct {
	in   string
	rest int
	err  string
}{
	{in: "+OK\r\n"}, {in: "+\r\n"}, {in: "+a\rb\r\n"}, {in: "+OK\r\n+OK\r\n", rest: 5},
	{in: "-ERR no\r\n"}, {in: ":0\r\n"}, {in: ":-9223372036854775808\r\n"}, {in: ":+5\r\n"},
	{in: "$0\r\n\r\n"}, {in: "$-1\r\n"}, {in: "$4\r\na\r\nb\r\n"}, {in: "$1\r\n\n\r\n"},
	{in: "*0\r\n"}, {in: "*-1\r\n"}, {in: "*2\r\n:1\r\n*1\r\n$1\r\na\r\n"}, {in: "*1\r\n*1\r\n*0\r\n:1\r\n", rest: 4},
	{in: "_\r\n"}, {in: "#t\r\n"}, {in: "#f\r\n"}, {in: ",1.5\r\n"}, {in: ",inf\r\n"}, {in: "(123456789012345678901234567890\r\n"},
	{in: "!5\r\nERR x\r\n"}, {in: "=5\r\ntxt:a\r\n"}, {in: "%1\r\n+a\r\n:1\r\n"}, {in: "%0\r\n"}, {in: "~2\r\n:1\r\n:2\r\n"},
	{in: ">2\r\n+message\r\n+a\r\n"},
	{in: "|1\r\n+ttl\r\n:1\r\n:2\r\n"}, {in: "|1\r\n+ttl\r\n:1\r\n:2\r\n:3\r\n", rest: 4},
	{in: "*2\r\n|1\r\n+ttl\r\n:1\r\n:2\r\n:3\r\n:4\r\n", rest: 4}, {in: "|1\r\n|1\r\n+a\r\n+b\r\n+c\r\n+d\r\n+e\r\n"},
	{in: strings.Repeat("*1\r\n", MaxDepth) + ":1\r\n"},
	{in: strings.Repeat("*2\r\n:1\r\n", MaxDepth) + ":1\r\n"},

	{in: "x\r\n", err: "unknown type byte 'x'"}, {in: "\r\n", err: "unknown type byte"}, {in: "\x00", err: "unknown type byte"},
	{in: ";1\r\na\r\n", err: "unknown type byte ';'"}, {in: ".\r\n", err: "unknown type byte '.'"},
	{in: "$?\r\n", err: "streamed"}, {in: "*?\r\n", err: "streamed"}, {in: "%?\r\n", err: "streamed"},
	{in: "+OK\n", err: "carriage return"}, {in: "+O\nK\r\n", err: "carriage return"}, {in: ":1\n", err: "carriage return"}, {in: "+\n", err: "carriage return"},
	{in: "$\r\n", err: "length"}, {in: "$-2\r\n", err: "length"}, {in: "$01\r\n", err: "length"}, {in: "$+1\r\n", err: "length"},
	{in: "$1099511627777\r\n", err: "over the limit"}, {in: "*4294967296\r\n", err: "over the limit"}, {in: "%4294967296\r\n", err: "over the limit"},
	{in: "*9223372036854775808\r\n", err: "length"}, {in: "%-1\r\n", err: "length"}, {in: "~-1\r\n", err: "length"}, {in: "!-1\r\n", err: "length"}, {in: "|-1\r\n", err: "length"},
	{in: ":\r\n", err: "integer"}, {in: ":1 \r\n", err: "integer"}, {in: ":+-1\r\n", err: "integer"}, {in: ":+\r\n", err: "integer"}, {in: ":9223372036854775808\r\n", err: "integer"},
	{in: ":0000000000000000000000000001\r\n", err: "a line of more"},
	{in: ":5\rX:1\r\n", err: "integer"}, {in: "$3\rXabc\r\n", err: "length"},
	{in: "#\r\n", err: "boolean"}, {in: "#x\r\n", err: "boolean"}, {in: "_x\r\n", err: "null"},
	{in: "$1\r\nab\r\n", err: "line end"}, {in: "$1\r\na\rb", err: "line end"}, {in: "$0\r\nx", err: "line end"},
	{in: strings.Repeat("*1\r\n", MaxDepth+1) + ":1\r\n", err: "aggregates inside"},
	{in: strings.Repeat("|1\r\n", MaxDepth+1), err: "aggregates inside"},
}

func TestReplies(t *testing.T) {
	for _, c := range replies {
		v, n, err := Parse([]byte(c.in))
		checkReply(t, "Parse "+short(c.in), n, err, len(c.in)-c.rest, c.err)
		if err == nil && !strings.Contains(c.in, "|") { // attributes one after the other are written as one
			if got := v.Append(nil); string(got) != c.in[:n] {
				t.Errorf("%s: written anew %q", short(c.in), got)
			}
		}

		var s Skipper
		skipped, done, err := s.Skip([]byte(c.in))
		if !done {
			skipped = 0
		}
		checkReply(t, "Skip "+short(c.in), skipped, err, len(c.in)-c.rest, c.err)
	}
}

func checkReply(t *testing.T, what string, n int, err error, wantN int, wantErr string) {
	t.Helper()
	var frame *FrameError
	switch {
	case wantErr == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case wantErr != "" && (!errors.As(err, &frame) || !strings.Contains(err.Error(), wantErr)):
		t.Errorf("%s: got error %v, want one with %q", what, err, wantErr)
	case wantErr == "" && n != wantN:
		t.Errorf("%s: got %d bytes, want %d", what, n, wantN)
	case wantErr != "" && n != 0:
		t.Errorf("%s: got %d bytes with an error", what, n)
	}
}

func TestRepliesSplitAtEveryByte(t *testing.T) {
	for _, c := range replies {
		for cut := range len(c.in) {
			var s Skipper
			first, done, err := s.Skip([]byte(c.in[:cut]))
			if !done && err == nil {
				if first != cut {
					t.Fatalf("%s cut at %d: %d bytes consumed of a value that goes on", short(c.in), cut, first)
				}
				var n int
				n, done, err = s.Skip([]byte(c.in[cut:]))
				first += n
			}
			if (err == nil) != (c.err == "") || done != (err == nil) || done && first != len(c.in)-c.rest {
				t.Fatalf("%s cut at %d: %d bytes, %v, %v", short(c.in), cut, first, done, err)
			}
			if done && !s.Idle() {
				t.Fatalf("%s cut at %d: not idle at the end", short(c.in), cut)
			}
			if _, n, err := Parse([]byte(c.in[:cut])); c.err == "" && cut < len(c.in)-c.rest && (n != 0 || err != nil) {
				t.Fatalf("%s: Parse of the first %d bytes: %d bytes, %v, want incomplete", short(c.in), cut, n, err)
			}
		}
	}
}

func TestParseValues(t *testing.T) {
	for in, want := range map[string]Value{
		":-7\r\n":                          {Type: ':', Str: []byte("-7"), Int: -7},
		"#t\r\n":                           {Type: '#', Str: []byte("t"), Int: 1},
		"_\r\n":                            {Type: '_', Null: true},
		"*-1\r\n":                          {Type: '*', Null: true},
		"$-1\r\n":                          {Type: '$', Null: true},
		"$0\r\n\r\n":                       {Type: '$', Str: []byte{}},
		"=5\r\ntxt:a\r\n":                  {Type: '=', Str: []byte("txt:a")},
		"%1\r\n+a\r\n:1\r\n":               {Type: '%', Elems: []Value{{Type: '+', Str: []byte("a")}, {Type: ':', Str: []byte("1"), Int: 1}}},
		"|1\r\n+a\r\n+b\r\n|0\r\n,1.5\r\n": {Type: ',', Str: []byte("1.5"), Attr: []Value{{Type: '+', Str: []byte("a")}, {Type: '+', Str: []byte("b")}}},
	} {
		got, _, err := Parse([]byte(in))
		if err != nil || fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
			t.Errorf("%q: got %#v, %v, want %#v", in, got, err, want)
		}
	}
}

func TestReadHeader(t *testing.T) {
	for in, want := range map[string]Header{
		"$12\r\nabc":  {Type: '$', N: 12, Line: []byte("12")},
		"*-1\r\n":     {Type: '*', N: -1, Line: []byte("-1")},
		"%3\r\n":      {Type: '%', N: 3, Line: []byte("3")},
		":-5\r\n":     {Type: ':', N: -5, Line: []byte("-5")},
		"_\r\n":       {Type: '_', N: -1, Line: []byte{}},
		"-ERR no\r\n": {Type: '-', Line: []byte("ERR no")},
	} {
		h, n, err := ReadHeader([]byte(in))
		if err != nil || fmt.Sprintf("%#v", h) != fmt.Sprintf("%#v", want) || n != strings.Index(in, "\n")+1 {
			t.Errorf("%q: got %+v, %d bytes, %v, want %+v", in, h, n, err, want)
		}
		if _, n, err := ReadHeader([]byte(in[:strings.Index(in, "\n")])); n != 0 || err != nil {
			t.Errorf("%q without its newline: got %d bytes, %v, want incomplete", in, n, err)
		}
	}
	long := append([]byte{'+'}, bytes.Repeat([]byte("x"), MaxText+2)...)
	if _, _, err := ReadHeader(long); err == nil {
		t.Error("a line over the limit is not refused")
	}
	fits := append(long[:1+MaxText:1+MaxText], "\r\n"...)
	if _, n, err := ReadHeader(fits); n != len(fits) || err != nil {
		t.Errorf("a line at the limit: %d bytes of %d, %v", n, len(fits), err)
	}
}

// A reply of any size passes through a Skipper that holds none of it, and a line of MONITOR is
// longer than any that is read whole.
func TestSkipperHoldsNothing(t *testing.T) {
	var s Skipper
	var nested []byte
	nested = AppendArrayHeader(nested, 2)
	nested = AppendArrayHeader(nested, 1)
	nested = AppendInt(nested, 1)
	nested = AppendBulk(nested, make([]byte, 1<<20))
	line := AppendSimple(nil, strings.Repeat("x", 4*MaxText))
	skip := func() {
		for _, in := range [][]byte{nested, line} {
			n := 0
			for done := false; !done; {
				took, ended, err := s.Skip(in[n:min(n+4096, len(in))])
				if err != nil {
					t.Fatal(err)
				}
				n, done = n+took, ended
			}
			if n != len(in) {
				t.Fatalf("got %d bytes, want %d", n, len(in))
			}
		}
	}
	if got := testing.AllocsPerRun(10, skip); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

// What a header announces is not allocated before it is there.
func TestParseTrustsNoCount(t *testing.T) {
	in := []byte("*4294967295\r\n:1\r\n")
	if got := testing.AllocsPerRun(10, func() { _, _, _ = Parse(in) }); got > 3 {
		t.Errorf("got %v allocations", got)
	}
	many := bytes.Repeat([]byte(":1\r\n"), MaxParsed)
	if _, _, err := Parse(append([]byte(fmt.Sprintf("*%d\r\n", MaxParsed)), many...)); err == nil {
		t.Error("a value of more parts than MaxParsed is not refused")
	}
}

func TestSkipperKeepsItsErrorUntilReset(t *testing.T) {
	var s Skipper
	_, _, first := s.Skip([]byte("*1\r\nx"))
	_, done, second := s.Skip([]byte(":1\r\n"))
	if first == nil || first != second || done {
		t.Errorf("got %v, then %v, want the same error twice", first, second)
	}
	s.Reset()
	if n, done, err := s.Skip([]byte(":1\r\n")); n != 4 || !done || err != nil {
		t.Errorf("after Reset: %d bytes, %v, %v", n, done, err)
	}
}

func TestAppend(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{string(AppendCommand(nil, []byte("GET"), nil)), "*2\r\n$3\r\nGET\r\n$0\r\n\r\n"},
		{string(AppendError(nil, "ERR a\r\n+OK")), "-ERR a  +OK\r\n"},
		{string(AppendSimple([]byte("x"), "OK\n")), "x+OK \r\n"},
		{string(AppendInt(nil, -12)), ":-12\r\n"},
		{string(AppendNull(nil, 2)) + string(AppendNull(nil, 3)), "$-1\r\n_\r\n"},
		{string(AppendNullArray(nil, 2)) + string(AppendNullArray(nil, 3)), "*-1\r\n_\r\n"},
		{string(AppendMapHeader(nil, 2, 2)) + string(AppendMapHeader(nil, 2, 3)), "*4\r\n%2\r\n"},
		{string(AppendSetHeader(nil, 2, 2)) + string(AppendSetHeader(nil, 2, 3)), "*2\r\n~2\r\n"},
		{string(AppendPushHeader(nil, 2, 2)) + string(AppendPushHeader(nil, 2, 3)), "*2\r\n>2\r\n"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
