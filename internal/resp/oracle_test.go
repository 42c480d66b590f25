package resp_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// The server is the reference for requests: what we read as words is sent twice, as it came and
// framed anew from our words, and the answers must be the same; what we refuse, the server must
// refuse with the same text and a closed connection; what we take for nothing, it must not answer.
func TestRequestsAsTheServerReadsThem(t *testing.T) {
	s := redistest.Shared(t)
	for _, in := range resp.OddRequests() {
		n, words, err := resp.ParseRequest(in, nil, resp.Limits{})
		if err != nil {
			want := string(resp.AppendError(nil, "ERR "+err.Error()))
			if got := untilEnd(t, s.Dial(), in); got != want {
				t.Errorf("%.40q: the server answers %q, we would answer %q", in, got, want)
			}
			continue
		}
		// Inline: Valkey 8.0 takes the request behind a line of blanks for an inline one, whatever it is.
		marker := []byte("ECHO marker\r\n")
		var again []byte
		if len(words) > 0 {
			again = resp.AppendCommand(nil, words...)
		}
		got := untilMarker(t, s.Dial(), append(in[:n:n], marker...))
		want := untilMarker(t, s.Dial(), append(again, marker...))
		if got != want {
			t.Errorf("%.40q: the server answers %q, and %q to our words %q", in, got, want, words)
		}
	}
}

// untilEnd sends a request and reads until the server closes the connection.
func untilEnd(t *testing.T, conn net.Conn, in []byte) string {
	t.Helper()
	send(t, conn, in)
	var got bytes.Buffer
	// What the server had not read when it closed makes a reset of the end; the answer came before.
	if _, err := io.Copy(&got, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%.40q: the server keeps the connection open (%q)", in, got.String())
	}
	return got.String()
}

// untilMarker sends requests, the last of which is ECHO marker, and gives what was answered before.
func untilMarker(t *testing.T, conn net.Conn, in []byte) string {
	t.Helper()
	send(t, conn, in)
	const end = "$6\r\nmarker\r\n"
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.HasSuffix(got, []byte(end)) {
		n, err := conn.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			t.Fatalf("%.40q: %v after %q", in, err, got)
		}
	}
	return string(got[:len(got)-len(end)])
}

func send(t *testing.T, conn net.Conn, in []byte) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(in); err != nil {
		t.Fatalf("%.40q: %v", in, err)
	}
}

// What a server really sends is framed to its last byte by all readers, in both protocols.
func TestRepliesOfTheServer(t *testing.T) {
	s := redistest.Shared(t)
	for _, proto := range []string{"2", "3"} {
		conn := s.Conn()
		conn.Do("HELLO", proto)
		for _, words := range [][]string{
			{"PING"}, {"NOSUCH"}, {"GET", "missing"}, {"SET", "s", "a\r\nb"}, {"GET", "s"}, {"INCR", "n"},
			{"HSET", "h", "f", "v"}, {"HGETALL", "h"}, {"HGETALL", "missing"}, {"SADD", "set", "a", "b"}, {"SMEMBERS", "set"},
			{"ZADD", "z", "1.5", "a", "+inf", "b"}, {"ZRANGE", "z", "0", "-1", "WITHSCORES"}, {"ZSCORE", "z", "b"},
			{"XADD", "x", "1-1", "f", "v"}, {"XREAD", "STREAMS", "x", "0"}, {"XINFO", "STREAM", "x", "FULL"},
			{"COMMAND"}, {"COMMAND", "DOCS"}, {"CONFIG", "GET", "*"}, {"CLIENT", "LIST"}, {"INFO", "everything"},
			{"EVAL", "return {1,{2,{3,'a'}},false,redis.error_reply('E x')}", "0"},
			{"EVAL", "redis.setresp(3) return {map={a={double=1.5}},{set={1}},{big_number='12345678901234567890'},true,{verbatim_string={format='txt',string='v'}}}", "0"},
			{"DEBUG", "PROTOCOL", "attrib"}, {"DEBUG", "PROTOCOL", "bignum"}, {"DEBUG", "PROTOCOL", "verbatim"}, {"DEBUG", "PROTOCOL", "push"},
			{"DEBUG", "PROTOCOL", "double"}, {"DEBUG", "PROTOCOL", "true"}, {"DEBUG", "PROTOCOL", "null"},
		} {
			conn.Send(words...)
			raw := conn.ReadRaw()
			v, n, err := resp.Parse(raw)
			if err != nil || n != len(raw) {
				t.Errorf("RESP%s %q: Parse: %d bytes of %d, %v", proto, words, n, len(raw), err)
				continue
			}
			if got := v.Append(nil); !bytes.Equal(got, raw) {
				t.Errorf("RESP%s %q: written anew %.80q, was %.80q", proto, words, got, raw)
			}
			if raw[0] == '>' {
				conn.ReadRaw() // DEBUG PROTOCOL push answers the command as well
			}
		}
		if got := conn.Do("ECHO", "in step"); string(got.Str) != "in step" {
			t.Fatalf("RESP%s: out of step: %q", proto, got.Append(nil))
		}
	}
}
