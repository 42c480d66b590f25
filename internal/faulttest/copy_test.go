package faulttest

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/classwaves/rekey/internal/resp"
)

// noCopy is a server whose one key, mi:k, is of a type that cannot be copied: COPY passes the checks
// before EXEC and fails when it runs. Types of modules without a copy callback do that.
type noCopy struct {
	conn   net.Conn
	queued [][]string
	multi  bool
	seen   []string
}

func (s *noCopy) serve() {
	var in, out []byte
	var args [][]byte
	buf := make([]byte, 4096)
	for {
		n, took := 0, 0
		for {
			var err error
			if took, args, err = resp.ParseRequest(in[n:], args, resp.Limits{}); err != nil || took == 0 {
				break
			}
			n += took
			words := make([]string, len(args))
			for i, a := range args {
				words[i] = string(a)
			}
			out = append(out, s.answer(words)...)
		}
		in = in[n:]
		if _, err := s.conn.Write(out); err != nil {
			return
		}
		out = out[:0]
		n, err := s.conn.Read(buf)
		if err != nil {
			return // the test is over
		}
		in = append(in, buf[:n]...)
	}
}

func (s *noCopy) answer(words []string) string {
	s.seen = append(s.seen, strings.Join(words, " "))
	switch name := strings.ToUpper(words[0]); {
	case name == "MULTI":
		s.multi, s.queued = true, nil
		return "+OK\r\n"
	case name == "EXEC":
		s.multi = false
		out := string(resp.AppendArrayHeader(nil, len(s.queued)))
		for _, q := range s.queued {
			out += s.run(q)
		}
		return out
	case s.multi:
		s.queued = append(s.queued, words)
		return "+QUEUED\r\n"
	}
	return s.run(words)
}

func (s *noCopy) run(words []string) string {
	switch strings.ToUpper(words[0]) {
	case "CLIENT":
		return ":7\r\n"
	case "INFO":
		return string(resp.AppendBulkString(nil, "redis_version:7.4.0\r\nmaxmemory_policy:noeviction\r\n"))
	case "WATCH":
		return "+OK\r\n"
	case "COPY":
		return "-ERR not supported for this module key\r\n"
	case "EXISTS":
		if words[1] == "mi:k" {
			return ":1\r\n"
		}
		return ":0\r\n"
	case "GET":
		if words[1] == "mi:k" {
			return "$5\r\nvalue\r\n"
		}
		return "$-1\r\n"
	}
	return "-ERR not in this test: " + words[0] + "\r\n"
}

// TestCopyThatFails: where the copy before a read fails when it runs, the read is answered by the
// other name, and counted. The naive form, the reply of "GET P" behind the failed COPY, is nil: the
// test asserts that the server gave it.
func TestCopyThatFails(t *testing.T) {
	near, far := net.Pipe()
	server := &noCopy{conn: far}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.serve()
	}()
	r := in(t, mirrorDual)
	conn, err := r.Dialer(pipeDialer(near))(t.Context(), "tcp", "nowhere")
	must(t, err)
	replies := read(t, conn)
	_, err = io.WriteString(conn, "GET mi:k\r\nGET mi:none\r\n")
	must(t, err)
	replies.want("value")
	replies.want("nil")
	must(t, conn.Close())
	<-served
	if n := stats(r, mirrorDual).Uncopied; n == 0 {
		t.Error("nothing was counted as uncopied")
	}
	naive := &noCopy{}
	for _, words := range []string{"MULTI", "COPY mi:k cw:test:mi:k", "GET cw:test:mi:k"} {
		_ = naive.answer(strings.Fields(words))
	}
	if got := naive.answer([]string{"EXEC"}); !strings.HasSuffix(got, "$-1\r\n") {
		t.Errorf("the naive transaction answers %q, want nil at its end", got)
	}
	if !strings.Contains(strings.Join(server.seen, "\n"), "\nCOPY mi:k cw:test:mi:k\nGET cw:test:mi:k\nEXEC") {
		t.Errorf("the server saw %q, want the transaction of a dual read", server.seen)
	}
}
