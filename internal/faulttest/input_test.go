package faulttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
	"github.com/classwaves/rekey/phase"
)

// TestTwoNamesOfOneKey: a program that knows both names of a key may use both in one command. They
// are one key, so the engine answers as a bare server does for a command with the same name twice.
func TestTwoNamesOfOneKey(t *testing.T) {
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, s := range stages() {
		t.Run(s.String(), func(t *testing.T) {
			if s.phase.Parked() {
				return // the other name is just another name then
			}
			l, p := s.legacy("k"), s.target("k")
			for _, words := range [][]string{
				{"MSET", l, "1", p, "2"}, {"MGET", l, p}, {"DEL", l, p}, {"EXISTS", l, p}, {"RENAME", l, p}, {"RENAMENX", l, p},
				{"SINTER", l, p}, {"SINTERSTORE", l, p, l}, {"COPY", l, p}, {"LMOVE", l, p, "LEFT", "RIGHT"}, {"PFMERGE", l, p},
				{"BITOP", "OR", l, p}, {"ZUNIONSTORE", l, "2", l, p}, {"TOUCH", p, l, p}, {"UNLINK", p, l},
			} {
				for _, kind := range []string{"", "str", "set", "list", "zset", "hll"} {
					begin := map[string][]string{"str": {"SET", "x", "v"}, "set": {"SADD", "x", "a"}, "list": {"RPUSH", "x", "a", "b"},
						"zset": {"ZADD", "x", "1", "a"}, "hll": {"PFADD", "x", "a"}}[kind]
					run := func(c *redistest.Conn, key func(string) string) (string, string) {
						want(t, bare, "OK", "FLUSHALL")
						if begin != nil {
							_ = c.Do(replace(begin, "x", key(l))...)
						}
						reply := text(c.Do(each(words, key)...))
						return reply, text(c.Do("EXISTS", key(l))) + text(c.Do("TYPE", key(p)))
					}
					one := func(name string) string { return strings.TrimPrefix(name, "cw:test:") }
					wantReply, wantKey := run(bare, one)
					reply, key := run(connect(t, in(t, s), server.Addr()), func(name string) string { return name })
					if reply != wantReply || key != wantKey {
						t.Errorf("%v on %q: got %s and %s, want %s and %s", words, kind, reply, key, wantReply, wantKey)
					}
				}
			}
		})
	}
}

func each(words []string, change func(string) string) []string {
	out := append([]string(nil), words...)
	for i := range out[1:] {
		out[i+1] = change(out[i+1])
	}
	return out
}

func replace(words []string, from, to string) []string {
	return each(words, func(w string) string {
		if w == from {
			return to
		}
		return w
	})
}

// TestBigValue: 64 MiB go through in every phase, and a reply that needs no folding is never held.
func TestBigValue(t *testing.T) {
	const size = 64 << 20
	server := redistest.Shared(t)
	bare := server.Conn()
	for _, s := range []stage{{phase.Mirror, phase.Legacy}, mirrorDual, {phase.Relocate, phase.Move}, {phase.Mirror, phase.Prefixed}} {
		t.Run(s.String(), func(t *testing.T) {
			want(t, bare, "OK", "FLUSHALL")
			conn := dial(t, in(t, s), server.Addr())
			header := resp.AppendArrayHeader(nil, 3)
			header = resp.AppendBulkString(header, "SET")
			header = resp.AppendBulkString(header, s.legacy("big"))
			header = append(header, "$"+strconv.Itoa(size)+"\r\n"...)
			piece := bytes.Repeat([]byte("0123456789abcdef"), 4096)
			warm(t, conn)
			write := allocated(func() {
				writeAll(t, conn, header)
				for range size / len(piece) {
					writeAll(t, conn, piece)
				}
				writeAll(t, conn, []byte("\r\n"))
				readN(t, conn, len("+OK\r\n"))
			})
			if limit := uint64(12 * size); write > limit {
				t.Errorf("SET of 64 MiB allocated %d MiB, want %d at most", write>>20, limit>>20)
			}
			writeAll(t, conn, resp.AppendCommand(nil, []byte("APPEND"), []byte(s.legacy("big")), []byte("!")))
			readN(t, conn, len(":67108865\r\n"))
			get := resp.AppendCommand(nil, []byte("GET"), []byte(s.legacy("big")))
			read := allocated(func() {
				writeAll(t, conn, get)
				readN(t, conn, len("$67108865\r\n")+size+1+2)
			})
			if limit := uint64(4 << 20); read > limit {
				t.Errorf("GET of 64 MiB allocated %d KiB, want %d at most: the reply is not to be held", read>>10, limit>>10)
			}
		})
	}
}

// warm makes the connection ask the server what it must know.
func warm(t *testing.T, conn net.Conn) {
	t.Helper()
	writeAll(t, conn, []byte("PING\r\n"))
	readN(t, conn, len("+PONG\r\n"))
}

func writeAll(t *testing.T, conn net.Conn, b []byte) {
	t.Helper()
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
}

