package proxy_test

import (
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/classwaves/rekey"
	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/internal/redistest"
	"github.com/classwaves/rekey/phase"
)

// TestServerIsFull: a server that has enough clients says so in front of closing a connection. The proxy's client hears
// it, whatever rekey had asked on that connection.
func TestServerIsFull(t *testing.T) { both(t, testServerIsFull) }

func testServerIsFull(t *testing.T) {
	const words = "-ERR max number of clients reached\r\n"
	for name, phases := range map[string]map[string]phase.Phase{
		"parked": {},
		"moving": {"mirror": phase.Dual, "move": phase.Move},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			r := start(t, server, proxy.Limits{}, rekey.WithPhases(phases))
			bare := server.Conn()
			sits := r.client()
			sits.Do("GET", "mi:1")
			full := func() int {
				info := string(bare.Do("INFO", "clients").Str)
				_, rest, _ := strings.Cut(info, "connected_clients:")
				n, _, _ := strings.Cut(rest, "\r\n")
				clients, err := strconv.Atoi(n)
				must(t, err)
				bare.Do("CONFIG", "SET", "maxclients", n)
				return clients
			}
			if n := full(); n != 2 {
				t.Fatalf("the server has %d clients", n)
			}
			hears := func(what, request string) {
				t.Helper()
				conn := r.raw()
				_, err := conn.Write([]byte(request))
				must(t, err)
				if got, err := io.ReadAll(conn); string(got) != words {
					t.Errorf("%s: %q, %v", what, got, err)
				}
			}
			hears("a login", "AUTH default x\r\n")
			hears("a protocol", "HELLO 3\r\n")
			hears("a transaction", "MULTI\r\nSET mi:1 v\r\nEXEC\r\n")
			hears("pub/sub", "SUBSCRIBE news\r\n")
			if upstreams(t) == proxy.UpstreamsOwn {
				hears("a command", "GET mi:1\r\n")
				return
			}
			if got := sits.Do("GET", "mi:1"); !got.Null {
				t.Errorf("a client that shares a connection: %v", got)
			}
			if got := sits.Do("MULTI"); "-"+string(got.Str)+"\r\n" != words {
				t.Errorf("one that wants its own: %v", got)
			}
			sits.Close()
		})
	}
}
