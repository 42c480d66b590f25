package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/internal/resp"
)

// hostileUser is what the server lets everybody do: what one client may do to all the others on a bare
// server (end it, stop it, empty it) would prove nothing about the proxy.
const hostileUser = "user default on nopass ~* &* +@all -@admin -@scripting -flushall -flushdb -swapdb -migrate " +
	"+monitor +client -client|kill -client|pause -client|unpause"

// hostileSeeds are one connection's bytes each: what clients send, whole and in part, what they never
// send, and what goes from one protocol or state to another.
var hostileSeeds = []string{
	"PING\r\n", "*1\r\n$4\r\nPING\r\n", "\r\n\r\n", "*0\r\n*-1\r\nPING\r\n", "GET 'mi:1' \"mo:\\x31\"\r\n", "GET \"mi:1\r\n",
	"SET mi:1 x\r\nGET mi:1\r\nINCR mo:1\r\nGET none\r\n", strings.Repeat("GET mi:1\r\n", 300),
	"*3\r\n$3\r\nSET\r\n$4\r\nmi:1\r\n$5\r\nhal", "*2\r\n$3\r\nGET\r\n", "*", "$", "GET mi:",
	"*2\r\n$3\r\nGET\r\n$1073741824\r\n", "*2\r\n$3\r\nGET\r\n$999999\r\n", "*1073741824\r\n", "*2\r\n$3\r\nGET\r\n$-1\r\n", "*2\r\n:3\r\n",
	"*99999999999999999999\r\n", "*1\r\n$4\nPING\r\n", "GET \x00\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\n\r\n", strings.Repeat("x", 70_000),
	"MULTI\r\nGET mi:1\r\nSET mo:1 x\r\nEXEC\r\n", "MULTI\r\nNOSUCH\r\nEXEC\r\n", "MULTI\r\nSET mi:1 x\r\n", "MULTI\r\nDISCARD\r\nEXEC\r\n",
	"WATCH mi:1\r\nSET mi:1 x\r\nMULTI\r\nGET mi:1\r\nEXEC\r\n", "WATCH mo:1\r\nMULTI\r\nWATCH mi:1\r\nUNWATCH\r\nEXEC\r\n",
	"HELLO 3\r\nHGETALL mi:h\r\nHELLO 2\r\nHGETALL mi:h\r\n", "HELLO 4\r\nPING\r\n", "HELLO 3 AUTH nobody nothing\r\nPING\r\n", "AUTH x\r\nGET mi:1\r\n",
	"HELLO 3\r\nSUBSCRIBE a\r\nGET mi:1\r\nUNSUBSCRIBE\r\n", "SUBSCRIBE a\r\nGET mi:1\r\nUNSUBSCRIBE a\r\nGET mi:1\r\n", "PSUBSCRIBE *\r\nRESET\r\nPING\r\n",
	"MONITOR\r\n", "MONITOR\r\nGET mi:1\r\n", "RESET\r\nGET mi:1\r\n", "QUIT\r\nGET mi:1\r\n", "SELECT 1\r\nSET mi:1 x\r\nSELECT 0\r\n", "SELECT 99\r\n",
	"CLIENT REPLY OFF\r\nGET mi:1\r\nCLIENT REPLY ON\r\n", "CLIENT REPLY SKIP\r\nGET mi:1\r\nGET mi:1\r\n", "CLIENT ID\r\nCLIENT GETNAME\r\nCLIENT LIST\r\n",
	"HELLO 3\r\nCLIENT TRACKING ON\r\nGET mi:1\r\nSET mi:1 y\r\n", "CLIENT TRACKING ON REDIRECT 1 BCAST\r\nSET mi:1 z\r\n",
	"BLPOP mi:x 0\r\nPING\r\n", "BLPOP mi:x mo:x none 0.01\r\nPING\r\n", "XREAD BLOCK 10 STREAMS mi:s $\r\n", "WAIT 1 0\r\nPING\r\n",
	"EVAL x 0\r\nSORT mi:1 BY w_*\r\nSCAN 0 MATCH mi:*\r\nKEYS mo:*\r\nRANDOMKEY\r\n", "DEL mi:1 mo:1 none\r\nMGET mi:1 mo:1 none\r\nMSET mi:1 a mo:1 b\r\n",
	"NOSUCH mi:1\r\nGET\r\nSET mi:1\r\n", "CLIENT UNBLOCK 1\r\n", "XADD mi:s * f v\r\nSPOP mi:set\r\nLPUSH mi:h x\r\nHSET mi:h f v\r\n",
}