// readN reads a number of bytes into one small buffer.
func readN(t *testing.T, conn net.Conn, n int) {
	t.Helper()
	must(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
	if _, err := io.CopyN(io.Discard, conn, int64(n)); err != nil {
		t.Fatal(err)
	}
}

// allocated is how many bytes were allocated while f ran.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestLongPipeline sends 100,000 commands in dual before it reads one reply's end.
func TestLongPipeline(t *testing.T) {
	const n = 100_000
	server := redistest.Shared(t)
	conn := dial(t, in(t, mirrorDual), server.Addr())
	warm(t, conn)
	sent := make(chan error, 1)
	go func() {
		var b []byte
		for range n {
			b = resp.AppendCommand(b, []byte("INCR"), []byte("mi:n"))
		}
		_, err := conn.Write(b)
		sent <- err
	}()
	must(t, conn.SetReadDeadline(time.Now().Add(60*time.Second)))
	c := redistest.NewConn(t, conn)
	for i := range n {
		if got := c.Read(); got.Int != int64(i+1) {
			t.Fatalf("reply %d: %s", i, text(got))
		}
	}
	must(t, <-sent)
	want(t, server.Conn(), "[100000 100000]", "MGET", "mi:n", "cw:test:mi:n")
}

// TestWrongAddresses: errors of the way to the server reach the client, and nothing hangs.
func TestWrongAddresses(t *testing.T) {
	r := in(t, mirrorDual)
	closed := redistest.SlowLink(t, "127.0.0.1:1")
	rdb := redis.NewClient(&redis.Options{Addr: closed.Addr(), Dialer: r.Dialer(nil), MaxRetries: -1})
	defer func() { must(t, rdb.Close()) }()
	if err := rdb.Get(t.Context(), "mi:k").Err(); err == nil || errors.Is(err, redis.Nil) {
		t.Errorf("GET without a server: %v", err)
	}
	if _, err := r.Dialer(nil)(t.Context(), "tcp", "127.0.0.1:1"); err == nil || !strings.HasPrefix(err.Error(), "rekey: dial:") {
		t.Errorf("dial of a closed port: %v", err)
	}
	server := redistest.Shared(t)
	want(t, server.Conn(), "OK", "CONFIG", "SET", "requirepass", "secret")
	for password, wanted := range map[string]string{"": "NOAUTH ", "wrong": "WRONGPASS ", "secret": ""} {
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Password: password, Dialer: r.Dialer(nil), MaxRetries: -1})
		err := rdb.Set(t.Context(), "mi:k", "v", 0).Err()
		if wanted == "" && err != nil || wanted != "" && (err == nil || !strings.Contains(err.Error(), wanted)) {
			t.Errorf("password %q: %v, want %s", password, err, wanted)
		}
		must(t, rdb.Close())
	}
}

// TestServerGoesAndComes: the server dies under a client in the middle of its work and comes back.
// Connections end with an error; new ones work, with the same instance.
func TestServerGoesAndComes(t *testing.T) {
	server := redistest.Start(t)
	for _, s := range []stage{{phase.Mirror, phase.Guard}, mirrorDual, {phase.Relocate, phase.Move}} {
		source := rekey.NewManual(s.phases())
		r := open(t, rekey.WithSource(source))
		rdb := client(t, r, server)
		must(t, rdb.Set(t.Context(), s.legacy("k"), "v", 0).Err())
		conn := dial(t, r, server.Addr())
		replies := read(t, conn)
		send(t, conn, "BLPOP", s.legacy("q"), "0")
		server.Kill()
		if got := replies.next(); !strings.HasPrefix(got, "error: ") {
			t.Errorf("%s: BLPOP over the end of the server: %s", s, got)
		}
		if err := rdb.Get(t.Context(), s.legacy("k")).Err(); err == nil {
			t.Errorf("%s: a read without a server", s)
		}
		must(t, conn.Close())
		server.Restart()
		redistest.WaitFor(t, replyWithin, func() bool { return rdb.Set(t.Context(), s.legacy("k"), "again", 0).Err() == nil })
		to, _ := phase.Next(s.strategy, s.phase, otherEnd(s))
		follow(t, r, source, map[string]phase.Phase{s.rule(): to})
		reached(t, r)
	}
}

// TestClosedInTheMiddle: a client closes its connection in the middle of a command, of a MULTI, behind
// a WATCH, and of a blocking command. None of them holds up a change of phase.
func TestClosedInTheMiddle(t *testing.T) {
	server := redistest.Shared(t)
	for _, s := range stages() {
		for _, words := range []string{
			"*3\r\n$3\r\nSET\r\n$4\r\nmi:", "MULTI\r\nSET " + s.legacy("k") + " v\r\n", "WATCH " + s.legacy("k") + "\r\n",
			"BLPOP " + s.legacy("q") + " 0\r\n", "SUBSCRIBE c\r\n", "SET " + s.legacy("k") + " v\r\n",
		} {
			source := rekey.NewManual(s.phases())
			r := open(t, rekey.WithSource(source))
			conn := dial(t, r, server.Addr())
			warm(t, conn)
			writeAll(t, conn, []byte(words))
			must(t, conn.Close())
			to, ok := phase.Next(s.strategy, s.phase, otherEnd(s))
			if !ok {
				t.Fatalf("no step from %s", s)
			}
			follow(t, r, source, map[string]phase.Phase{s.rule(): to})
			reached(t, r)
			if n := r.Stats().Conns; n != 0 {
				t.Errorf("%s: %d connections open after Close", s, n)
			}
		}
	}
}

