package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"testing"

	"github.com/classwaves/rekey/internal/proxy"
	"github.com/classwaves/rekey/internal/redistest"
)

// TestAddedByRule: what the proxy adds to commands can be seen by rule and class, with its percentiles.
func TestAddedByRule(t *testing.T) { both(t, testAddedByRule) }

func testAddedByRule(t *testing.T) {
	s, _ := serve(t, proxy.Options{
		Plan:   parsePlan(t, `url: "redis://`+redistest.Shared(t).Addr()+`"`),
		Listen: []proxy.Listen{{Address: "127.0.0.1:0"}}, Admin: proxy.Admin{Address: "127.0.0.1:0"},
		Upstreams: upstreams(t),
	})
	const clients, rounds = 4, 500
	for i := range clients {
		conn, err := net.Dial("tcp", s.Addrs()[0])
		must(t, err)
		c := redistest.NewConn(t, conn)
		defer c.Close()
		for range rounds {
			c.Do("SET", fmt.Sprintf("mi:%d", i), "x")
			c.Do("INCR", fmt.Sprintf("mo:%d", i))
			c.Do("GET", "none:x")
		}
	}
	res, err := http.Get("http://" + s.AdminAddr() + "/metrics")
	must(t, err)
	defer func() { must(t, res.Body.Close()) }()
	text, err := io.ReadAll(res.Body)
	must(t, err)
	lines := regexp.MustCompile(`(?m)^rekey_command_added_seconds_bucket\{class="(\w+)",rule="(\w+)",le="\+Inf"\} (\d+)$`)
	got := map[string]int{}
	for _, m := range lines.FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(m[3])
		must(t, err)
		got[m[2]+" "+m[1]] = n
	}
	const mean = clients * rounds / 16
	for _, name := range []string{"mirror overwrite", "move replay"} {
		if n := got[name]; n < mean/2 || n > 2*mean {
			t.Errorf("%s: %d commands measured, want about %d", name, n, mean)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("measured as well: %v", got)
	}
}