// FuzzListener throws one client's bytes at a listener of a whole proxy, beside clients that work before,
// during and behind them, and check every byte that they get. The bytes come in two parts; where header
// is set, to the listener that wants a header of PROXY protocol.
func FuzzListener(f *testing.F) {
	for i, seed := range hostileSeeds {
		f.Add([]byte(seed), uint16(i*5), false)
	}
	header, err := proxyproto.HeaderProxyFromAddrs(2, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 8), Port: 1}).Format()
	must(f, err)
	for _, seed := range []string{
		string(header) + "SET mi:1 x\r\nGET mi:1\r\n", string(header) + string(header), string(header[:13]), string(header[:12]) + "\x21\x11\xff\xff",
		"PROXY TCP4 192.0.2.7 192.0.2.8 4711 1\r\nPING\r\n", "PING\r\n", string(header[:12]) + "\x20\x00\x00\x00PING\r\n",
	} {
		f.Add([]byte(seed), uint16(len(header)), true)
		f.Add([]byte(seed), uint16(7), false)
	}
	server := redistest.Start(f, redistest.WithConfig(hostileUser, "proto-max-bulk-len 1mb"))
	s, _ := serve(f, proxy.Options{
		Plan:   parsePlan(f, `url: "redis://`+server.Addr()+`"`),
		Limits: proxy.Limits{Request: 1 << 20},
		Listen: []proxy.Listen{{Address: "127.0.0.1:0"}, {Address: "127.0.0.1:0", ProxyProtocol: true}},
		Log:    slog.New(slog.DiscardHandler),
	})
	var witnesses []*witness
	for _, hello := range []string{"", "HELLO 3\r\n", "CLIENT SETNAME witness\r\n"} {
		for _, rule := range []string{"mi", "mo", "none"} {
			conn, err := net.Dial("tcp", s.Addrs()[0])
			must(f, err)
			f.Cleanup(func() { _ = conn.Close() }) // nothing is under way
			witnesses = append(witnesses, newWitness(f, conn, rule, hello))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, part uint16, header bool) {
		addr := s.Addrs()[0]
		if header {
			addr = s.Addrs()[1]
		}
		conn, err := net.Dial("tcp", addr)
		must(t, err)
		defer func() { _ = conn.Close() }() // all of it was read
		must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		first := min(int(part), len(data))
		all(witnesses, (*witness).send)
		_, _ = conn.Write(data[:first]) // it may be closed before it has taken all
		all(witnesses, (*witness).send)
		_, _ = conn.Write(data[first:])
		_ = conn.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the connection does not end behind %q", data)
		}
		all(witnesses, (*witness).send)
		for _, w := range witnesses {
			if err := w.check(); err != nil {
				t.Fatalf("a client of %s beside, after %q: %v behind %q", w.key, w.hello, err, data)
			}
		}
	})
}

// witness is a client that knows every byte that it must get: nobody else writes its key.
type witness struct {
	conn       net.Conn
	in         *bufio.Reader
	key, hello string
	n          int
	want       []byte
	failed     error
}

// newWitness begins with what makes a client one of its kind.
func newWitness(t testing.TB, conn net.Conn, rule, hello string) *witness {
	t.Helper()
	w := &witness{conn: conn, in: bufio.NewReader(conn), key: fmt.Sprintf("%s:%016x", rule, rand.Uint64()), hello: strings.TrimSpace(hello)}
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	if hello != "" {
		_, err := io.WriteString(conn, hello)
		must(t, err)
		_, err = redistest.ReadReply(w.in)
		must(t, err)
	}
	return w
}

// send sends a few commands in one write.
func (w *witness) send() {
	w.n++
	value := fmt.Sprintf("%s=%d", w.key, w.n)
	missing := "$-1\r\n"
	if w.hello == "HELLO 3" {
		missing = "_\r\n"
	}
	request := fmt.Sprintf("SET %s %s\r\nGET %[1]s\r\nAPPEND %[1]s !\r\nGET %[1]s\r\nDEL %[1]s\r\nGET %[1]s\r\n", w.key, value)
	w.want = append(w.want, "+OK\r\n"...)
	w.want = resp.AppendBulkString(w.want, value)
	w.want = resp.AppendInt(w.want, int64(len(value)+1))
	w.want = resp.AppendBulkString(w.want, value+"!")
	w.want = append(w.want, ":1\r\n"+missing...)
	if err := w.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		w.failed = errors.Join(w.failed, err)
	}
	if _, err := io.WriteString(w.conn, request); err != nil {
		w.failed = errors.Join(w.failed, err)
	}
}

// check reads what was to come, and says what came in its place. What comes too much is seen by the next.
func (w *witness) check() error {
	got := make([]byte, len(w.want))
	n, err := io.ReadFull(w.in, got)
	if err != nil || string(got) != string(w.want) || w.failed != nil {
		return fmt.Errorf("got %q, want %q: %w", got[:n], w.want, errors.Join(err, w.failed))
	}
	w.want = w.want[:0]
	return nil
}

// all does the same with each of them.
func all(witnesses []*witness, do func(*witness)) {
	for _, w := range witnesses {
		do(w)
	}
}