// TestGarbage: a peer that is no Redis server, and a client that is none. Both get an error or the
// end of the connection; nothing panics or grows.
func TestGarbage(t *testing.T) {
	for name, answer := range map[string]string{
		"no RESP":              "HTTP/1.1 400 Bad Request\r\n\r\n",
		"a length too long":    "$99999999999999999999\r\n",
		"a negative length":    "*-7\r\n",
		"a deep reply":         strings.Repeat("*1\r\n", 100_000),
		"a number that is not": ":12x\r\n",
		"a huge array":         "*2147483647\r\n",
	} {
		t.Run("server/"+name, func(t *testing.T) {
			near, far := net.Pipe()
			r := in(t, mirrorDual)
			conn, err := r.Dialer(pipeDialer(near))(t.Context(), "tcp", "nowhere")
			must(t, err)
			served := make(chan struct{})
			go func() {
				defer close(served)
				_, _ = far.Read(make([]byte, 4096)) // whatever is asked
				_, _ = io.WriteString(far, answer)  // the other side may hang up in the middle
				_ = far.Close()
			}()
			replies := read(t, conn)
			_, _ = conn.Write([]byte("GET mi:k\r\n")) // the pipe may break first
			if got := replies.next(); !strings.HasPrefix(got, "error: ") {
				t.Errorf("got %s, want an error", got)
			}
			must(t, conn.Close())
			<-served
		})
	}
	server := redistest.Shared(t)
	for name, request := range map[string]string{
		"a bulk length too long":  "*2\r\n$3\r\nGET\r\n$99999999999\r\n",
		"too many arguments":      "*2147483648\r\n",
		"no number":               "*x\r\n",
		"no bulk":                 "*1\r\n:1\r\n",
		"an inline without a end": strings.Repeat("a", 1<<17),
		"unbalanced quotes":       "GET \"mi:k\r\n",
	} {
		t.Run("client/"+name, func(t *testing.T) {
			bare := server.Dial()
			theirs := read(t, bare)
			_, _ = io.WriteString(bare, request) // it may hang up in the middle
			for _, s := range stages() {
				conn := dial(t, in(t, s), server.Addr())
				warm(t, conn)
				ours := read(t, conn)
				_, _ = io.WriteString(conn, request) // it may hang up in the middle
				if s == stages()[0] {
					if got, wanted := ours.next(), theirs.next(); got != wanted {
						t.Errorf("%s: got %s, want %s", s, got, wanted)
					}
					continue
				}
				if got := ours.next(); !strings.Contains(got, "Protocol error") {
					t.Errorf("%s: got %s, want the server's protocol error", s, got)
				}
			}
		})
	}
}

func pipeDialer(conn net.Conn) rekey.DialFunc {
	return func(context.Context, string, string) (net.Conn, error) { return conn, nil }
}

// TestDeadlines: the application's deadlines hold, also while the engine wakes up by itself to poll.
func TestDeadlines(t *testing.T) {
	server := redistest.Shared(t)
	for _, s := range stages() {
		t.Run(s.String(), func(t *testing.T) {
			conn := dial(t, in(t, s), server.Addr())
			warm(t, conn)
			must(t, conn.SetReadDeadline(time.Unix(1, 0)))
			if _, err := conn.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read behind a deadline: %v", err)
			}
			must(t, conn.SetReadDeadline(time.Time{}))
			send(t, conn, "BLPOP", s.legacy("q"), "0")
			must(t, conn.SetReadDeadline(time.Now().Add(40*time.Millisecond)))
			if _, err := conn.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read in the middle of a BLPOP: %v", err)
			}
			var timeout net.Error
			_, err := conn.Read(make([]byte, 10))
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("Read again: %v, want a timeout", err)
			}
			// The connection goes on where it stood, as a bare one does.
			must(t, conn.SetReadDeadline(time.Now().Add(replyWithin)))
			want(t, server.Conn(), "1", "RPUSH", s.home("q"), "v")
			if got := text(redistest.NewConn(t, conn).Read()); got != "["+s.legacy("q")+" v]" {
				t.Errorf("BLPOP: %s", got)
			}
			// Close ends a Read that waits.
			ended := make(chan error, 1)
			must(t, conn.SetReadDeadline(time.Time{}))
			go func() {
				_, err := conn.Read(make([]byte, 10))
				ended <- err
			}()
			must(t, conn.Close())
			if err := <-ended; err == nil {
				t.Error("Read on a closed connection gave no error")
			}
		})
	}
}
